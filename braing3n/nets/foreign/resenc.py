"""The residual encoder ResEnc-L of nnU-Net, as nnssl pretrains it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.01  # of the leaky rectifier


class ResidualEncoder(nn.Module):
    """A volume (B, 1, D, H, W) -> the map of the last stage (B, widths[-1], D/32, H/32, W/32).

    Edges must be multiples of 32. Names are the official ones less `all_modules`, a second name that the
    official code gives every tensor.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128, 256, 320, 320),
        depths: tuple[int, ...] = (1, 3, 4, 6, 6, 6),
    ):
        super().__init__()
        self.stem = nn.ModuleDict({"convs": nn.Sequential(Convolution(1, widths[0], 3))})
        stages, n_in = [], widths[0]
        for k, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            strides = [2 if k and not i else 1 for i in range(depth)]
            blocks = [Block(width if i else n_in, width, stride) for i, stride in enumerate(strides)]
            stages.append(Stage(blocks))
            n_in = width
        self.stages = nn.ModuleList(stages)
        self.n_features = widths[-1]

    def forward(self, volume: Tensor) -> Tensor:
        """The map of the last stage."""
        x = functional.leaky_relu(self.stem["convs"](volume), SLOPE)
        for stage in self.stages:
            x = stage(x)
        return x


class Stage(nn.Module):
    """Blocks one after another."""

    def __init__(self, blocks: list[Block]):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Convolution(nn.Module):
    """A convolution and an instance norm."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, has_bias: bool = True):
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, kernel, stride, padding=kernel // 2, bias=has_bias)
        self.norm = nn.InstanceNorm3d(n_out, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Two convolutions, the first strided, added to the input, which is averaged and widened to fit."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.conv1, self.conv2 = Convolution(n_in, n_out, 3, stride), Convolution(n_out, n_out, 3)
        skip: list[nn.Module] = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        if n_in != n_out:
            skip.append(Convolution(n_in, n_out, 1, has_bias=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.conv1(x), SLOPE)
        return functional.leaky_relu(self.conv2(y) + self.skip(x), SLOPE)
