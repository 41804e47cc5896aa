"""BrainIAC version 1 (ResNet-50, SimCLR; March 2025): its average pool, 2048 numbers.

As published: 128^3 voxels, scaled to 0 .. 1. Chosen: trilinear resizing and the turn to R-A-S, as for
version 2. Shift: as for version 2.
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
    "brainiac_v1",
    "the backbone's checkpoint of version 1",
    "the Dropbox folder that github.com/AIM-KannLab/BrainIAC links at e90fefd",
    "CC BY-NC 4.0",
)
SHAPE = (128, 128, 128)


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """The mean over the last map, float32 (N, 2048).

    Raises:
        MissingWeightsError: the weights are not there.
        CheckpointError: the file is not version 1's.
    """
    from braing3n.nets.checkpoint import read_checkpoint
    from braing3n.nets.foreign.resnet import ResNet

    path = RELEASE.find(settings)
    tensors = take_part(read_checkpoint(path), "backbone.", path)
    net = load_net(ResNet(has_shortcut_bias=True), path, tensors, device)

    def encode(batch: Tensor) -> Tensor:
        return net(batch).mean(dim=(2, 3, 4))

    n_at_once = settings.batch_size
    return encode_volumes(
        "brainiac_v1", prepare, encode, net.n_features, volumes, settings, device, part_dir, n_at_once
    )


def prepare(row: int, image: Tensor, mask: Tensor) -> Tensor:
    """(D, H, W) -> (1, 128, 128, 128)."""
    from braing3n.nets.foreign.inputs import resize, restore_intensities, scale_to_one, turn_to_ras

    return scale_to_one(resize(turn_to_ras(restore_intensities(image, mask)), SHAPE))[None]
