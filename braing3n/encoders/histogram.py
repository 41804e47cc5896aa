"""The histogram of z-scores, which knows nothing of where a voxel lies."""

from __future__ import annotations

import numpy as np

from braing3n.encoders import describe_volumes

SECTIONS = ()
HAS_PCA = False
N_BINS = 20
Z_LIMIT = 4.0  # the end bins take what lies beyond


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """Shares of brain voxels, float32 (N, 20)."""
    return describe_volumes("histogram", volumes, count_levels, part_dir)


def count_levels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of brain voxels in each of 20 bins of z from -4 to 4."""
    levels = np.clip(image[mask], -Z_LIMIT, Z_LIMIT)
    counts, _ = np.histogram(levels, bins=N_BINS, range=(-Z_LIMIT, Z_LIMIT))
    return (counts / max(1, counts.sum())).astype(np.float32)
