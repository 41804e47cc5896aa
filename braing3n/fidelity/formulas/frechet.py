"""The Fréchet distance between two sets of features: exact on few rows, and from streamed moments on many."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Moments:
    """Number, sum and products of rows in float64; sets are joined and taken apart by + and -.

    Attributes:
        total: (F,) sum of the rows; products: (F, F) sum of their outer products.
    """

    n: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Those of a block of rows (n, F)."""
        block = np.asarray(features, dtype=np.float64)
        return cls(len(block), block.sum(axis=0), block.T @ block)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.products + other.products)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.n - other.n, self.total - other.total, self.products - other.products)

    @property
    def mean(self) -> np.ndarray:
        """(F,)."""
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """(F, F), unbiased."""
        return (self.products - np.outer(self.total, self.mean)) / (self.n - 1)


def compare_moments(first: Moments, second: Moments) -> float:
    """The same distance from moments, for sets of more rows than are kept; two F x F decompositions.

    The trace of the root of the product A B is that of the root of R B R with R the root of A.
    """
    values, directions = np.linalg.eigh(first.covariance)
    root = (directions * np.sqrt(np.maximum(values, 0))) @ directions.T
    inner = np.linalg.eigvalsh(root @ second.covariance @ root)
    shift = first.mean - second.mean
    spread = np.trace(first.covariance) + np.trace(second.covariance)
    return float(max(0.0, shift @ shift + spread - 2 * np.sqrt(np.maximum(inner, 0)).sum()))
