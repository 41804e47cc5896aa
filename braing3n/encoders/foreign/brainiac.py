"""BrainIAC version 2 (ViT-B, SimCLR; Tak et al. 2026): its token 0, 768 numbers.

What the authors take as the class token is the first patch, since the net has no class token: the corner of
the volume, which sees the rest by attention. We take the same one, so that results compare.

As published: 96^3 voxels by trilinear resizing, mean 0 and deviation 1 over voxels that are not 0. Chosen:
the turn to R-A-S, as scans in the space of their template are stored. Shift: trained on scans in the space of
the NIHPD template, rigidly registered, HD-BET version 1; ours are in SRI24 by an affine registration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braing3n.encoders.foreign import Release, encode_volumes, load_net, take_part

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SECTIONS = ("latents.foreign",)
HAS_PCA = False
RELEASE = Release(
    "brainiac",
    "BrainIAC.ckpt of version 2",
    "the Dropbox folder that github.com/AIM-KannLab/BrainIAC links",
    "academic use only, Mass General Brigham",
)
SHAPE = (96, 96, 96)


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """Token 0 after the last norm, float32 (N, 768).

    Raises:
        MissingWeightsError: the weights are not there.
        CheckpointError: the file is not version 2's.
    """
    from braing3n.nets.checkpoint import read_checkpoint
    from braing3n.nets.foreign.vit import VisionTransformer

    path = RELEASE.find(settings)
    tensors = take_part(read_checkpoint(path), "backbone.", path)
    net = load_net(VisionTransformer(SHAPE), path, tensors, device)
    n_at_once = settings.batch_size
    return encode_volumes(
        "brainiac",
        prepare,
        lambda x: net(x)[:, 0],
        net.n_features,
        volumes,
        settings,
        device,
        part_dir,
        n_at_once,
    )


def prepare(row: int, image: Tensor, mask: Tensor) -> Tensor:
    """(D, H, W) -> (1, 96, 96, 96)."""
    from braing3n.nets.foreign.inputs import resize, restore_intensities, standardise, turn_to_ras

    volume = resize(turn_to_ras(restore_intensities(image, mask)), SHAPE)
    return standardise(volume, volume != 0)[None]
