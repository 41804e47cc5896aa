"""Logistic regression and ridge out of fold: scikit-learn's objectives, all folds and targets in one solve.

Features are standardised in each fold. What folds have in common is computed once: the scatter of a training
set is the sum of those of its folds, and one product with the features serves every fold and class. Where
people are fewer than features, the fits are in the span of the people.

A logistic regression is minimised by L-BFGS in coordinates in which its Hessian at zero is the identity
(the fixed Hessian of Böhning 1992, at the classes' shares in place of its bound), so that features whose
singular values fall as 1/k need tens of steps, where L-BFGS on the features needs thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

STEP = 1e-9  # the fits end where a step gains less than this share of the objective
N_CORRECTIONS = 20  # pairs that L-BFGS remembers


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
        for k, (chosen, total) in enumerate(zip(is_of, scatter, strict=True)):
            apart = (self.mean[chosen] - mean[k]) * np.sqrt(self.count[chosen])[:, None]
            square[k] += (apart**2).sum(axis=0)
            np.matmul(apart.T, apart, out=total)
            for each in np.flatnonzero(chosen):
                total += self.scatter[each]
        return Parts(count, mean, square, scatter)


def measure_parts(x: np.ndarray, part: np.ndarray, has_scatter: bool) -> Parts:
    """The parts (0 to K - 1) of rows x (n, F), from one pass over them."""
    n_parts, n_features = part.max() + 1, x.shape[1]
    mean, square = np.zeros((n_parts, n_features)), np.zeros((n_parts, n_features))
    scatter = np.zeros((n_parts, *((n_features, n_features) if has_scatter else (0, 0))))
    for k in range(n_parts):
        rows = x[part == k]
        mean[k] = rows.mean(axis=0)
        rows -= mean[k]
        square[k] = np.einsum("ij,ij->j", rows, rows)
        if has_scatter:
            scatter[k] = rows.T @ rows
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


def predict_ridge(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, alpha: float, n_components: int = 0
) -> np.ndarray:
    """Ridge predictions (n, T) of several targets (n, T) at once, each row's from the other folds.

    n_components: reduce by a PCA in the fold first; 0: do not.
    """
    _, fold = np.unique(fold, return_inverse=True)
    predictions = np.zeros(y.shape)
    if n_components:
        for k, (rows, n_train) in enumerate(_find_components(x, fold, n_components)):
            centre = y[fold != k].mean(axis=0)
            weights = rows[fold != k].T @ (y[fold != k] - centre) / (n_train + alpha)
            predictions[fold == k] = rows[fold == k] @ weights + centre
        return predictions
    x = standardise(x)
    is_tall = _is_tall(x, fold)
    moments = Moments(measure_parts(x, fold, has_scatter=is_tall))
    if is_tall:
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
    for k, (moments, fold) in enumerate(fits):
        weights[:, k] = _solve(moments.scatter(fold), alpha * moments.deviation[fold] ** 2, weights[:, k])
        centre[k] -= moments.mean[fold] @ weights[:, k]
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


def _find_components(x: np.ndarray, fold: np.ndarray, n_components: int) -> Iterator[tuple[np.ndarray, int]]:
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


def _is_tall(x: np.ndarray, fold: np.ndarray) -> bool:
    """Whether every fold is fitted on more rows than there are features."""
    return len(x) - np.bincount(fold).max() > x.shape[1]


def _solve(products: np.ndarray, penalty: float | np.ndarray, right: np.ndarray) -> np.ndarray:
    """(products + a diagonal)^-1 right; the products are overwritten."""
    from scipy.linalg import cho_factor, cho_solve

    products[np.diag_indices_from(products)] += penalty
    factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)
    return cho_solve(factor, right, check_finite=False)


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

        self.factors = []
        for k in folds:
            products = self.moments.join(k)
            products *= weight
            products[np.diag_indices_from(products)] += 1
            self.factors.append(cholesky(products, lower=True, overwrite_a=True, check_finite=False))
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
        rows, counts = zip(*_find_components(x, fold, n_components), strict=True)
        return _Wide(np.stack(rows), np.repeat(np.array(counts, float)[:, None], n_components, axis=1))
    x = standardise(x)
    return _Tall(x, fold) if _is_tall(x, fold) else _Wide.span(x, fold)


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
