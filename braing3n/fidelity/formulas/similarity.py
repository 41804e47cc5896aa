"""Multi-scale structural similarity of volumes, and with it how much the volumes of a set differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first (Wang et al. 2003)
N_TAPS, SIGMA = 11, 1.5


def count_scales(shape: tuple[int, ...]) -> int:
    """Scales at which the window fits into the volume, five at most; 0: it is too small for one."""
    return sum(min(shape) // 2**k >= N_TAPS for k in range(len(WEIGHTS)))


@torch.no_grad()
def measure_ms_ssim(first: np.ndarray, second: np.ndarray, data_range: float) -> float:
    """MS-SSIM of two volumes (D, H, W): 1 for equal ones.

    A Gaussian window of 11 voxels and sigma 1.5, inside the volume; small volumes have as many scales as the
    window fits into, with weights that sum to 1. NaN where it fits into none.
    """
    n_scales = count_scales(first.shape)
    if not n_scales:
        return float("nan")
    x, y = (torch.from_numpy(np.ascontiguousarray(v, np.float64))[None, None] for v in (first, second))
    weights = np.array(WEIGHTS[:n_scales]) / sum(WEIGHTS[:n_scales])
    value = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _compare(x, y, data_range)
        is_last = scale == n_scales - 1
        term = float((luminance * contrast if is_last else contrast).mean())
        value *= max(term, 0.0) ** float(weight)
        x, y = functional.avg_pool3d(x, 2), functional.avg_pool3d(y, 2)
    return value


def _compare(x: Tensor, y: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure terms of each window."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance, (2 * covariance + c2) / (var_x + var_y + c2)


def _blur(volume: Tensor) -> Tensor:
    """A Gaussian window's mean wherever it fits, axis by axis."""
    place = torch.arange(N_TAPS, dtype=volume.dtype) - (N_TAPS - 1) / 2
    taps = torch.exp(-(place**2) / (2 * SIGMA**2))
    taps = taps / taps.sum()
    for axis in range(3):
        shape = [1] * 5
        shape[2 + axis] = N_TAPS
        volume = functional.conv3d(volume, taps.reshape(shape))
    return volume


def measure_diversity(
    load: Callable[[int], np.ndarray], owners: np.ndarray, n_pairs: int, data_range: float, seed: int
) -> list[float]:
    """MS-SSIM of random pairs of volumes of two owners: the lower, the more a set differs within itself.

    Args:
        load: gives volume i (D, H, W) in one window of intensities; owners: (N,) whose volume each is.
        n_pairs: at most; fewer where there are fewer pairs.
    """
    first, second = np.triu_indices(len(owners), 1)
    is_apart = owners[first] != owners[second]
    first, second = first[is_apart], second[is_apart]
    drawn = np.random.default_rng(seed).permutation(len(first))[:n_pairs]
    return [measure_ms_ssim(load(first[k]), load(second[k]), data_range) for k in drawn]
