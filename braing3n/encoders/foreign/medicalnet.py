"""MedicalNet (ResNet-50, trained to segment; Chen et al. 2019): the mean of its last map, 2048 numbers.

The net as the authors run it: a stem of stride 2, and layers 3 and 4 dilated by 2 and 4 in place of strided.
MONAI loads the same file into another net. As published: mean 0 and deviation 1 over voxels above 0. Chosen,
since no feature recipe is published: ResNet-50, the mean over the last map, the whole volume at 1 mm, and 0
outside the brain, where the authors put noise (`latents.foreign.medicalnet_background: noise`, seeded by the
row). Shift: trained on CT and MR of many organs, resized to 56 x 448 x 448.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from braing3n.encoders.foreign import Release, encode_volumes, load_net, take_part

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SECTIONS = ("latents.foreign",)
HAS_PCA = False
RELEASE = Release(
    "medicalnet",
    "resnet_50.pth or resnet_50_23dataset.pth",
    "huggingface.co/TencentMedicalNet/MedicalNet-Resnet50",
    "MIT",
)


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """The mean over the last map, float32 (N, 2048).

    Raises:
        MissingWeightsError: the weights are not there.
        CheckpointError: the file holds another net.
    """
    from braing3n.nets.checkpoint import read_checkpoint
    from braing3n.nets.foreign.resnet import build_medicalnet

    path = RELEASE.find(settings)
    net = load_net(build_medicalnet(), path, take_part(read_checkpoint(path), "", path), device)
    has_noise = settings.foreign.medicalnet_background == "noise"

    def encode(batch: Tensor) -> Tensor:
        return net(batch).mean(dim=(2, 3, 4))

    def prepare_row(row: int, image: Tensor, mask: Tensor) -> Tensor:
        return prepare(image, mask, has_noise)

    return encode_volumes(
        "medicalnet", prepare_row, encode, net.n_features, volumes, settings, device, part_dir
    )


def prepare(image: Tensor, mask: Tensor, has_noise: bool = False) -> Tensor:
    """(D, H, W) -> (1, 160, 192, 160); the noise is a function of the volume, wherever it is listed."""
    import torch

    from braing3n.nets.foreign.inputs import FULL_SHAPE, resize, restore_intensities, standardise

    volume = resize(restore_intensities(image, mask), FULL_SHAPE)
    generator = torch.Generator().manual_seed(zlib.crc32(image.numpy().tobytes()))
    outside = torch.randn(volume.shape, generator=generator) if has_noise else 0.0
    return standardise(volume, volume > 0, outside)[None]
