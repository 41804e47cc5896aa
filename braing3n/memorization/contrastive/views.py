"""Views of a volume that a copy of it could be: mirrored, shifted, blurred, brighter and noisy."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from braing3n import training
from braing3n.memorization.settings import ContrastiveSettings


def draw_view(volume: Tensor, settings: ContrastiveSettings, generator: Generator) -> Tensor:
    """A random view of each of the volumes (B, 1, d, h, w), z-scored and 0 outside the brain; the same shape.

    The draws are those of a CPU generator, so that they are the same on every device.
    """
    draws = torch.rand(len(volume), 13, generator=generator)
    noise = torch.randn(volume.shape, generator=generator)
    offsets = (draws[:, :3] * (2 * settings.max_shift_voxels + 1)).long().tolist()
    draws = training.send(draws, volume.device)[:, :, None, None, None, None]
    view = torch.where(draws[:, 3] < 0.5, volume, volume.flip(2))
    view = _shift(view, offsets, settings.max_shift_voxels)
    for axis in range(3):
        view = _smooth(
            view, 2 + axis, *(settings.max_blur * draws[:, 4 + 2 * axis + side] for side in (0, 1))
        )
    gain, offset = (settings.max_gain * (2 * draws[:, k] - 1) for k in (10, 11))
    view = torch.where(view == 0, view, (1 + gain) * view + offset)
    return view + settings.max_noise * draws[:, 12] * training.send(noise, volume.device)


def _shift(volume: Tensor, offsets: list[list[int]], margin: int) -> Tensor:
    """Each volume moved by whole voxels, from -margin to margin (offsets from 0 on); 0 comes in."""
    d, h, w = volume.shape[2:]
    padded = functional.pad(volume, (margin,) * 6)
    moved = [one[:, x : x + d, y : y + h, z : z + w] for one, (x, y, z) in zip(padded, offsets, strict=True)]
    return torch.stack(moved)


def _smooth(volume: Tensor, axis: int, below: Tensor, above: Tensor) -> Tensor:
    """A voxel and its two neighbours averaged along an axis; unequal shares (B, 1, 1, 1, 1) shift, too."""
    n = volume.shape[axis]
    padding = [0] * 6
    padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = 1
    padded = functional.pad(volume, padding)
    return (
        below * padded.narrow(axis, 0, n) + (1 - below - above) * volume + above * padded.narrow(axis, 2, n)
    )
