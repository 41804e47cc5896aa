"""What a score may hide: calibration, cohorts, sites, and how likely it is without any relation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.beside.matched import find_first, leave_sites_out, match_sites, permute
from braing3n.probe.compare import OURS, Readings
from braing3n.probe.contracts import CHECKS
from braing3n.probe.halves import Reading
from braing3n.probe.plan import Probe
from braing3n.probe.scores import correlate
from braing3n.probe.settings import ProbeSettings

N_BINS = 10  # of equal width, behind the calibration error


def check_encoders(
    readings: Readings,
    features: np.ndarray,
    labels: pd.DataFrame,
    probes: list[Probe],
    settings: ProbeSettings,
) -> pd.DataFrame:
    """A row a check of each encoder and probe.

    Of every encoder: calibration of binary tasks; numbers within cohorts, beside the cohort's mean. Of ours,
    whose features (n_volumes, F) are given, on all volumes of everyone, also what needs other fits: shuffled
    labels, pairs within a site, and sites left out.
    """
    rows = []
    for probe in track([probe for probe in probes if not probe.reason], "checking"):
        base: dict[str, Any] = {"task": probe.task.key, "title": probe.task.title, "slice": probe.slice}
        base |= {"group": ""}
        base |= {"people": probe.people, **dict.fromkeys(["value", "low", "high", "p_value"], np.nan)}
        base |= {"n_people": int(probe.units["person_id"].nunique()), "note": ""}
        for encoder in readings.encoders:
            found = check_predictions(probe, readings.find(encoder, probe), labels)
            rows += [{**base, "encoder": encoder, **row} for row in found]
        if OURS in readings.encoders and probe.slice == "all" and probe.people == "everyone":
            rows += [{**base, "encoder": OURS, **row} for row in refit(probe, features, labels, settings)]
    return pd.DataFrame(rows, columns=list(CHECKS))


def check_predictions(probe: Probe, reading: Reading, labels: pd.DataFrame) -> list[dict]:
    """Checks of predictions out of fold."""
    target, folds = probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    if probe.task.kind == "regression":
        cohort = find_first(probe, labels, "cohort")
        return list(_check_cohorts(target.astype(float), reading.predictions[:, 0], cohort, folds, probe))
    if len(probe.classes) > 2:
        return []
    is_second, chance = target == probe.classes[1], reading.predictions[:, 1]
    share = is_second.mean()
    note = f"of {probe.classes[1]}; {share * (1 - share):.3f} is the share's own"
    return [
        {"check": "expected calibration error", "value": measure_calibration(chance, is_second)},
        {"check": "Brier score", "value": float(((chance - is_second) ** 2).mean()), "note": note},
    ]


def measure_calibration(chance: np.ndarray, is_positive: np.ndarray) -> float:
    """The mean gap between predicted chance and share of positives, over bins of the chance."""
    bins = np.minimum((chance * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, chance - is_positive, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(chance))


def _check_cohorts(y, predicted, cohort, folds, probe: Probe) -> Iterator[dict]:
    """r and errors within cohorts, beside those of a guess at the mean of the cohort in the other folds."""
    if len(set(cohort)) < 2:
        return
    mean = np.zeros(len(y))
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        means = pd.Series(y[train]).groupby(cohort[train]).mean()
        mean[test] = pd.Series(cohort[test]).map(means).fillna(y[train].mean())
    block = np.unique(np.stack([cohort, folds.astype(str)]), axis=1, return_inverse=True)[1].ravel()
    yield {"check": "r within cohorts", "value": correlate(y, predicted, block)}
    yield {"check": "MAE of the cohort's mean", "value": float(np.abs(y - mean).mean())}
    people = probe.units["person_id"].to_numpy()
    for name in np.unique(cohort):
        rows = cohort == name
        note = f"{np.abs(y[rows] - mean[rows]).mean():.2f} by the cohort's mean"
        n_people = {"n_people": len(set(people[rows]))}
        value = float(np.abs(y[rows] - predicted[rows]).mean())
        yield {"check": "MAE within a cohort", "group": name, "value": value, "note": note, **n_people}


def refit(
    probe: Probe, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings
) -> Iterator[dict]:
    """Checks that need fits of their own."""
    metric = "AUC" if probe.classes else "r"
    value, p_value = permute(probe, features, settings)
    note = f"{settings.n_permutations} shufflings by person; a least-squares probe"
    yield {"check": f"{metric} against shuffled labels", "value": value, "p_value": p_value, "note": note}
    if len(probe.classes) != 2:
        return
    found = match_sites(probe, features, labels, settings)
    n_people = probe.units["person_id"][found.is_matched].nunique()
    row = {name: getattr(found, name) for name in ("value", "low", "high", "p_value", "note")}
    yield {"check": "AUC within sites", **row, "n_people": int(n_people)}
    left_out = leave_sites_out(probe, features, labels, settings)
    values = np.array([value for _, value, _ in left_out])
    n_scored = int(np.isfinite(values).sum())
    mean = float(np.nanmean(values)) if n_scored else np.nan
    note = f"mean of {n_scored} sites of {len(values)}"
    yield {"check": "AUC at sites left out", "value": mean, "note": note}
    for site, value, note in left_out:
        yield {"check": "AUC at a site left out", "group": site, "value": value, "note": note}
