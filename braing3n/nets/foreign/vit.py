"""The vision transformer of BrainIAC version 2: MONAI 1.3's ViT in 137 tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class VisionTransformer(nn.Module):
    """Patches of a volume (B, 1, D, H, W) -> tokens (B, N, width), without a class token.

    MONAI from 1.4 on has further tensors in each block (cross-attention), so that it refuses the checkpoint.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (96, 96, 96),
        patch_size: int = 16,
        width: int = 768,
        depth: int = 12,
        n_heads: int = 12,
        mlp_width: int = 3072,
    ):
        super().__init__()
        n_tokens = math.prod(n // patch_size for n in shape)
        self.patch_embedding = PatchEmbedding(n_tokens, patch_size, width)
        self.blocks = nn.ModuleList(Block(width, n_heads, mlp_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.n_features = width

    def forward(self, volume: Tensor) -> Tensor:
        """Tokens after the last norm, in the order of the patches' corners (D slowest)."""
        tokens = self.patch_embedding(volume)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class PatchEmbedding(nn.Module):
    """A convolution over patches, and learned positions."""

    def __init__(self, n_tokens: int, patch_size: int, width: int):
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(1, n_tokens, width))
        self.patch_embeddings = nn.Conv3d(1, width, patch_size, patch_size)

    def forward(self, volume: Tensor) -> Tensor:
        return self.patch_embeddings(volume).flatten(2).transpose(1, 2) + self.position_embeddings


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a norm and added."""

    def __init__(self, width: int, n_heads: int, mlp_width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, n_heads)
        self.mlp = Perceptron(width, mlp_width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Attention(nn.Module):
    """Self-attention whose queries, keys and values have no bias."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, N, width / heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Perceptron(nn.Module):
    """Two linear layers and a GELU between them, named as MONAI names them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear2(functional.gelu(self.linear1(tokens)))
