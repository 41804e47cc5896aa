"""ResNets of bottleneck blocks, with the names that MedicalNet, BrainIAC and torchvision give tensors."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

EXPANSION = 4  # channels that a block gives, over those inside it
# By the number of dimensions of what a net sees.
CONV = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


class ResNet(nn.Module):
    """A volume (B, 1, D, H, W) -> the map of its last layer (B, 32 * width, d, h, w); ResNet-50 as it stands.

    n_dims, n_channels: 2 and 3 for images (B, 3, H, W), as torchvision's.

    strides, dilations: of the four layers. MedicalNet's last two layers are dilated in place of strided,
    which no shape of a tensor shows: the same file loads into the other net and gives other features.
    has_shortcut_bias: whether the convolutions beside the first blocks have one (MONAI's default has).
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        width: int = 64,
        strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        dilations: tuple[int, int, int, int] = (1, 1, 1, 1),
        has_shortcut_bias: bool = False,
        n_dims: int = 3,
        n_channels: int = 1,
    ):
        super().__init__()
        self.n_dims = n_dims
        self.conv1 = CONV[n_dims](n_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = NORM[n_dims](width)
        n_in = width
        for k, (depth, stride, dilation) in enumerate(zip(depths, strides, dilations, strict=True)):
            inner = width * 2**k
            blocks = []
            for i in range(depth):
                shortcut = None
                if i == 0:
                    shortcut = _build_shortcut(n_in, inner * EXPANSION, stride, has_shortcut_bias, n_dims)
                blocks.append(Bottleneck(n_in, inner, 1 if i else stride, dilation, shortcut, n_dims))
                n_in = inner * EXPANSION
            setattr(self, f"layer{k + 1}", nn.Sequential(*blocks))
        self.n_features = n_in

    def forward(self, volume: Tensor) -> Tensor:
        """The map of the last layer."""
        x = functional.relu(self.bn1(self.conv1(volume)))
        x = POOL[self.n_dims](x, 3, stride=2, padding=1)
        for k in range(1, 5):
            x = getattr(self, f"layer{k}")(x)
        return x


def build_medicalnet() -> ResNet:
    """MedicalNet's ResNet-50 as its authors run it."""
    return ResNet(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))


class Bottleneck(nn.Module):
    """Convolutions over 1, 3 and 1 voxels, the middle one strided or dilated, added to the shortcut."""

    def __init__(
        self, n_in: int, inner: int, stride: int, dilation: int, shortcut: nn.Module | None, n_dims: int = 3
    ):
        super().__init__()
        conv, norm = partial(CONV[n_dims], bias=False), NORM[n_dims]
        self.conv1 = conv(n_in, inner, 1)
        self.bn1 = norm(inner)
        self.conv2 = conv(inner, inner, 3, stride, padding=dilation, dilation=dilation)
        self.bn2 = norm(inner)
        self.conv3 = conv(inner, inner * EXPANSION, 1)
        self.bn3 = norm(inner * EXPANSION)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (self.downsample(x) if self.downsample is not None else x))


def _build_shortcut(n_in: int, n_out: int, stride: int, has_bias: bool, n_dims: int) -> nn.Sequential:
    return nn.Sequential(CONV[n_dims](n_in, n_out, 1, stride, bias=has_bias), NORM[n_dims](n_out))
