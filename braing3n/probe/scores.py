"""Scores of out-of-fold predictions, and intervals from the spread between halves of the people."""

from __future__ import annotations

import warnings

import numpy as np

METRICS = {"classification": ("auc",), "regression": ("r2", "mae", "r")}
# The metrics that have an interval, and where it ends. Errors have none: those of a ridge that nearly
# interpolates grow with n, so that halves say nothing of the whole.
BOUNDS = {"auc": (0, 1), "r": (-1, 1)}
MIN_DEALS = 3  # deals of halves with a defined score, below which there is no interval


def score(
    kind: str, target: np.ndarray, predictions: np.ndarray, classes: tuple[str, ...], folds: np.ndarray
) -> dict[str, float]:
    """Every metric of a probe's predictions (n_units, n_classes or 1); NaN where it is undefined.

    Classification: macro one-vs-rest AUC over the classes present. Regression: R2, mean absolute
    error (unit of the target) and Pearson r. AUC and r compare units of one fold only: each fold has
    its own model, and whoever is in a test fold is missing from its training set, so that scores
    pooled over folds lie below chance where there is nothing to find.
    """
    if kind == "classification":
        columns = [0] if len(classes) == 2 else range(len(classes))
        aucs = [_compute_auc(predictions[:, k], target == classes[k], folds) for k in columns]
        defined = [auc for auc in aucs if np.isfinite(auc)]
        return {"auc": float(np.mean(defined)) if defined else np.nan}
    y, p = target.astype(float), predictions[:, 0]
    total = ((y - y.mean()) ** 2).sum()
    r2 = 1 - ((y - p) ** 2).sum() / total if total > 0 else np.nan
    return {"r2": float(r2), "mae": float(np.abs(y - p).mean()), "r": _correlate(y, p, folds)}


def _compute_auc(scores: np.ndarray, is_positive: np.ndarray, folds: np.ndarray) -> float:
    """The share of pairs of a positive and a negative of one fold in which the positive is higher."""
    counts = [count_wins(scores[folds == k], is_positive[folds == k]) for k in np.unique(folds)]
    wins, pairs = np.sum(counts, axis=0)
    return wins / pairs if pairs else np.nan


def count_wins(scores: np.ndarray, is_positive: np.ndarray) -> tuple:
    """Pairs in which the positive is higher (ties half), and all pairs; (n,) or a column each of (n, B)."""
    if scores.ndim == 1:
        negative, positive = np.sort(scores[~is_positive]), scores[is_positive]
        below = np.searchsorted(negative, positive).sum() + np.searchsorted(negative, positive, "right").sum()
        return below / 2, positive.size * negative.size
    from scipy.stats import rankdata

    n_positive = is_positive.sum(axis=0)
    wins = (rankdata(scores, axis=0) * is_positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    return wins, n_positive * (len(scores) - n_positive)


def _correlate(y: np.ndarray, p: np.ndarray, folds: np.ndarray) -> float:
    """Pearson r of deviations from the fold's own means."""
    _, fold = np.unique(folds, return_inverse=True)
    y, p = (v - (np.bincount(fold, v) / np.bincount(fold))[fold] for v in (y, p))
    spread = np.sqrt((y @ y) * (p @ p))
    return float(y @ p / spread) if spread > 0 else np.nan


def score_folds(kind, target, predictions, classes, folds) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over folds of every metric, as the paper reports them."""
    chosen = [folds == k for k in np.unique(folds)]
    per_fold = [score(kind, target[rows], predictions[rows], classes, folds[rows]) for rows in chosen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        values = {metric: [fold[metric] for fold in per_fold] for metric in METRICS[kind]}
        return {metric: (float(np.nanmean(v)), float(np.nanstd(v))) for metric, v in values.items()}


def find_interval(
    value: float, halves: np.ndarray, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[float, float]:
    """The 95 % interval about a score, from the same score on halves of the people, (n_deals, 2).

    Two halves share nobody, so half the squared difference estimates the variance at n / 2 people,
    that of fitting included; at n it is half of that. Student's t has a degree of freedom a deal. NaN
    where fewer than `MIN_DEALS` deals have a score in both halves.
    """
    from scipy.stats import t

    squares = np.square(halves[:, 0] - halves[:, 1])
    squares = squares[np.isfinite(squares)]
    if len(squares) < MIN_DEALS or not np.isfinite(value):
        return float("nan"), float("nan")
    reach = t.ppf(0.975, len(squares)) * np.sqrt(squares.mean() / 4)
    return float(max(bounds[0], value - reach)), float(min(bounds[1], value + reach))
