"""Scores of out-of-fold predictions, with intervals from resampled people, all bootstraps at once."""

from __future__ import annotations

import warnings

import numpy as np

METRICS = {"classification": ("auc",), "regression": ("r2", "mae", "r")}
# Entries of the weight matrix that are held at once.
_BLOCK = 4_000_000


def score(
    kind: str,
    target: np.ndarray,
    predictions: np.ndarray,
    classes: tuple[str, ...],
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every metric of a probe, once per row of `weights` (B, n_units); None: each unit once.

    Classification: macro one-vs-rest AUC over the classes present. Regression: R2, mean absolute
    error (unit of the target) and Pearson r. NaN where it is undefined.
    """
    if weights is None:
        weights = np.ones((1, len(target)))
    if kind == "classification":
        columns = [0] if len(classes) == 2 else range(len(classes))
        per_class = [compute_auc(predictions[:, k], target == classes[k], weights) for k in columns]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return {"auc": np.nanmean(per_class, axis=0)}
    return _score_regression(target.astype(float), predictions[:, 0], weights)


def compute_auc(scores: np.ndarray, is_positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted AUC (B,), ties counted half: the share of weighted pairs in which the positive is higher."""
    _, rank, counts = np.unique(scores, return_inverse=True, return_counts=True)
    order = np.argsort(rank, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sorted_weights = weights[:, order].astype(np.float64)
    negative = sorted_weights * ~is_positive[order]
    positive = np.add.reduceat(sorted_weights - negative, starts, axis=1)
    negative = np.add.reduceat(negative, starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    n_pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n_pairs > 0, (positive * below).sum(axis=1) / n_pairs, np.nan)


def _score_regression(
    target: np.ndarray, predicted: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    # Moments about the plain means: large means would otherwise cancel.
    y, p = target - target.mean(), predicted - target.mean()
    moments = np.stack([np.ones_like(y), y, p, y * y, p * p, y * p, (y - p) ** 2, np.abs(y - p)], axis=1)
    total, *sums = (weights @ moments).T
    mean_y, mean_p, yy, pp, yp, squared, absolute = (value / total for value in sums)
    variance_y, variance_p = yy - mean_y**2, pp - mean_p**2
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(variance_y > 0, 1 - squared / variance_y, np.nan)
        spread = np.sqrt(variance_y * variance_p)
        r = np.where(spread > 0, (yp - mean_y * mean_p) / spread, np.nan)
    return {"r2": r2, "mae": absolute, "r": r}


def score_folds(kind, target, predictions, classes, folds) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over folds of every metric, as the paper reports them."""
    per_fold = [score(kind, target[folds == k], predictions[folds == k], classes) for k in np.unique(folds)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = {metric: [fold[metric][0] for fold in per_fold] for metric in METRICS[kind]}
        return {metric: (float(np.nanmean(v)), float(np.nanstd(v))) for metric, v in values.items()}


def bootstrap(
    kind, target, predictions, classes, groups, n_bootstraps: int, seed: int
) -> dict[str, np.ndarray]:
    """Every metric on `n_bootstraps` resamplings of groups (people, with their family and all their scans).

    The same groups, seed and count give the same draws, so that two encoders can be compared in pairs.
    """
    blocks = [
        score(kind, target, predictions, classes, weights)
        for weights in draw_weights(groups, n_bootstraps, seed, max(1, _BLOCK // max(1, len(target))))
    ]
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in METRICS[kind]}


def draw_weights(groups: np.ndarray, n_bootstraps: int, seed: int, n_block: int = 2**31):
    """Yield (b, n_units) blocks that count how often each unit's group was drawn."""
    rng = np.random.default_rng(seed)
    names, group = np.unique(groups, return_inverse=True)
    chance = np.full(len(names), 1 / len(names))
    for start in range(0, n_bootstraps, n_block):
        n_rows = min(n_block, n_bootstraps - start)
        yield rng.multinomial(len(names), chance, size=n_rows)[:, group]


def find_interval(draws: np.ndarray) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the draws that are defined; NaN where none is."""
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)
