"""Raw patches, without a network: what the mean over tokens keeps of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from braing3n.encoders import describe_volumes

if TYPE_CHECKING:
    from braing3n.training import Volumes

SECTIONS = ("pretrain",)
HAS_PCA = False
MOST_PLACES = 1024  # in a patch: twice as many numbers a volume, as wide as the networks


def compute(volumes: Volumes, settings, sections, device, part_dir) -> np.ndarray:
    """Mean and deviation of each place in a patch, float32 (N, 2 * places)."""
    describe = partial(summarise_patches, patch_size=sections["pretrain"].patch_size)
    return describe_volumes("patches", volumes, describe, part_dir)


def summarise_patches(image: np.ndarray, mask: np.ndarray, patch_size: int) -> np.ndarray:
    """Mean and deviation over all patches of each place in a patch: (2 * places,).

    A place is a voxel of the patch, or of a larger patch a cube of 2, 4, 8 ... that leaves at most 1,024
    places. What the mean over tokens keeps of raw patches, without a network.
    """
    del mask  # the image is 0 outside it
    import torch

    from braing3n.pretrain.model import patchify

    edge = 1
    while (patch_size // edge) ** 3 > MOST_PLACES and patch_size % (2 * edge) == 0:
        edge *= 2
    volume = torch.from_numpy(image)[None, None]
    volume = torch.nn.functional.avg_pool3d(volume, edge) if edge > 1 else volume
    patches = patchify(volume, patch_size // edge)[0].numpy()
    return np.concatenate([patches.mean(axis=0), patches.std(axis=0)])
