"""Scores of out-of-fold predictions, and intervals from the spread between halves of the people."""

from __future__ import annotations

import warnings

import numpy as np

METRICS = {"classification": ("auc",), "regression": ("r2", "mae", "r")}
# The metrics that have an interval, and where it ends. Errors have none: those of a ridge that nearly
# interpolates grow with n, so that halves say nothing of the whole.
BOUNDS = {"auc": (0, 1), "r": (-1, 1)}
CHANCE = {"auc": 0.5, "r": 0.0}
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
        columns = [0] if len(classes) == 2 else list(range(len(classes)))
        is_class = target[:, None] == np.array(classes, dtype=object)[columns]
        wins, pairs = count_wins(predictions[:, columns], is_class, folds)
        is_defined = pairs > 0
        return {"auc": float(np.mean(wins[is_defined] / pairs[is_defined])) if is_defined.any() else np.nan}
    y, p = target.astype(float), predictions[:, 0]
    total = ((y - y.mean()) ** 2).sum()
    r2 = 1 - ((y - p) ** 2).sum() / total if total > 0 else np.nan
    return {"r2": float(r2), "mae": float(np.abs(y - p).mean()), "r": correlate(y, p, folds)}


def count_wins(
    scores: np.ndarray, is_positive: np.ndarray, block: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a positive and a negative of one block in which the positive is higher (ties half), and all.

    An AUC is their ratio. Scores and is_positive are (n, B), block is (n,); each column counts for itself.
    """
    from scipy.stats import rankdata

    _, block = np.unique(block, return_inverse=True)
    order = np.argsort(block, kind="stable")
    block, is_positive = block[order], is_positive[order]
    # Ranks of ranks, a block above the other: no two scores become equal as in a sum of both.
    ranks = rankdata(rankdata(scores[order], axis=0) + (len(scores) + 1) * block[:, None], axis=0)
    start = np.searchsorted(block, np.arange(block[-1] + 1))
    n_all = np.diff(np.append(start, len(block)))[:, None]
    n_positive = np.add.reduceat(is_positive, start, axis=0, dtype=float)
    total = np.add.reduceat((ranks - start[block][:, None]) * is_positive, start, axis=0)
    wins = total - n_positive * (n_positive + 1) / 2
    return wins.sum(axis=0), (n_positive * (n_all - n_positive)).sum(axis=0)


def correlate(y: np.ndarray, p: np.ndarray, folds: np.ndarray) -> float:
    """Pearson r of deviations from the means of the fold, or of another block."""
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
    value: float,
    halves: np.ndarray,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> tuple[float, float]:
    """The interval about a score, from the same score on halves of the people, (n_deals, 2).

    Two halves share nobody, so half the squared difference estimates the variance at n / 2 people,
    that of fitting included; at n it is half of that. Student's t has a degree of freedom a deal. NaN
    where fewer than `MIN_DEALS` deals have a score in both halves.
    """
    from scipy.stats import t

    error, n_deals = _measure_error(halves)
    if not np.isfinite([error, value]).all():
        return float("nan"), float("nan")
    reach = t.ppf(0.5 + level / 2, n_deals) * error
    return float(max(bounds[0], value - reach)), float(min(bounds[1], value + reach))


def find_p_value(value: float, halves: np.ndarray, chance: float) -> float:
    """Two-sided: of a score at least as far from chance, by the law behind `find_interval`."""
    from scipy.stats import t

    error, n_deals = _measure_error(halves)
    if error == 0:  # a score that never moves, as a perfect one
        return float(value == chance)
    return float(2 * t.sf(abs(value - chance) / error, n_deals))


def _measure_error(halves: np.ndarray) -> tuple[float, int]:
    """The standard error of a score, and the deals behind it; NaN where they are too few."""
    squares = np.square(halves[:, 0] - halves[:, 1])
    squares = squares[np.isfinite(squares)]
    if len(squares) < MIN_DEALS:
        return float("nan"), len(squares)
    return float(np.sqrt(squares.mean() / 4)), len(squares)


def correct_holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values of one family; NaN stays, and counts for nothing."""
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]
    steps = p_values[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
