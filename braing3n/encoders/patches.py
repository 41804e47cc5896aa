"""Raw patches, without a network: what the mean over tokens keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from braing3n.core.runtime import track

if TYPE_CHECKING:
    from braing3n.training import Volumes

SECTIONS = ("pretrain",)
HAS_PCA = False


def compute(volumes: Volumes, settings, sections, device, part_dir) -> np.ndarray:
    """Mean and deviation of each place in a patch, float32 (N, 2 * patch_size^3)."""
    size = sections["pretrain"].patch_size
    rows = track(range(len(volumes)), "latents: patches", len(volumes))
    return np.stack([summarise_patches(*volumes.load(i), size) for i in rows])


def summarise_patches(image: np.ndarray, mask: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean and deviation over all patches of each voxel's place in its patch: (2 * patch_size^3,).

    What the mean over tokens keeps of raw patches, without a network.
    """
    del mask  # the image is 0 outside it
    import torch

    from braing3n.pretrain.model import patchify

    patches = patchify(torch.from_numpy(image)[None, None], patch_size)[0].numpy()
    return np.concatenate([patches.mean(axis=0), patches.std(axis=0)])
