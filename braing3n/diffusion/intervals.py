"""Shares, means and correlations with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NAN3 = (math.nan, math.nan, math.nan)


def measure_share(is_so: np.ndarray) -> tuple[float, float, float]:
    """A share and its exact binomial 95 % interval (Clopper and Pearson 1934); NaN of nothing."""
    from scipy.stats import binomtest

    if not len(is_so):
        return NAN3
    found = binomtest(int(np.sum(is_so)), len(is_so))
    interval = found.proportion_ci()
    return float(found.statistic), float(interval.low), float(interval.high)


def measure_mean(
    values: np.ndarray, least: float = -math.inf, most: float = math.inf
) -> tuple[float, float, float]:
    """A mean and its 95 % interval by Student's t, cut at the measure's bounds; none of fewer than three."""
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) < 3:
        return (float(values.mean()) if len(values) else math.nan), math.nan, math.nan
    mean = float(values.mean())
    reach = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, max(mean - reach, least), min(mean + reach, most)


def correlate(requested: np.ndarray, read: np.ndarray) -> tuple[float, float, float]:
    """Pearson r and its 95 % interval by Fisher's z; NaN where it is undefined."""
    from scipy.stats import pearsonr

    requested, read = np.asarray(requested, dtype=float), np.asarray(read, dtype=float)
    if len(read) < 4 or np.ptp(requested) == 0 or np.ptp(read) == 0:
        return NAN3
    found = pearsonr(requested, read)
    interval = found.confidence_interval()
    return float(found.statistic), float(interval.low), float(interval.high)


def agree(target: np.ndarray, read: np.ndarray) -> float:
    """The share that is read right, averaged over classes; NaN of nothing."""
    shares = [float((read[target == name] == name).mean()) for name in np.unique(target)]
    return float(np.mean(shares)) if shares else math.nan


def resample(
    measure: Callable[[np.ndarray], float], groups: np.ndarray, n_draws: int, seed: int
) -> tuple[float, float, float]:
    """A number of rows, and its 95 % interval from draws of groups with replacement, the probe as it is.

    No interval of fewer than three groups. measure: takes rows (a group's together, as often as it is drawn).
    """
    rng = np.random.default_rng(seed)
    names, number = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(number == k) for k in range(len(names))]
    value = measure(np.arange(len(groups))) if len(groups) else math.nan
    if not math.isfinite(value) or len(names) < 3:
        return value, math.nan, math.nan
    drawn = [rng.integers(len(names), size=len(names)) for _ in range(n_draws)]
    found = np.array([measure(np.concatenate([rows_of[k] for k in draw])) for draw in drawn])
    found = found[np.isfinite(found)]  # a draw may lack a class
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (math.nan, math.nan)
    return value, float(low), float(high)
