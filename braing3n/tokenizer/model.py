"""The tokenizer: encoder tokens to d channels, and a CNN decoder from those back to voxels.

Batches are (B, 1, D, H, W); tokens (B, T, n_channels) lie in row-major order of the token grid.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.errors import ConfigurationError
from braing3n.nets.transformer import Attention, encode_positions
from braing3n.pretrain.model import MaskedAutoencoder, unpatchify
from braing3n.tokenizer.settings import TokenizerSettings


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions after GroupNorm and SiLU; starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2 = _normalise(width), _normalise(width)
        self.convolve1 = nn.Conv3d(width, width, 3, padding=1)
        self.convolve2 = nn.Conv3d(width, width, 3, padding=1)
        _zero(self.convolve2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolve2(functional.silu(self.norm2(self.convolve1(functional.silu(self.norm1(x))))))


class GridAttention(nn.Module):
    """Self-attention over all positions of a grid, with a residual."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = _normalise(width)
        self.attention = Attention(width, n_heads=max(1, width // 64))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, d h w, width)
        return x + self.attention(tokens).transpose(1, 2).reshape(x.shape)


class UpSample(nn.Module):
    """Twice the grid by a pixel shuffle: (B, C, d, h, w) to (B, out, 2d, 2h, 2w) (Shi et al. 2016)."""

    def __init__(self, width: int, out: int, kernel: int):
        super().__init__()
        self.convolve = nn.Conv3d(width, 8 * out, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolve(x)
        b, c, d, h, w = x.shape
        # Channels last in memory, in which convolutions are fastest: the one copy keeps that.
        x = x.permute(0, 2, 3, 4, 1).reshape(b, d, h, w, c // 8, 2, 2, 2).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(b, 2 * d, 2 * h, 2 * w, c // 8).permute(0, 4, 1, 2, 3)


class CNNDecoder(nn.Module):
    """Residual blocks at each level of the grid, attention at the token grid, doublings between.

    The last doubling shuffles straight into the voxels of the image: convolutions at full resolution
    would cost most of the time and memory and gain little. Starts as zero everywhere. A fixed position
    code gives it the token's place in the head, since the anatomy there is mostly the same.
    """

    positions: Tensor

    def __init__(self, settings: TokenizerSettings, n_channels: int, grid: tuple[int, int, int]):
        super().__init__()
        widths = settings.widths
        code = encode_positions(grid, widths[0]).T.reshape(1, widths[0], *grid)
        self.register_buffer("positions", code, persistent=False)
        self.enter = nn.Conv3d(n_channels, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, width in enumerate(widths):
            layers += [ResidualBlock(width) for _ in range(settings.n_blocks)]
            if level == 0 and settings.has_attention:
                layers.insert(1, GridAttention(width))
            if level + 1 < len(widths):
                layers.append(UpSample(width, widths[level + 1], kernel=1))
        self.layers = nn.Sequential(*layers)
        self.norm = _normalise(widths[-1])
        self.leave = UpSample(widths[-1], 1, kernel=3)
        _zero(self.leave.convolve)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, channels, gd, gh, gw) to (B, 1, D, H, W)."""
        x = self.layers(self.enter(grid) + self.positions)
        return self.leave(functional.silu(self.norm(x)))


class Standardise(nn.Module):
    """Tokens as the decoder reads them where nothing is projected: the mean taken away, one scale for all.

    A projection centres and scales its own tokens. Without one the tokens are the encoder's, which must
    stay what they are, so the decoder begins with these fixed numbers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, tokens: Tensor) -> Tensor:
        return (tokens - self.mean) * self.scale


class Tokenizer(nn.Module):
    """A linear projection to d channels a token, and a decoder that is a linear patch head plus a CNN.

    The decoder's image is patch_head(token) + cnn(all tokens): the patch head alone is the best linear
    reconstruction, as which `braing3n.tokenizer.initial_weights` initialises both. Without `has_patch_head`
    the image is the CNN's alone. With d none, tokens are the encoder's own, all channels.

    Args:
        settings: sizes; the paper's are the defaults.
        encoder_width: channels of the encoder's tokens.
        patch_size: voxels along a token's edge, 2^len(widths).
        grid: tokens along each axis.
    """

    SETTINGS = TokenizerSettings

    def __init__(
        self, settings: TokenizerSettings, encoder_width: int, patch_size: int, grid: tuple[int, int, int]
    ):
        super().__init__()
        if 2 ** len(settings.widths) != patch_size:
            raise ConfigurationError(
                f"tokenizer.widths: {len(settings.widths)} levels double {len(settings.widths)} times, "
                f"which does not make patches of {patch_size}; give one width a doubling."
            )
        self.settings, self.encoder_width = settings, encoder_width
        self.patch_size, self.grid = patch_size, grid
        has_projection = settings.d != "none"
        self.n_channels = encoder_width if settings.d == "none" else settings.d
        self.project = nn.Linear(encoder_width, self.n_channels) if has_projection else nn.Identity()
        self.standardise = nn.Identity() if has_projection else Standardise(encoder_width)
        self.patch_head = nn.Linear(self.n_channels, patch_size**3) if settings.has_patch_head else None
        self.cnn = CNNDecoder(settings, self.n_channels, self.grid)

    def forward(self, features: Tensor) -> Tensor:
        """Encoder tokens (B, T, encoder_width) to the reconstruction (B, 1, D, H, W)."""
        return self.decode(self.project(features))

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, n_channels) to volumes (B, 1, D, H, W), in z units."""
        tokens = self.standardise(tokens)
        grid = tokens.transpose(1, 2).reshape(len(tokens), -1, *self.grid)
        image = self.cnn(grid)
        if self.patch_head is None:
            return image
        return unpatchify(self.patch_head(tokens), self.grid, self.patch_size) + image

    @classmethod
    def from_record(cls, settings: TokenizerSettings, record: dict[str, Any]) -> Tokenizer:
        """The model of a weight file's record, with random weights."""
        return cls(settings, record["encoder_width"], record["patch_size"], tuple(record["grid"]))

    def describe(self) -> dict:
        """The record that a weight file needs to build this tokenizer again."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "encoder_width": self.encoder_width,
            "patch_size": self.patch_size,
            "grid": list(self.grid),
        }

    @property
    def n_numbers(self) -> int:
        """Numbers of a volume's tokens: channels times places."""
        return self.n_channels * math.prod(self.grid)

    def count_parameters(self) -> dict[str, int]:
        """Parameters of the projection, of the CNN decoder and of the linear patch head beside it."""
        patch_head = self.patch_head or nn.Identity()
        parts = {"projection": self.project, "cnn_decoder": self.cnn, "patch_head": patch_head}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _normalise(width: int) -> nn.GroupNorm:
    groups = next(n for n in (32, 16, 8, 4, 2, 1) if width % n == 0 and width >= 4 * n)
    return nn.GroupNorm(groups, width)


def reconstruct(encoder: MaskedAutoencoder, tokenizer: Tokenizer, volume: Tensor) -> Tensor:
    """Encode, project and decode (B, 1, D, H, W), without gradients."""
    with torch.no_grad():
        return tokenizer(encoder.encode(volume))
