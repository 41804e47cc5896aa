"""What networks of others want of a volume: intensities, direction, size and scale."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BRIGHTEST = 0.999  # the quantile of a brain's intensities that counts as its brightest
# The box of a volume at 1 mm, whose edges are multiples of 32; a coarser volume is enlarged to it.
FULL_SHAPE = (160, 192, 160)


def restore_intensities(image: Tensor, mask: Tensor) -> Tensor:
    """A stripped scan (D, H, W) of a z-scored one: its darkest brain voxel is 0, as what lies outside.

    Up to a gain it is what was z-scored where the darkest voxel was 0; networks of others were trained on
    scans whose background is darker than the brain.
    """
    return torch.where(mask, image - image[mask].min(), 0) if mask.any() else torch.zeros_like(image)


def turn_to_ras(volume: Tensor) -> Tensor:
    """A volume (..., L, P, S), as ours are stored, with indices that increase to right, front and top."""
    return volume.flip(-3, -2)


def resize(volume: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Trilinear, corners of voxels aligned, no smoothing; a volume (D, H, W) of that shape stays as it is."""
    if tuple(volume.shape) == tuple(shape):
        return volume
    return functional.interpolate(volume[None, None], shape, mode="trilinear", align_corners=False)[0, 0]


def scale_by(volume: Tensor, values: Tensor) -> Tensor:
    """The volume as a z-score of `values`, by their mean and their deviation (of n, not n - 1)."""
    if not values.numel():
        return torch.zeros_like(volume)
    deviation = values.std(correction=0)
    return (volume - values.mean()) / torch.where(deviation > 0, deviation, 1.0)


def standardise(volume: Tensor, where: Tensor, outside: float | Tensor = 0.0) -> Tensor:
    """Mean 0 and deviation 1 over `where`, (D, H, W); `outside` elsewhere."""
    return torch.where(where, scale_by(volume, volume[where]), outside)


def scale_to_one(volume: Tensor) -> Tensor:
    """The smallest value 0 and the largest 1, (D, H, W)."""
    low, high = volume.aminmax()
    return (volume - low) / torch.where(high > low, high - low, 1.0)


def find_box(where: Tensor) -> tuple[slice, slice, slice]:
    """The smallest box that holds every voxel of `where` (D, H, W); all of it where there is none."""
    if not where.any():
        return slice(None), slice(None), slice(None)
    places = where.nonzero()
    (d, h, w), (d_end, h_end, w_end) = places.amin(0).tolist(), (places.amax(0) + 1).tolist()
    return slice(d, d_end), slice(h, h_end), slice(w, w_end)
