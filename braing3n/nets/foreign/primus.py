"""The transformer Primus-M (an EVA-02 over patches of 8^3 voxels), as nnssl pretrains it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE = 10_000.0  # of the wavelengths of rotations


class Primus(nn.Module):
    """A volume (B, 1, D, H, W) -> tokens (B, N, width) after the last norm.

    Tokens stand in the order H, D, W, as nnssl's masked autoencoder lays them out. Its learned positions are
    for a cube of `n_places` tokens an edge; for another grid they are resized, as its authors do.
    has_scales, has_inner_norm: whether blocks have factors behind their two parts, and attention a norm.
    """

    def __init__(
        self,
        n_places: int = 20,
        patch_size: int = 8,
        width: int = 864,
        depth: int = 16,
        n_heads: int = 12,
        has_scales: bool = True,
        has_inner_norm: bool = True,
    ):
        super().__init__()
        self.down_projection = nn.ModuleDict({"proj": nn.Conv3d(1, width, patch_size, patch_size)})
        blocks = [Block(width, n_heads, has_scales, has_inner_norm) for _ in range(depth)]
        self.eva = Trunk(n_places, width, blocks)
        self.n_features = width
        self.n_turns = width // n_heads // 6  # planes that an axis turns in each head

    def forward(self, volume: Tensor) -> Tensor:
        """Tokens after the last norm."""
        tokens = self.down_projection["proj"](volume).transpose(2, 3)  # (B, width, h, d, w)
        return self.eva(tokens, lay_out_angles(tokens.shape[2:], self.n_turns).to(tokens.device))


class Trunk(nn.Module):
    """Learned positions, blocks and a norm: (B, width, h, d, w) -> (B, N, width)."""

    def __init__(self, n_places: int, width: int, blocks: list[Block]):
        super().__init__()
        self.n_places = n_places
        self.pos_embed = nn.Parameter(torch.zeros(1, n_places**3, width))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)

    def forward(self, grid: Tensor, angles: Tensor) -> Tensor:
        tokens = grid.flatten(2).transpose(1, 2) + self.resize_positions(grid.shape[2:])
        for block in self.blocks:
            tokens = block(tokens, angles)
        return self.norm(tokens)

    def resize_positions(self, grid: torch.Size) -> Tensor:
        """Learned positions of a grid, (1, N, width)."""
        cube = self.pos_embed.transpose(1, 2).unflatten(2, (self.n_places,) * 3)
        if grid != cube.shape[2:]:
            cube = functional.interpolate(cube, tuple(grid), mode="trilinear", align_corners=False)
        return cube.flatten(2).transpose(1, 2)


def lay_out_angles(grid: torch.Size, n_turns: int) -> Tensor:
    """Each token's angle in each plane, (N, 3 * n_turns): its place on an axis over wavelengths."""
    speeds = BASE ** (-torch.arange(n_turns) / n_turns)
    places = torch.meshgrid(*(torch.arange(n).float() for n in grid), indexing="ij")
    return torch.cat([axis.flatten()[:, None] * speeds for axis in places], dim=1)


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate neighbouring channels (B, heads, N, 2 * planes) by their token's angles."""
    first, second = x[..., ::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention and a gated perceptron, each after a norm, scaled and added."""

    def __init__(self, width: int, n_heads: int, has_scales: bool, has_inner_norm: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, n_heads, has_inner_norm)
        self.mlp = GatedPerceptron(width, int(width * 8 / 3))
        self.gamma_1 = nn.Parameter(torch.ones(width)) if has_scales else None
        self.gamma_2 = nn.Parameter(torch.ones(width)) if has_scales else None

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:
        mixed = self.attn(self.norm1(tokens), angles)
        tokens = tokens + (mixed if self.gamma_1 is None else self.gamma_1 * mixed)
        changed = self.mlp(self.norm2(tokens))
        return tokens + (changed if self.gamma_2 is None else self.gamma_2 * changed)


class Attention(nn.Module):
    """Self-attention with rotated queries and keys; keys have no bias."""

    def __init__(self, width: int, n_heads: int, has_inner_norm: bool):
        super().__init__()
        self.n_heads = n_heads
        self.q_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width) if has_inner_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, angles: Tensor) -> Tensor:
        layers = self.q_proj, self.k_proj, self.v_proj
        q, k, v = (layer(tokens).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for layer in layers)
        mixed = functional.scaled_dot_product_attention(turn(q, angles), turn(k, angles), v)
        return self.proj(self.norm(mixed.transpose(1, 2).flatten(2)))


class GatedPerceptron(nn.Module):
    """Two linear layers side by side, one the other's gate, a norm and a third layer."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1_g, self.fc1_x = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.norm(functional.silu(self.fc1_g(tokens)) * self.fc1_x(tokens)))
