"""Ridge out of fold, of several targets at once."""

from __future__ import annotations

import numpy as np

from braing3n.core.runtime import work_side_by_side
from braing3n.probe.solve.moments import Moments, find_components, is_tall, measure_parts, standardise


def predict_ridge(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, alpha: float, n_components: int = 0
) -> np.ndarray:
    """Ridge predictions (n, T) of several targets (n, T) at once, each row's from the other folds.

    n_components: reduce by a PCA in the fold first; 0: do not.
    """
    _, fold = np.unique(fold, return_inverse=True)
    predictions = np.zeros(y.shape)
    if n_components:
        for k, (rows, n_train) in enumerate(find_components(x, fold, n_components)):
            centre = y[fold != k].mean(axis=0)
            weights = rows[fold != k].T @ (y[fold != k] - centre) / (n_train + alpha)
            predictions[fold == k] = rows[fold == k] @ weights + centre
        return predictions
    x = standardise(x)
    has_scatter = is_tall(x, fold)
    moments = Moments(measure_parts(x, fold, has_scatter))
    if has_scatter:
        fits = [(moments, k) for k in range(fold.max() + 1)]
        return _predict_tall(x, y, fold[:, None] != np.arange(len(fits)), fold, fits, alpha)
    for k in range(fold.max() + 1):
        test = fold == k
        centre = y[~test].mean(axis=0)
        a = (x - moments.mean[k]) / moments.deviation[k]
        products = a @ a[~test].T
        predictions[test] = products[test] @ _solve(products[~test], alpha, y[~test] - centre) + centre
    return predictions


def _predict_tall(
    x: np.ndarray,
    y: np.ndarray,
    is_train: np.ndarray,
    own: np.ndarray,
    fits: list[tuple[Moments, int]],
    alpha: float,
) -> np.ndarray:
    """Ridge predictions (n, T) by each row's own fit, of K fits that two products with the features serve.

    Fit k is on the rows is_train[:, k] (n, K), whose moments are those of a fold.
    """
    n_targets, centre = y.shape[1], is_train.T @ y / is_train.sum(axis=0)[:, None]
    right = np.where(is_train[:, :, None], y[:, None] - centre, 0).reshape(len(x), -1)
    weights = (x.T @ right).reshape(x.shape[1], len(fits), n_targets)

    def fit(k: int) -> None:
        moments, fold = fits[k]
        weights[:, k] = _solve(moments.scatter(fold), alpha * moments.deviation[fold] ** 2, weights[:, k])
        centre[k] -= moments.mean[fold] @ weights[:, k]

    work_side_by_side(fit, range(len(fits)))
    scores = (x @ weights.reshape(x.shape[1], -1)).reshape(len(x), len(fits), n_targets)
    return scores[np.arange(len(x)), own] + centre[own]


class Blocks:
    """Rows in blocks whose scatter is computed once, for ridges on many deals of the blocks."""

    def __init__(self, x: np.ndarray, block: np.ndarray):
        self.x, self.block = standardise(x), block
        self.parts = measure_parts(self.x, block, has_scatter=True)

    def predict(self, y: np.ndarray, side: np.ndarray, fold: np.ndarray, alpha: float) -> np.ndarray:
        """Predictions (n, T) of targets (n, T), each row's from the other folds of its side (both (n,))."""
        sides, folds = np.zeros((2, len(self.parts.count)), dtype=np.int64)
        sides[self.block], folds[self.block] = side, fold
        n_folds, fits = fold.max() + 1, []
        for k in range(side.max() + 1):
            moments = Moments(self.parts.merge(np.where(sides == k, folds, -1)))
            fits += [(moments, each) for each in range(n_folds)]
        number = np.arange(len(fits))
        is_train = (side[:, None] == number // n_folds) & (fold[:, None] != number % n_folds)
        return _predict_tall(self.x, y, is_train, side * n_folds + fold, fits, alpha)


def _solve(products: np.ndarray, penalty: float | np.ndarray, right: np.ndarray) -> np.ndarray:
    """(products + a diagonal)^-1 right; the products are overwritten."""
    from scipy.linalg import cho_factor, cho_solve

    products[np.diag_indices_from(products)] += penalty
    factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)
    return cho_solve(factor, right, check_finite=False)
