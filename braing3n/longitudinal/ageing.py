"""What forecasts are worth: the ageing that a probe reads in them, the error against true later visits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.diffusion.intervals import correlate, measure_mean, resample
from braing3n.longitudinal.contracts import WHOLE

AGE_GROUP_YEARS = 10.0
CSF_BELOW = -1.0  # z units of a decoded T1: fluid is darker than this
NO_FOLLOW_UP = "no forecast person has a later visit"
N_DRAWS = 200


def find_changes(forecasts: pd.DataFrame, ages: np.ndarray) -> pd.Series:
    """The age read in each forecast less that in the same person's 0-year forecast; rows as in the table."""
    is_start = (forecasts["years"] == 0) & (forecasts["later_volume_id"] == "")
    start = pd.Series(ages[is_start.to_numpy()], index=forecasts.loc[is_start, "volume_id"])
    return pd.Series(ages - start.loc[forecasts["volume_id"]].to_numpy(), index=forecasts.index)


def measure_ageing(
    years: np.ndarray, changes: np.ndarray, people: np.ndarray, seed: int, is_grid: bool = True
) -> list[dict]:
    """Rows: the mean change at each number of years, the slope over them, and Pearson r.

    Intervals of slopes are from draws of people. Without a grid, as of true later visits, each at a time of
    its own, there is no mean change.
    """
    years, changes = np.asarray(years, dtype=float), np.asarray(changes, dtype=float)
    rows = []
    for value in np.unique(years) if is_grid else ():
        at = years == value
        rows.append(_state("age change", changes[at], people[at]) | {"years": float(value)})

    def fit(k: np.ndarray) -> float:
        return float(np.polyfit(years[k], changes[k], 1)[0]) if np.ptp(years[k]) else math.nan

    found = resample(fit, people, N_DRAWS, seed) if len(years) else (math.nan,) * 3
    rows.append(_state("slope", changes, people, found))
    rows.append(_state("r", changes, people, correlate(years, changes)))
    return rows


def _state(
    quantity: str, values: np.ndarray, people: np.ndarray, found: tuple[float, float, float] | None = None
) -> dict:
    """A row: the mean of values, or what was found of them."""
    value, low, high = measure_mean(values) if found is None else found
    reason = "" if math.isfinite(value) else f"undefined of {len(values)} forecasts"
    row = {"quantity": quantity, "years": math.nan, "value": value, "low": low, "high": high}
    return row | {"n_people": len(set(people)), "n_volumes": len(values), "reason": reason}


# ---- errors ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeanChange:
    """The mean change of tokens (T, d) in a year, over the training pairs of an age group, or of everybody.

    Attributes:
        groups: change by decade of age at the earlier visit.
        whole: over all pairs, for a decade without pairs.
    """

    groups: dict[int, np.ndarray]
    whole: np.ndarray

    def find(self, age_years: float) -> np.ndarray:
        """The change in a year of somebody's age group."""
        known = math.isfinite(age_years)
        return self.groups.get(int(age_years // AGE_GROUP_YEARS), self.whole) if known else self.whole


def average_changes(tokens: np.ndarray, rows: pd.Series, pairs: pd.DataFrame) -> MeanChange:
    """The mean change in a year by age group, over the training split's pairs.

    Args:
        tokens: (N, T, d) of all volumes; may lie on disk.
        rows: volume id to row.
    """
    zero = np.zeros(tokens.shape[1:])
    totals: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for pair in pairs[pairs["split"] == "train"].itertuples():
        ends = (np.asarray(tokens[rows[name]], np.float64) for name in (pair.volume_id, pair.later_volume_id))
        earlier, later = ends
        group = int(pair.age_years // AGE_GROUP_YEARS)
        totals[group] = totals.get(group, zero) + (later - earlier) / pair.years
        counts[group] = counts.get(group, 0) + 1
    whole = sum(totals.values(), zero) / max(1, sum(counts.values()))
    return MeanChange({group: total / counts[group] for group, total in totals.items()}, whole)


def measure_errors(
    guesses: dict[str, np.ndarray],
    true: np.ndarray,
    table: pd.DataFrame,
    decode: Callable[[np.ndarray], np.ndarray],
    regions: dict[str, np.ndarray],
) -> list[dict]:
    """Rows: the mean absolute difference of each guess from the true later visit, over all and by scanner.

    Over the volume, over the true later visit's fluid, and over each region.

    Args:
        guesses: method to tokens (n, T, d).
        true: tokens (n, T, d) of the later visits.
        table: a row each with person_id and scanner.
        decode: tokens (n, T, d) to images (n, D, H, W).
        regions: name to mask (D, H, W).
    """
    places = (*WHOLE, *regions)
    errors = {name: np.zeros((len(true), len(places))) for name in guesses}
    for i in range(len(true)):
        image = decode(true[i : i + 1])[0]
        is_fluid = image < CSF_BELOW
        for name, tokens in guesses.items():
            difference = np.abs(decode(tokens[i : i + 1])[0] - image)
            of_fluid = difference[is_fluid].mean() if is_fluid.any() else math.nan
            errors[name][i] = difference.mean(), of_fluid, *(difference[m].mean() for m in regions.values())
    people, rows = table["person_id"].to_numpy(), []
    for scanner in ("", "same", "other", "unknown"):
        chosen = ((table["scanner"] == scanner) | (scanner == "")).to_numpy()
        for name, values in errors.items():
            for k, place in enumerate(places):
                row = _state(f"error, {place}", values[chosen, k], people[chosen])
                if not chosen.any():
                    row["reason"] = NO_FOLLOW_UP + f" with {scanner} scanner" * bool(scanner)
                rows.append(row | {"method": name, "scanner": scanner})
    return rows
