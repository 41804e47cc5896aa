"""The Swin transformer of BrainSegFounder: MONAI's before 1.5, whose merging takes two neighbours twice."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.nets.foreign.vit import Perceptron

# Which of eight neighbours a merging joins, in its order. (0, 1, 0) and (0, 0, 1) stand twice and two others
# not at all: a fault that MONAI kept for trained weights' sake until 1.5, and these were trained with it.
MERGED = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))
FORBIDDEN = -100.0  # added to the score of two tokens that a shift made neighbours
WINDOWS_AT_ONCE = 64  # whose scores are in memory: 90 MB at three heads; a whole volume has 2,016 windows


class SwinTransformer(nn.Module):
    """A volume (B, channels, D, H, W) -> the map of the fourth stage (B, 16 * width, D/32, H/32, W/32).

    Each token's 16 * width numbers have mean 0 and deviation 1, as MONAI's `normalize` gives them. Edges that
    32 does not divide are padded on the way.
    """

    def __init__(
        self,
        n_channels: int,
        width: int = 48,
        depths: tuple[int, ...] = (2, 2, 2, 2),
        n_heads: tuple[int, ...] = (3, 6, 12, 24),
        window: int = 7,
    ):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(n_channels, width, 2, 2)})
        for k, (depth, heads) in enumerate(zip(depths, n_heads, strict=True)):
            stage = Stage(width * 2**k, depth, heads, window)
            setattr(self, f"layers{k + 1}", nn.ModuleList([stage]))
        self.n_stages = len(depths)
        self.n_features = width * 2 ** len(depths)

    def forward(self, volume: Tensor) -> Tensor:
        """The last stage's map, each token normalised."""
        n_beyond = [n % 2 for n in volume.shape[2:]]
        volume = functional.pad(volume, (0, n_beyond[2], 0, n_beyond[1], 0, n_beyond[0]))
        tokens = self.patch_embed["proj"](volume).movedim(1, -1)  # (B, d, h, w, width)
        for k in range(self.n_stages):
            tokens = getattr(self, f"layers{k + 1}")[0](tokens)
        return functional.layer_norm(tokens, tokens.shape[-1:]).movedim(-1, 1)


class Stage(nn.Module):
    """Blocks over windows, every other one shifted by half a window, and a merging of eight tokens."""

    def __init__(self, width: int, depth: int, n_heads: int, window: int):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, n_heads, window, shift=window // 2 if i % 2 else 0) for i in range(depth)
        )
        self.downsample = Merging(width)

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return self.downsample(tokens)


class Merging(nn.Module):
    """Eight tokens (B, d, h, w, width) -> one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(8 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        d, h, w = (n % 2 for n in tokens.shape[1:4])
        tokens = functional.pad(tokens, (0, 0, 0, w, 0, h, 0, d))
        return self.reduction(self.norm(torch.cat([tokens[:, i::2, j::2, k::2] for i, j, k in MERGED], -1)))


class Block(nn.Module):
    """Attention within windows and a two-layer perceptron, each after a norm and added."""

    def __init__(self, width: int, n_heads: int, window: int, shift: int):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, n_heads, window)
        self.mlp = Perceptron(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        grid = tokens.shape[1:4]
        windows = [min(n, self.window) for n in grid]  # an axis that one window spans is not shifted
        shifts = [0 if n <= self.window else self.shift for n in grid]
        back = [-n % window for n, window in zip(grid, windows, strict=True)]
        tokens = functional.pad(tokens, (0, 0, 0, back[2], 0, back[1], 0, back[0]))
        padded = tokens.shape[1:4]
        mask = _forbid_neighbours(padded, windows, shifts, tokens.device) if any(shifts) else None
        tokens = tokens.roll([-shift for shift in shifts], (1, 2, 3))
        mixed = self.attn(cut_windows(tokens, windows), mask)
        tokens = join_windows(mixed, windows, tokens.shape).roll(shifts, (1, 2, 3))
        return tokens[:, : grid[0], : grid[1], : grid[2]]


class WindowAttention(nn.Module):
    """Self-attention of each window's tokens (windows, n, width), with a learned bias for each offset."""

    relative_position_index: Tensor

    def __init__(self, width: int, n_heads: int, window: int):
        super().__init__()
        self.n_heads = n_heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 3, n_heads))
        self.register_buffer("relative_position_index", _index_offsets(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """mask: (windows of one volume, n, n), or None. Of a window that is smaller than `window` MONAI takes
        the first n rows and columns of the offsets, and so do we."""
        n = windows.shape[1]
        bias = self.relative_position_bias_table[self.relative_position_index[:n, :n]].permute(2, 0, 1)
        places = torch.arange(len(windows), device=windows.device)
        parts = []
        for part, rows in zip(windows.split(WINDOWS_AT_ONCE), places.split(WINDOWS_AT_ONCE), strict=True):
            q, k, v = self.qkv(part).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
            added = bias if mask is None else bias + mask[rows % len(mask)][:, None]
            mixed = functional.scaled_dot_product_attention(
                q, k, v, added.to(q.dtype).expand(len(q), -1, -1, -1)
            )
            parts.append(self.proj(mixed.transpose(1, 2).flatten(2)))
        return torch.cat(parts)


def cut_windows(tokens: Tensor, windows: list[int]) -> Tensor:
    """(B, d, h, w, width) -> (B * windows, n, width), the windows of a volume one after another."""
    b, d, h, w, width = tokens.shape
    i, j, k = windows
    tokens = tokens.reshape(b, d // i, i, h // j, j, w // k, k, width)
    return tokens.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, i * j * k, width)


def join_windows(cut: Tensor, windows: list[int], shape: torch.Size) -> Tensor:
    """The opposite of `cut_windows`."""
    b, d, h, w, width = shape
    i, j, k = windows
    cut = cut.reshape(b, d // i, h // j, w // k, i, j, k, width)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(shape)


def _index_offsets(window: int) -> Tensor:
    """For each pair of a window's tokens, the row of the bias table: int64 (window^3, window^3)."""
    axes = [torch.arange(window)] * 3
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    offsets = places[:, :, None] - places[:, None, :] + window - 1
    n = 2 * window - 1
    return (offsets[0] * n + offsets[1]) * n + offsets[2]


def _forbid_neighbours(
    grid: torch.Size, windows: list[int], shifts: list[int], device: torch.device
) -> Tensor:
    """What is added to scores of shifted windows (windows, n, n): a roll joins opposite ends of the volume.

    An axis that is not shifted is cut, too, as MONAI cuts it, which leaves it whole.
    """
    regions = torch.zeros(1, *grid, 1, device=device)
    cuts = [
        (slice(-window), slice(-window, -shift), slice(-shift, None))
        for window, shift in zip(windows, shifts, strict=True)
    ]
    for number, (i, j, k) in enumerate(product(*cuts)):
        regions[:, i, j, k] = number
    cut = cut_windows(regions, windows)[..., 0]
    return torch.where(cut[:, :, None] == cut[:, None, :], 0.0, FORBIDDEN)
