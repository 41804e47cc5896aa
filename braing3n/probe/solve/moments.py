"""What the fits of folds share: moments of parts of the rows, and principal components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from braing3n.core.runtime import work_side_by_side


def standardise(x: np.ndarray) -> np.ndarray:
    """Features (n, F) with mean 0 and deviation 1 over all rows, so that sums of squares lose no digits."""
    x = x - x.mean(axis=0)
    deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
    x /= np.where(deviation > 0, deviation, 1)
    return x


@dataclass(frozen=True)
class Parts:
    """Of parts of some rows: count (K,), mean and squared deviations (K, F), scatter (K, F, F) or none."""

    count: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    scatter: np.ndarray

    def merge(self, code: np.ndarray) -> Parts:
        """Larger parts, 0 to max(code), of these: part k goes to code[k], nowhere if that is below 0."""
        is_of = np.arange(code.max() + 1)[:, None] == code
        count, square = is_of @ self.count, is_of @ self.square
        mean = (is_of * self.count) @ self.mean / count[:, None]
        scatter = np.zeros((len(count), *self.scatter.shape[1:]))

        def add(k: int) -> None:
            chosen = is_of[k]
            apart = (self.mean[chosen] - mean[k]) * np.sqrt(self.count[chosen])[:, None]
            square[k] += (apart**2).sum(axis=0)
            np.matmul(apart.T, apart, out=scatter[k])
            for each in np.flatnonzero(chosen):
                scatter[k] += self.scatter[each]

        work_side_by_side(add, range(len(count)))
        return Parts(count, mean, square, scatter)


def measure_parts(x: np.ndarray, part: np.ndarray, has_scatter: bool) -> Parts:
    """The parts (0 to K - 1) of rows x (n, F), from one pass over them."""
    n_parts, n_features = part.max() + 1, x.shape[1]
    mean, square = np.zeros((n_parts, n_features)), np.zeros((n_parts, n_features))
    scatter = np.zeros((n_parts, *((n_features, n_features) if has_scatter else (0, 0))))

    def measure(k: int) -> None:
        rows = x[part == k]
        mean[k] = rows.mean(axis=0)
        rows -= mean[k]
        square[k] = np.einsum("ij,ij->j", rows, rows)
        if has_scatter:
            np.matmul(rows.T, rows, out=scatter[k])

    if has_scatter:
        work_side_by_side(measure, range(n_parts))
    else:  # too little to hand out
        list(map(measure, range(n_parts)))
    return Parts(np.bincount(part).astype(float), mean, square, scatter)


class Moments:
    """Of each fold's training rows: mean and deviation (K, F), and scatter of the standardised (F, F)."""

    def __init__(self, folds: Parts):
        self.folds = folds
        n_folds = len(folds.count)
        count = (1 - np.eye(n_folds)) * folds.count
        self.mean = count @ folds.mean / count.sum(axis=1, keepdims=True)
        apart = np.stack([count[k] @ (folds.mean - self.mean[k]) ** 2 for k in range(n_folds)])
        variance = ((1 - np.eye(n_folds)) @ folds.square + apart) / count.sum(axis=1, keepdims=True)
        # Below this a feature is constant, up to the rounding of its mean.
        self.deviation = np.where(variance > 1e-24, np.sqrt(variance), 1.0)
        self.within = folds.scatter.sum(axis=0)

    def scatter(self, fold: int) -> np.ndarray:
        """Inner products (F, F) of the training features of a fold about their mean."""
        others = np.arange(len(self.mean)) != fold
        apart = (self.folds.mean - self.mean[fold])[others] * np.sqrt(self.folds.count[others])[:, None]
        total = apart.T @ apart
        total += self.within  # in place: to fill new memory takes as long as to add
        total -= self.folds.scatter[fold]
        return total

    def join(self, fold: int) -> np.ndarray:
        """Inner products (F, F) of the standardised training features of a fold."""
        return self.scatter(fold) / np.outer(self.deviation[fold], self.deviation[fold])


def find_components(x: np.ndarray, fold: np.ndarray, n_components: int) -> Iterator[tuple[np.ndarray, int]]:
    """Of each fold: standardised scores (n, n_components) of all rows on the PCA of its training rows.

    And how many training rows there are: the scores' inner products are that many times the identity. Where
    the rows span fewer components, the others are 0.
    """
    from scipy.linalg import eigh

    for k in range(fold.max() + 1):
        is_train = fold != k
        a = x - x[is_train].mean(axis=0)
        n_train, n_features = a[is_train].shape
        is_wide = n_train <= n_features
        products = a @ a[is_train].T if is_wide else a
        scatter = products[is_train] if is_wide else a[is_train].T @ a[is_train]
        n_kept = min(n_components, n_train - 1, n_features)
        values, vectors = eigh(scatter, subset_by_index=[len(scatter) - n_kept, len(scatter) - 1])
        scores = np.zeros((len(x), n_components))
        kept = values > np.trace(scatter) * len(scatter) * np.finfo(float).eps
        # Of a wide fold the scores are products @ vectors / sqrt(values), of a tall one a @ vectors.
        scale = np.sqrt(n_train) / (values[kept] if is_wide else np.sqrt(values[kept]))
        scores[:, : kept.sum()] = products @ (vectors[:, kept] * scale)
        yield scores, n_train


def is_tall(x: np.ndarray, fold: np.ndarray) -> bool:
    """Whether every fold is fitted on more rows than there are features."""
    return len(x) - np.bincount(fold).max() > x.shape[1]
