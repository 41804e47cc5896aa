"""Extreme intensities: padding is zeroed, single bright voxels are capped, a scanner's limit is counted."""

from __future__ import annotations

import numpy as np

from braing3n.preprocess.read.scan import Volume

PERCENTILE = 99.9  # of the positive voxels: fat and vessels of a head, the brightest tissue of a brain
FACTOR = 4.0  # seen in real scans: the brightest voxel is 2.5 to 3.8 times that percentile
MIN_PADDED_SHARE = 0.25  # of the outermost voxels
MIN_PADDING = 0.1  # of the image's range: a padding nearer to zero is as good as zero
N_SAMPLED = 1_000_000  # voxels, evenly taken, that the percentile is of


def remove_padding(data: np.ndarray) -> tuple[np.ndarray, bool]:
    """An image whose surroundings hold one value far from zero and from tissue (300, -1024): zero there.

    Returns:
        The image and whether it was padded; a constant next to the image's own values is a background (of a
        z-score, perhaps) and stays.
    """
    faces = [np.take(data, at, axis).ravel() for axis in range(3) for at in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    padding = values[counts.argmax()]
    if padding == 0 or counts.max() < MIN_PADDED_SHARE * counts.sum():
        return data, False
    others = data[data != padding]
    low, high = np.percentile(others[:: -(-others.size // N_SAMPLED)], (0, 99))
    is_far = padding > MIN_PADDING * high if padding > 0 else low - padding > MIN_PADDING * (high - low)
    return (np.where(data == padding, data.dtype.type(0), data), True) if is_far else (data, False)


def cap(data: np.ndarray, factor: float = FACTOR) -> tuple[np.ndarray, float]:
    """Intensities of at most `factor` times their 99.9th percentile, and the share of voxels that had more.

    One voxel of 32767 in a brain of 45 leaves a registration's histogram one bin for all tissue, and a
    volume's 16 bits few values. Where no voxel has more, the array itself is returned.
    """
    positive = data[data > 0]
    if not positive.size:
        return data, 0.0
    limit = factor * np.percentile(positive[:: -(-positive.size // N_SAMPLED)], PERCENTILE)
    n_above = int((positive > limit).sum())
    return (np.minimum(data, data.dtype.type(limit)), n_above / data.size) if n_above else (data, 0.0)


def cap_for_registration(scan: Volume) -> Volume:
    """The scan without its brightest thousandth, which registration must not see."""
    return scan.with_data(cap(scan.data, 1.0)[0])


def measure_saturation(scan: Volume, voxels: np.ndarray) -> float:
    """The share of voxels (N, 3) that have the scan's highest value, as where 8 bits were too few."""
    inside = scan.data[tuple(voxels.T)]
    return float((inside == scan.data.max()).mean()) if inside.size else 0.0
