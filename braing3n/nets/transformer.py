"""The transformer parts that the masked autoencoder and the diffusion transformer share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.runtime import is_intel

NORM_EPS = 1e-6  # of layer norms, as in the official code of MAE and DiT; PyTorch's own is 1e-5
_PREFERS_ONEDNN = torch.backends.mkldnn.is_available() and not is_intel()
SHORT_HEIGHT = 0.4
MOST_TOKENS_WRITTEN_OUT = 512  # of more, the attention weights that backward needs would fill memory


class Linear(nn.Linear):
    """A linear layer over tokens (B, N, C); in float32 on a CPU not Intel's a convolution over one pixel.

    PyTorch leaves float32 matrix products to MKL and convolutions to oneDNN. On AMD's processors oneDNN
    multiplies twice as fast, on Intel's MKL is as fast or faster (`bench/mae.py`).
    """

    def forward(self, x: Tensor) -> Tensor:
        is_float32 = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if x.device.type != "cpu" or not (is_float32 and _PREFERS_ONEDNN):
            return super().forward(x)
        pixels = x.transpose(1, 2)[:, :, None]  # (B, C, 1, N), channels last in memory: nothing is copied
        return functional.conv2d(pixels, self.weight[..., None, None], self.bias)[:, :, 0].transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of queries (B, heads, M, C) over keys and values (B, heads, N, C).

    On a CPU in bfloat16, PyTorch's fused backward takes up to seven times as long as plain products do.
    """
    is_slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled()
    if not is_slow or k.shape[2] > MOST_TOKENS_WRITTEN_OUT:
        return functional.scaled_dot_product_attention(q, k, v)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
    return weights.softmax(dim=-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Multi-head self-attention over tokens, without mask or dropout."""

    def __init__(self, width: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(width, 3 * width)
        self.project = Linear(width, width)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """(B, N, C) to the same, or to what the tokens from `first` on see of all: (B, N - first, C)."""
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.n_heads, c // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, C / heads)
        x = attend(q[:, :, first:], k, v)
        return self.project(x.transpose(1, 2).reshape(b, n - first, c))


class Mlp(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, ratio: float):
        hidden = int(width * ratio)
        super().__init__(Linear(width, hidden), nn.GELU(), Linear(hidden, width))


class Block(nn.Module):
    """A pre-norm transformer block: (B, N, width) to the same, or to the tokens from `first` on alone."""

    def __init__(self, width: int, n_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, NORM_EPS)
        self.attention = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width, NORM_EPS)
        self.mlp = Mlp(width, mlp_ratio)

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        x = x[:, first:] + self.attention(self.norm1(x), first)
        return x + self.mlp(self.norm2(x))


def encode_positions(grid: tuple[int, int, int], width: int) -> Tensor:
    """The fixed 3-D sine-cosine code of a token grid (d, h, w): float32 (d h w, width).

    Each axis has a third of the channels, half sines and half cosines, with wavelengths from 2 pi to
    20000 pi tokens (Vaswani et al. 2017); up to five channels left over by a width that 6 does not
    divide stay 0.
    """
    if _is_shape_alone():
        return torch.empty(math.prod(grid), width)
    n_frequencies = width // 6
    frequencies = 10000.0 ** (-torch.arange(n_frequencies, dtype=torch.float64) / n_frequencies)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    parts = []
    for axis in axes:
        angles = axis.reshape(-1, 1) * frequencies
        parts += [angles.sin(), angles.cos()]
    code = torch.cat(parts, dim=1)
    return functional.pad(code, (0, width - code.shape[1])).float()


def encode_short_positions(grid: tuple[int, int, int], width: int) -> Tensor:
    """A fixed sine-cosine code for grids of a few tokens an axis: float32 (d h w, width).

    Wavelengths of `encode_positions` begin at 6.3 tokens, so that on a short axis most of its channels are
    nearly the same everywhere; this constant drowns what tokens say. Here they reach from 2.5 to 20 tokens,
    each channel's mean over the grid is taken away, and the code has 0.4 of the height. Channels that a
    width leaves over stay 0.
    """
    if _is_shape_alone():
        return torch.empty(math.prod(grid), width)
    n_frequencies = width // 6
    frequencies = 2 * torch.pi / torch.logspace(math.log10(2.5), math.log10(20.0), n_frequencies).double()
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = torch.stack(axes).reshape(3, -1, 1) * frequencies
    code = torch.cat([part for axis in angles for part in (axis.sin(), axis.cos())], dim=1)
    code = SHORT_HEIGHT * (code - code.mean(dim=0))
    return functional.pad(code, (0, width - code.shape[1])).float()


def _is_shape_alone() -> bool:
    """Whether new tensors have no values; arithmetic on them imports PyTorch's compiler, for two seconds."""
    return torch.get_default_device().type == "meta"


def encode_scalars(values: Tensor, width: int) -> Tensor:
    """Sines and cosines of scalars (B,) at wavelengths from 2 pi to 20000 pi: float32 (B, width)."""
    n_frequencies = width // 2
    frequencies = 10000.0 ** (-torch.arange(n_frequencies, device=values.device).float() / n_frequencies)
    angles = values.float()[:, None] * frequencies
    return functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width - 2 * n_frequencies))


def initialise_linear(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases, as ViTs start; pass to `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
