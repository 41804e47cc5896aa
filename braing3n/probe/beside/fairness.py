"""Each task's score by subgroup, and how far apart subgroups are.

A subgroup's score is of the same predictions out of fold: the macro AUC over pairs within it, or the mean
absolute error. Intervals resample people under fixed fits: of the spread of fits they know nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.beside.matched import find_first
from braing3n.probe.compare import Readings
from braing3n.probe.contracts import FAIRNESS
from braing3n.probe.halves import Reading
from braing3n.probe.plan import Probe

ATTRIBUTES = ("sex", "race", "age band", "cohort", "vendor")
AGE_BANDS = {"under 18": 18, "18 to 39": 40, "40 to 59": 60, "60 to 74": 75, "75 and over": np.inf}
MIN_PEOPLE = 10  # in a subgroup that is compared
N_BOOTSTRAPS = 200
SUMMARY = "1 - mean disparity"
_BLANK = dict.fromkeys(["value", "low", "high"], float("nan"))


def measure_fairness(
    readings: Readings, labels: pd.DataFrame, probes: list[Probe], seed: int
) -> pd.DataFrame:
    """Rows of every encoder and task, on all volumes of everyone: subgroups, spreads and one summary."""
    labels = labels.assign(**{"age band": name_age_bands(labels["age_years"])})
    rows = []
    chosen = [p for p in probes if not p.reason and p.slice == "all" and p.people == "everyone"]
    for probe in track(chosen, "subgroups"):
        base: dict[str, Any] = {"task": probe.task.key, "title": probe.task.title}
        base |= {"slice": "all", "people": "everyone"}
        base |= {"metric": "auc" if probe.classes else "mae", "n_people": 0, "note": "", **_BLANK}
        weights, person = draw_people(probe, seed)
        for encoder in readings.encoders:
            reading = readings.find(encoder, probe)
            found = compare_groups(probe, reading, labels, weights, person)
            rows += [{**base, "encoder": encoder, **row} for row in found]
    return pd.DataFrame(rows, columns=list(FAIRNESS))


def name_age_bands(years: pd.Series) -> np.ndarray:
    """The band of each age; '' where it is unknown."""
    band = np.searchsorted(list(AGE_BANDS.values()), years.fillna(0), side="right")
    return np.where(years.isna(), "", np.array(list(AGE_BANDS))[np.minimum(band, len(AGE_BANDS) - 1)])


def draw_people(probe: Probe, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each person is drawn, (n_people, 1 + N_BOOTSTRAPS), first as given; each unit's person."""
    _, person = np.unique(probe.units["person_id"].to_numpy().astype(str), return_inverse=True)
    n_people = person.max() + 1
    drawn = np.random.default_rng(seed).multinomial(n_people, np.full(n_people, 1 / n_people), N_BOOTSTRAPS)
    return np.concatenate([np.ones((n_people, 1)), drawn.T], axis=1), person


def compare_groups(
    probe: Probe, reading: Reading, labels: pd.DataFrame, weights: np.ndarray, person: np.ndarray
) -> Iterator[dict]:
    """Rows of one encoder and probe."""
    scale = 1.0 if probe.classes else _score_rows(probe, reading, np.ones((len(person), 1)))[0]
    gaps, deviations = [], []
    for attribute in ATTRIBUTES:
        group = find_first(probe, labels, attribute)
        scores = {}
        for name in sorted(set(group) - {""}):
            rows = np.flatnonzero(group == name)
            n_people = len(set(person[rows]))
            row = {"attribute": attribute, "group": name, "n_people": n_people}
            if n_people < MIN_PEOPLE:
                yield {**row, "note": f"fewer than {MIN_PEOPLE} people"}
                continue
            values = _score_rows(probe, reading, weights[person[rows]], rows)
            if np.isnan(values[0]):
                yield {**row, "note": "no two classes in a test fold"}
                continue
            scores[name] = values
            low, high = np.nanpercentile(values[1:], [2.5, 97.5])
            yield {**row, "value": values[0], "low": low, "high": high}
        if len(scores) < 2:
            continue
        row, spread = describe_spread(scores)
        base = {"attribute": attribute, "n_people": len(set(person[np.isin(group, list(scores))]))}
        yield {**base, "group": "largest difference", **row}
        yield {**base, "group": "standard deviation", "value": spread}
        gaps.append(row["value"] / scale)
        deviations.append(spread / scale)
    if gaps:
        unit = "" if probe.classes else "; as shares of the whole error"
        note = f"over {len(gaps)} attributes{unit}"
        for name, value in (
            (SUMMARY, 1 - np.mean(gaps)),
            ("largest difference", max(gaps)),
            ("standard deviation", np.mean(deviations)),
        ):
            row = {"value": float(value), "n_people": weights.shape[0], "note": note}
            yield {"attribute": "all", "group": name, **row}


def describe_spread(scores: dict[str, np.ndarray]) -> tuple[dict, float]:
    """The largest difference between groups with its interval, and the standard deviation over groups.

    scores: group -> (1 + N_BOOTSTRAPS,). The interval holds for every pair at once, since the pair is chosen
    for its difference: its reach is the 95th percentile of the largest standardised error of any pair.
    """
    names, values = list(scores), np.stack(list(scores.values()))
    differences = values[:, None] - values[None, :]
    given, errors = differences[:, :, 0], differences[:, :, 1:] - differences[:, :, :1]
    deviation = np.nanstd(errors, axis=2)
    safe = np.where(deviation > 0, deviation, np.inf)
    largest = np.nanmax(np.abs(errors) / safe[:, :, None], axis=(0, 1))
    best, worst = np.unravel_index(np.argmax(given), given.shape)
    value, reach = given[best, worst], np.quantile(largest, 0.95) * deviation[best, worst]
    note = f"{names[best]} over {names[worst]}"
    row = {"value": value, "low": value - reach, "high": value + reach, "note": note}
    return row, float(values[:, 0].std())


def _score_rows(
    probe: Probe, reading: Reading, weights: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """The score of some rows with each column of weights (n, B): (B,)."""
    chosen = slice(None) if rows is None else rows
    target, predictions = probe.units["target"].to_numpy()[chosen], reading.predictions[chosen]
    if not probe.classes:
        errors = np.abs(target.astype(float) - predictions[:, 0])
        with np.errstate(invalid="ignore"):
            return errors @ weights / weights.sum(axis=0)
    folds = probe.units["fold"].to_numpy()[chosen]
    columns = [0] if len(probe.classes) == 2 else range(len(probe.classes))
    aucs = [weigh_auc(predictions[:, k], target == probe.classes[k], folds, weights) for k in columns]
    is_defined = [np.isfinite(auc[0]) for auc in aucs]
    if not any(is_defined):
        return np.full(weights.shape[1], np.nan)
    return np.mean([auc for auc, keep in zip(aucs, is_defined, strict=True) if keep], axis=0)


def weigh_auc(
    scores: np.ndarray, is_positive: np.ndarray, block: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The AUC over pairs of one block, of units that count `weights` (n, B) times each: (B,)."""
    order = np.lexsort((scores, block))
    scores, block, positive = scores[order], block[order], is_positive[order]
    weights = weights[order]
    negative = np.where(positive[:, None], 0.0, weights)
    below = np.concatenate([np.zeros((1, weights.shape[1])), np.cumsum(negative, axis=0)])
    # Of each run of equal scores in a block, and of each block, where it starts and ends.
    is_new_block = np.concatenate([[True], block[1:] != block[:-1]])
    is_new_run = is_new_block | np.concatenate([[True], scores[1:] != scores[:-1]])
    start, end = _find_ends(is_new_run)
    block_start, block_end = _find_ends(is_new_block)
    won = (below[start] + below[end]) / 2 - below[block_start]
    total = below[block_end] - below[block_start]
    gain = np.where(positive[:, None], weights, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (gain * won).sum(axis=0) / (gain * total).sum(axis=0)


def _find_ends(is_new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each element, where its run starts, and where it ends (exclusive)."""
    starts = np.flatnonzero(is_new)
    run = np.cumsum(is_new) - 1
    return starts[run], np.append(starts[1:], len(is_new))[run]
