"""The Fréchet distance between two sets of features, exact where samples are fewer than features."""

from __future__ import annotations

import numpy as np


def measure_frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance between the normal laws fitted to (n, F) and (m, F) features.

    With centred and scaled rows X, Y the covariances are X'X and Y'Y, and the trace of the root of
    their product is the sum of the singular values of X Y' (nuclear norm): no F x F root is taken and
    nothing is added to a covariance of low rank. In float64; the features' squared unit (Dowson and
    Landau 1982).
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    shift = first.mean(axis=0) - second.mean(axis=0)
    x, y = _factor(first), _factor(second)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + (x**2).sum() + (y**2).sum() - 2 * cross))


def _factor(features: np.ndarray) -> np.ndarray:
    """Rows X, at most F of them, with X'X the unbiased covariance."""
    x = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(x, mode="r")) if len(x) > x.shape[1] else x
