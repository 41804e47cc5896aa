"""The transformer that a time and conditions modulate, and what embeds them (Peebles & Xie 2023)."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.errors import ConfigurationError
from braing3n.nets.transformer import (
    NORM_EPS,
    Attention,
    Mlp,
    encode_positions,
    encode_scalars,
    encode_short_positions,
    initialise_linear,
)

TIME_SCALE = 1000.0  # times in [0, 1] are stretched to use all the sinusoids' wavelengths
Grid = tuple[int, int, int]


class Sizes(Protocol):
    """The settings that say how large the transformer is."""

    depth: int
    width: int
    n_heads: int
    mlp_ratio: float
    position_code: Literal["wide", "short"]


class ScalarEmbedding(nn.Module):
    """Sines and cosines of a scalar through two layers: (B,) to (B, width)."""

    def __init__(self, width: int, n_channels: int = 256):
        super().__init__()
        self.n_channels = n_channels
        self.layers = nn.Sequential(nn.Linear(n_channels, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Tensor) -> Tensor:
        return self.layers(encode_scalars(values, self.n_channels))


class ConditionEmbedding(nn.Module):
    """The sum of an embedding a condition, each with its own null vector.

    Args:
        n_classes: classes of each coded condition; the code after the last is null.
        scalars: name of each scalar condition -> its unit. A scalar counts in units: the sinusoids' shortest
            wavelength is 2 pi units, and no sinusoid separates what lies much nearer together.
        width: channels.
    """

    def __init__(self, n_classes: list[int], scalars: dict[str, float], width: int):
        super().__init__()
        self.scalars = dict(scalars)
        tables = [nn.Embedding(n + 1, width) for n in n_classes]
        self.tables = nn.ModuleList(tables)
        for name in scalars:
            self.add_module(name, ScalarEmbedding(width))
            self.register_parameter(f"null_{name}", nn.Parameter(torch.empty(width)))
            nn.init.normal_(getattr(self, f"null_{name}"), std=0.02)
        for table in tables:
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, codes: Tensor, *values: Tensor) -> Tensor:
        """Codes (B, n_coded) and each scalar's values (B,), NaN null: (B, width)."""
        total = codes.new_zeros((), dtype=next(self.tables.parameters()).dtype)
        for (name, unit), value in zip(self.scalars.items(), values, strict=True):
            embedded = getattr(self, name)(value.nan_to_num() / unit)
            total = total + torch.where(value.isnan()[:, None], getattr(self, f"null_{name}"), embedded)
        for i, table in enumerate(self.tables):
            total = total + table(codes[:, i])
        return total


class ModulatedBlock(nn.Module):
    """A transformer block whose norms and residuals the condition scales; starts as identity (adaLN-Zero)."""

    def __init__(self, width: int, n_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.attention = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.mlp = Mlp(width, mlp_ratio)
        self.modulate = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(condition)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class ConditionedTransformer(nn.Module):
    """Tokens (B, T, d), a time and conditions to a vector for every token: the backbone of both DiTs.

    Args:
        sizes: depth, width, heads and the code of positions.
        conditions: what embeds the conditions.
        d: channels a token.
        grid: tokens along each axis.
    """

    positions: Tensor
    nulls: Tensor

    def __init__(self, sizes: Sizes, n_classes: list[int], scalars: dict[str, float], d: int, grid: Grid):
        super().__init__()
        width = sizes.width
        if width % sizes.n_heads:
            raise ConfigurationError(f"a width of {width} is not divisible by {sizes.n_heads} heads.")
        self.d, self.grid = d, grid
        self.n_tokens = grid[0] * grid[1] * grid[2]
        self.embed = nn.Linear(d, width)
        self.time = ScalarEmbedding(width)
        self.conditions = ConditionEmbedding(n_classes, scalars, width)
        self.blocks = nn.ModuleList(
            ModulatedBlock(width, sizes.n_heads, sizes.mlp_ratio) for _ in range(sizes.depth)
        )
        self.norm = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, d)
        encode = encode_short_positions if sizes.position_code == "short" else encode_positions
        self.register_buffer("positions", encode(self.grid, width)[None], persistent=False)
        self.register_buffer("nulls", torch.tensor(n_classes), persistent=False)

    def initialise(self) -> None:
        """Xavier-uniform layers; the blocks' scales and the last layer start at zero (adaLN-Zero)."""
        self.apply(initialise_linear)
        kinds = ModulatedBlock | ConditionedTransformer
        modulated = (part.modulate for part in self.modules() if isinstance(part, kinds))
        for layer in (*modulated, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def transform(self, x: Tensor, t: Tensor, codes: Tensor, *scalars: Tensor) -> Tensor:
        """A vector (B, T, d) for every token of x (B, T, d) at times t (B,) in [0, 1]."""
        condition = functional.silu(self.time(TIME_SCALE * t) + self.conditions(codes, *scalars))
        h = self.embed(x) + self.positions
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulate(condition)[:, None].chunk(2, dim=-1)
        return self.leave(self.norm(h) * (1 + scale) + shift)
