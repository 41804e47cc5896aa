"""What probes of real people read in the samples, and how much samples of one arm differ."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from braing3n.config import ProbeSettings
from braing3n.diffusion.conditions import read_conditions
from braing3n.diffusion.sample import ARMS, Arm
from braing3n.probe.fit import build_model
from braing3n.probe.plan import span_rows

MOST_REAL = 2000  # volumes that a judge learns from, and as many that it is scored on; more teach it little
AGE_WINDOW_YEARS = 5.0  # real people this near to the age of an arm stand beside it
CLAIMS = {"age": 0.7, "modality": 0.95, "diversity": 0.7}  # the least that a trained generator must reach

_BLANK = {
    **dict.fromkeys(["value", "low", "high", "reference"], math.nan),
    **dict.fromkeys(["n_samples", "n_people", "n_volumes"], 0),
    **{"arm": "", "expected": "any", "verdict": "n/a", "note": ""},
}


def judge_samples(
    tokens: np.ndarray,
    labels: pd.DataFrame,
    samples: np.ndarray,
    table: pd.DataFrame,
    settings: ProbeSettings,
) -> pd.DataFrame:
    """Requested against read, and the distance between two samples of an arm beside that of two real people.

    Judges are linear probes on flattened tokens, fitted on real volumes of the training split; each is scored
    on held-out real volumes as well (`reference`), since it can find no more in samples than it finds there.

    Args:
        tokens: (N, T, d) of the real volumes, rows as in `labels`; a memory map is read where needed.
        samples: (M, T, d), rows as in `table`.
    """
    is_training = (labels["split"] == "train").to_numpy()
    rows = np.concatenate(
        [_draw_rows(np.flatnonzero(part), settings.seed) for part in (is_training, ~is_training)]
    )
    labels, conditions = labels.iloc[rows], read_conditions(labels.iloc[rows])
    flat = [np.asarray(part, np.float32).reshape(len(part), -1) for part in (tokens[rows], samples)]
    real, sampled = np.split(span_rows(np.concatenate(flat)), [len(rows)])
    given = real, conditions, labels, sampled, table, settings
    return pd.DataFrame(
        [
            _read("age", "age_years", "T1", *given),
            _read("modality", "modality", "", *given),
            _read("sex", "sex", "T1", *given),
            _read("disease", "disease", "T1", *given),
            *(_compare(arm, real, conditions, labels, sampled, table) for arm in ARMS),
        ]
    )


def _draw_rows(rows: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(rows))
    return np.sort(rows[order[:MOST_REAL]])


# ---- requested against read --------------------------------------------------------------------------


def _read(measure, column, modality, real, conditions, labels, sampled, table, settings) -> dict:
    """One condition: its judge, what that reads in the samples, and in held-out real volumes."""
    is_number = column == "age_years"
    is_asked = _has(table[column]) & _is_of(table, modality)
    is_known = _has(conditions[column]) & _is_of(conditions, modality)
    if not is_number:  # classes that no sample is of would only be confused with
        is_known &= conditions[column].isin(table.loc[is_asked, column]).to_numpy()
    is_training = is_known & (labels["split"] == "train").to_numpy()
    is_held_out = is_known & ~is_training
    row = {**_BLANK, "measure": measure, "n_samples": int(is_asked.sum())}
    row |= {"n_people": labels.loc[is_held_out, "person_id"].nunique(), "n_volumes": int(is_held_out.sum())}
    if measure in CLAIMS:
        row["expected"] = f"at least {CLAIMS[measure]:g}"
    n_values = conditions.loc[is_training, column].nunique(), table.loc[is_asked, column].nunique()
    if min(n_values) < 2 or not is_held_out.any():
        return row | {
            "note": "fewer than two values among training volumes or samples, or no held-out volume"
        }
    kind = "regression" if is_number else "classification"
    judge = build_model(kind, int(is_training.sum()), real.shape[1], settings, has_pca=True)
    judge.fit(real[is_training], conditions.loc[is_training, column])
    score = _correlate if is_number else _agree
    row["reference"] = score(conditions.loc[is_held_out, column], judge.predict(real[is_held_out]))[0]
    values = score(table.loc[is_asked, column], judge.predict(sampled[is_asked]))
    row |= dict(zip(("value", "low", "high"), values, strict=True))
    return row | {"verdict": _decide(measure, row["value"])}


def _has(values: pd.Series) -> np.ndarray:
    return (values.notna() & (values != "")).to_numpy()


def _is_of(table: pd.DataFrame, modality: str) -> np.ndarray:
    return ((table["modality"] == modality) | (modality == "")).to_numpy()


def _correlate(requested, read) -> tuple[float, float, float]:
    """Pearson r and its 95 % interval; NaN where it is undefined."""
    from scipy.stats import pearsonr

    if len(read) < 4 or np.ptp(requested) == 0 or np.ptp(read) == 0:
        return (math.nan,) * 3
    found = pearsonr(requested, read)
    return float(found.statistic), *map(float, found.confidence_interval())


def _agree(requested, read) -> tuple[float, float, float]:
    """The share that is read as requested, and its 95 % interval by the binomial law."""
    from scipy.stats import binomtest

    found = binomtest(int((np.asarray(requested) == read).sum()), len(read))
    return found.statistic, *map(float, found.proportion_ci())


def _decide(measure: str, value: float) -> str:
    if measure not in CLAIMS or not math.isfinite(value):
        return "n/a"
    return "met" if value >= CLAIMS[measure] else "not met"


# ---- diversity ---------------------------------------------------------------------------------------


def _compare(arm: Arm, real, conditions, labels, sampled, table) -> dict:
    """The mean distance between two samples of an arm, over that between two real people of it."""
    from scipy.spatial.distance import pdist

    own = sampled[(table["arm"] == arm.arm).to_numpy()]
    others = np.flatnonzero(_belong(arm, conditions))
    first, second = np.triu_indices(len(others), 1)  # the order of pdist
    people = labels["person_id"].to_numpy()[others]
    is_pair = people[first] != people[second]
    row = {**_BLANK, "measure": "diversity", "arm": arm.arm, "n_samples": len(own)}
    row |= {"n_people": len(set(people)), "n_volumes": len(others)}
    row["expected"] = f"at least {CLAIMS['diversity']:g}"
    if len(own) < 2 or not is_pair.any():
        return row | {"note": "fewer than two samples or two real people"}
    value = pdist(own).mean() / pdist(real[others])[is_pair].mean()
    return row | {"value": float(value), "verdict": _decide("diversity", value)}


def _belong(arm: Arm, conditions: pd.DataFrame) -> np.ndarray:
    """Which real volumes have all that an arm names."""
    chosen = np.full(len(conditions), True)
    for name in ("modality", "disease", "sex", "site", "idh1"):
        if wanted := getattr(arm, name):
            chosen &= (conditions[name] == wanted).to_numpy()
    if not math.isnan(arm.age_years):
        chosen &= ((conditions["age_years"] - arm.age_years).abs() <= AGE_WINDOW_YEARS).to_numpy()
    return chosen
