"""Networks of others for medical images, on whose features distances are measured; from the user's files.

The digests are those that users of the official archives publish; the authors publish none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.nets.checkpoint import read_checkpoint
from braing3n.nets.foreign import inputs, resnet
from braing3n.nets.weight_file import check_digest
from braing3n.nets.weights import load_weights

WIDTH = 2048
RADIMAGENET_SHA256 = "08629f7e"
RADIMAGENET_SOURCE = (
    "RadImageNet_pytorch/ResNet50.pt of the PyTorch archive at github.com/BMEII-AI/RadImageNet (free for "
    "research alone: see its terms)"
)
MEDICALNET_SHA256 = "5b6189ca"
MEDICALNET_SOURCE = "pretrain/resnet_50.pth of the archive at github.com/Tencent/MedicalNet (MIT)"
# The official file holds torchvision's ResNet-50 as a sequence, whose parts have numbers.
PARTS = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
IMAGE_SIZE = 224


class RadImageNet:
    """The 2,048 pooled features of images by RadImageNet's ResNet-50 (Mei et al. 2022).

    As published: 224 x 224 pixels, 0 to 255 scaled to -1 to 1, a grey image as three equal channels.

    Args:
        path: the official file, or the same tensors with torchvision's names, safetensors too.
        sha256: how the file's digest begins.

    Raises:
        CheckpointError: the file is missing, is another one, or does not fit the network.
    """

    def __init__(self, path: Path, sha256: str = RADIMAGENET_SHA256, device: torch.device | str = "cpu"):
        check_digest(path, sha256, RADIMAGENET_SOURCE)
        tensors = {_rename(name): tensor for name, tensor in read_checkpoint(path).items()}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
        self.network = _load(resnet.ResNet(n_dims=2, n_channels=3), tensors, path, device)
        self.device = device

    @torch.no_grad()
    def encode(self, images: list[np.ndarray]) -> np.ndarray:
        """Features float32 (n, 2048) of grey uint8 images (rows, columns), which may differ in size."""
        size = (IMAGE_SIZE, IMAGE_SIZE)
        scaled = [torch.from_numpy(image.astype(np.float32))[None, None] / 127.5 - 1 for image in images]
        resized = [functional.interpolate(image, size, mode="bilinear") for image in scaled]
        batch = torch.cat(resized).expand(-1, 3, -1, -1).to(self.device)
        return self.network(batch).mean(dim=(2, 3)).float().cpu().numpy()


class MedicalNet:
    """The mean of the last map of MedicalNet's ResNet-50 (Chen et al. 2019), 2,048 numbers a volume.

    As published: mean 0 and deviation 1 over voxels above 0. Chosen: the whole volume at 1 mm, 0 elsewhere.

    Raises:
        CheckpointError: the file is missing, is another one, or does not fit the network.
    """

    def __init__(self, path: Path, sha256: str = MEDICALNET_SHA256, device: torch.device | str = "cpu"):
        check_digest(path, sha256, MEDICALNET_SOURCE)
        tensors = {name.removeprefix("module."): tensor for name, tensor in read_checkpoint(path).items()}
        self.network = _load(resnet.build_medicalnet(), tensors, path, device)
        self.device = device

    @torch.no_grad()
    def encode(self, volumes: list[np.ndarray]) -> np.ndarray:
        """Features float32 (n, 2048) of volumes (D, H, W) of levels from 0 to 1, 0 outside the brain."""
        found = np.zeros((len(volumes), WIDTH), np.float32)
        for row, levels in enumerate(volumes):
            volume = inputs.resize(torch.from_numpy(levels), inputs.FULL_SHAPE)
            batch = inputs.standardise(volume, volume > 0)[None, None].to(self.device)
            found[row] = self.network(batch).mean(dim=(2, 3, 4))[0].float().cpu().numpy()
        return found


def _rename(name: str) -> str:
    """The name that torchvision gives a tensor of the official file."""
    name = name.removeprefix("module.").removeprefix("backbone.")
    part, _, rest = name.partition(".")
    return f"{PARTS.get(part, part)}.{rest}"


def _load(
    network: nn.Module, tensors: dict[str, Tensor], path: Path, device: torch.device | str
) -> nn.Module:
    load_weights(network, tensors, path)
    return network.to(device).eval().requires_grad_(False)
