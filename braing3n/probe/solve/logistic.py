"""Logistic regression out of fold.

It is minimised by L-BFGS in coordinates in which its Hessian at zero is the identity (the fixed Hessian of
Böhning 1992, at the classes' shares in place of its bound), so that features whose singular values fall as
1/k need tens of steps, where L-BFGS on the features needs thousands.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from braing3n.core.runtime import work_side_by_side
from braing3n.probe.solve.moments import Moments, find_components, is_tall, measure_parts, standardise

STEP = 1e-9  # the fits end where a step gains less than this share of the objective
N_CORRECTIONS = 20  # pairs that L-BFGS remembers


def predict_logistic(
    x: np.ndarray, code: np.ndarray, n_classes: int, fold: np.ndarray, max_iter: int, n_components: int = 0
) -> tuple[np.ndarray, bool]:
    """Probabilities (n, n_classes), each row's from the other folds, and whether all fits converged.

    The objective is scikit-learn's with C = 1: an intercept without penalty; of two classes one weight
    vector, of more one a class. A class that a training set lacks has probability 0, an only one 1.

    Args:
        x: (n, F).
        code: (n,) class of each row, 0 to n_classes - 1.
        fold: (n,) in which each row is tested.
        n_components: reduce by a PCA in the fold first; 0: do not.
    """
    _, fold = np.unique(fold, return_inverse=True)
    present = np.array([np.bincount(code[fold != k], minlength=n_classes) > 0 for k in range(fold.max() + 1)])
    probabilities, is_converged = np.zeros((len(x), n_classes)), True
    design = None
    for classes in np.unique(present, axis=0):
        folds = np.flatnonzero((present == classes).all(axis=1))
        names = np.flatnonzero(classes)
        test = np.isin(fold, folds)
        if len(names) == 1:
            probabilities[test, names[0]] = 1
            continue
        design = design or _build_design(x, fold, n_components)
        problem = _Logistic(design, folds, np.searchsorted(names, code), len(names), fold)
        found, has_converged = problem.minimise(max_iter)
        probabilities[np.ix_(test, names)] = found[test]
        is_converged &= has_converged
    return probabilities, is_converged


class _Tall:
    """Standardised rows of every fold as one matrix (n, F), with a mean and a deviation a fold."""

    def __init__(self, x: np.ndarray, fold: np.ndarray):
        self.x, self.width = x, x.shape[1]
        self.moments = Moments(measure_parts(x, fold, has_scatter=True))

    def prepare(self, folds: np.ndarray, weight: float) -> None:
        """Choose folds, and coordinates in which weight x scatter + I is the identity."""
        from scipy.linalg import cholesky

        def factorise(k: int) -> np.ndarray:
            products = self.moments.join(k)
            products *= weight
            products[np.diag_indices_from(products)] += 1
            return cholesky(products, lower=True, overwrite_a=True, check_finite=False)

        self.factors = work_side_by_side(factorise, folds)
        self.mean, self.deviation = self.moments.mean[folds], self.moments.deviation[folds, :, None]

    def project(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (n, K, C) of coordinates (K, F, C), and weights of the standardised features (K, F, C)."""
        weights = self._turn(v, transposed=True)
        scaled = weights / self.deviation
        n_folds, _, n_columns = v.shape
        scores = self.x @ scaled.transpose(1, 0, 2).reshape(self.width, -1)
        scores = scores.reshape(-1, n_folds, n_columns)
        return scores - np.einsum("kf,kfc->kc", self.mean, scaled), weights

    def pull(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The gradient (K, F, C) of residuals (n, K, C) and of half the squared weights."""
        n, n_folds, n_columns = residuals.shape
        gradient = (self.x.T @ residuals.reshape(n, -1)).reshape(self.width, n_folds, n_columns)
        gradient = gradient.transpose(1, 0, 2) - self.mean[:, :, None] * residuals.sum(axis=0)[:, None, :]
        return self._turn(gradient / self.deviation + weights, transposed=False)

    def _turn(self, v: np.ndarray, transposed: bool) -> np.ndarray:
        from scipy.linalg import solve_triangular

        return np.stack(
            [
                solve_triangular(factor, each, lower=True, trans=int(transposed), check_finite=False)
                for factor, each in zip(self.factors, v, strict=True)
            ]
        )


class _Wide:
    """Rows of every fold in the principal coordinates of its training rows, (K, n, width).

    values: (K, width) inner products of each coordinate over the training rows; 0 where it is a padding.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray):
        self.rows, self.values, self.width = rows, values, rows.shape[2]

    @classmethod
    def span(cls, x: np.ndarray, fold: np.ndarray) -> _Wide:
        """Coordinates in the span of each fold's standardised training rows, which lose nothing."""
        moments = Moments(measure_parts(x, fold, has_scatter=False))
        n_folds, width = len(moments.mean), len(x) - np.bincount(fold).min()
        rows, values = np.zeros((n_folds, len(x), width)), np.zeros((n_folds, width))
        for k in range(n_folds):
            a = (x - moments.mean[k]) / moments.deviation[k]
            products = a @ a[fold != k].T
            found, vectors = np.linalg.eigh(products[fold != k])
            kept = found > found[-1] * len(found) * np.finfo(float).eps
            values[k, : kept.sum()] = found[kept]
            rows[k, :, : kept.sum()] = products @ (vectors[:, kept] / np.sqrt(found[kept]))
        return cls(rows, values)

    def prepare(self, folds: np.ndarray, weight: float) -> None:
        """As of `_Tall`."""
        self.scale = 1 / np.sqrt(weight * self.values[folds] + 1)[:, :, None]
        self.chosen = self.rows[folds]

    def project(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of `_Tall`."""
        weights = self.scale * v
        return (self.chosen @ weights).transpose(1, 0, 2), weights

    def pull(self, residuals: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """As of `_Tall`."""
        return self.scale * (self.chosen.transpose(0, 2, 1) @ residuals.transpose(1, 0, 2) + weights)


def _build_design(x: np.ndarray, fold: np.ndarray, n_components: int) -> _Tall | _Wide:
    """Features (n, F) prepared for fits on all folds but one, in the fewer of rows and features."""
    if n_components:
        rows, counts = zip(*find_components(x, fold, n_components), strict=True)
        return _Wide(np.stack(rows), np.repeat(np.array(counts, float)[:, None], n_components, axis=1))
    x = standardise(x)
    return _Tall(x, fold) if is_tall(x, fold) else _Wide.span(x, fold)


class _Logistic:
    """The sum of the objectives of some folds that have the same classes."""

    def __init__(self, design, folds: np.ndarray, code: np.ndarray, n_classes: int, fold: np.ndarray):
        self.design, self.n_folds = design, len(folds)
        self.n_columns = 1 if n_classes == 2 else n_classes
        # A row has weight 0 in the fold in which it is tested, and in those of other classes.
        self.is_train = (fold[:, None] != folds)[:, :, None]
        self.is_class = (code[:, None] == np.arange(n_classes))[:, None, :]
        if n_classes == 2:
            self.is_class = self.is_class[:, :, 1:]
        shares = np.bincount(code, minlength=n_classes) / len(code)
        spread = (shares * (1 - shares)).mean()
        self.design.prepare(folds, spread)
        self.intercept_scale = 1 / np.sqrt(spread * self.is_train.sum(axis=0))
        self.test = fold
        self.folds = folds

    def minimise(self, max_iter: int) -> tuple[np.ndarray, bool]:
        """Probabilities (n, n_classes) of the rows tested in these folds, and whether the fits converged."""
        from scipy.optimize import minimize

        size = self.n_folds * (self.design.width + 1) * self.n_columns
        options = {"maxiter": max_iter, "maxcor": N_CORRECTIONS, "ftol": STEP, "gtol": 0.0}
        found = minimize(self._evaluate, np.zeros(size), jac=True, method="L-BFGS-B", options=options)
        scores, _ = self._score(found.x)
        own = scores[np.arange(len(scores)), np.searchsorted(self.folds, self.test) % self.n_folds]
        if self.n_columns == 1:
            second = expit(own)
            return np.concatenate([1 - second, second], axis=1), found.status == 0
        return _normalise(own), found.status == 0

    def _score(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        v, intercept = self._unpack(flat)
        scores, weights = self.design.project(v)
        return scores + intercept * self.intercept_scale, weights

    def _unpack(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = self.n_folds * self.n_columns
        return flat[n:].reshape(self.n_folds, -1, self.n_columns), flat[:n].reshape(self.n_folds, -1)

    def _evaluate(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective and its gradient."""
        scores, weights = self._score(flat)
        if self.n_columns == 1:
            loss = np.logaddexp(0, scores) - np.where(self.is_class, scores, 0)
            residuals = expit(scores) - self.is_class
        else:
            top = scores.max(axis=2, keepdims=True)
            loss = np.log(np.exp(scores - top).sum(axis=2, keepdims=True)) + top
            residuals = np.exp(scores - loss) - self.is_class
            loss = loss - np.where(self.is_class, scores, 0).sum(axis=2, keepdims=True)
        residuals *= self.is_train
        value = (loss * self.is_train).sum() + 0.5 * np.square(weights).sum()
        gradient = self.design.pull(residuals, weights)
        intercept = residuals.sum(axis=0) * self.intercept_scale
        return value, np.concatenate([intercept.ravel(), gradient.ravel()])


def _normalise(scores: np.ndarray) -> np.ndarray:
    """Probabilities of scores, over the last axis."""
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
