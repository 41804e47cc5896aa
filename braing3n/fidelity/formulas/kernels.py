"""Unbiased squared maximum mean discrepancies (Gretton 2012): KID's polynomial kernel and a Gaussian one."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


def measure_kid(first: np.ndarray, second: np.ndarray, n_most: int = 2000) -> float:
    """Kernel distance of features (n, F), (m, F) with (x'y / F + 1)^3; below 0 by chance (Binkowski 2018).

    n_most: of a set with more rows, so many are drawn; slices are many, and the kernel takes their square.
    """
    rng = np.random.default_rng(0)
    x, y = (
        np.asarray(v if len(v) <= n_most else v[rng.permutation(len(v))[:n_most]], dtype=np.float64)
        for v in (first, second)
    )

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inner = a @ b.T / a.shape[1] + 1
        return inner * inner * inner

    return _discrepancy(kernel(x, x), kernel(y, y), kernel(x, y))


def measure_mmd(first: np.ndarray, second: np.ndarray, sigma: float) -> float:
    """Kernel distance of features (n, F), (m, F) with exp(-|x - y|^2 / (2 sigma^2)); below 0 by chance."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-cdist(a, b, "sqeuclidean") / (2 * sigma**2))

    return _discrepancy(kernel(x, x), kernel(y, y), kernel(x, y))


def choose_sigma(real: np.ndarray) -> float:
    """The Gaussian kernel's width: the median distance between two of the real features (n, F)."""
    distances = cdist(real, real)[np.triu_indices(len(real), 1)]
    return float(np.median(distances)) or 1.0


def _discrepancy(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> float:
    """From the three matrices of kernel values; a row is not compared with itself."""
    n, m = xy.shape
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())
