"""What probes of real people read in the samples, and how much samples of one arm differ."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.core.runtime import track
from braing3n.diffusion.conditions import read_conditions
from braing3n.diffusion.sample import ARMS, Arm
from braing3n.encoders.voxels import coarsen
from braing3n.probe.fit import build_model
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import span_rows
from braing3n.tokenizer.model import Tokenizer

MOST_REAL = 1000  # volumes that a judge learns from, and as many that it is scored on; more teach it little
N_AT_ONCE = 8  # volumes decoded
AGE_WINDOW_YEARS = 5.0  # real people this near to the age of an arm stand beside it
CLAIMS = {"age": 0.7, "modality": 0.95, "diversity": 0.7}  # the least that a trained generator must reach

_BLANK = {
    **dict.fromkeys(["value", "low", "high", "reference"], math.nan),
    **dict.fromkeys(["n_samples", "n_people", "n_volumes"], 0),
    **{"arm": "", "expected": "any", "verdict": "n/a", "note": ""},
}


def choose_real(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """The rows of the real volumes that take part: of the training split, and of the others."""
    is_training = (labels["split"] == "train").to_numpy()
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(part))[:MOST_REAL] for part in (is_training, ~is_training)]
    return np.sort(np.concatenate(parts))


@torch.no_grad()
def decode_coarsely(tokenizer: Tokenizer, tokens: np.ndarray, device: torch.device) -> np.ndarray:
    """What is seen of tokens (M, T, d): their decoded volumes, averaged over cubes, (M, d, h, w)."""
    batches = training.cut_batches(tokens, N_AT_ONCE)
    seen = []
    for batch in track(batches, "control: decoded", len(batches)):
        images = tokenizer.decode(torch.from_numpy(np.asarray(batch, np.float32)).to(device))
        seen += [coarsen(image) for image in images[:, 0].float().cpu().numpy()]
    return np.stack(seen)


def judge_samples(
    real: np.ndarray, labels: pd.DataFrame, sampled: np.ndarray, table: pd.DataFrame, settings: ProbeSettings
) -> pd.DataFrame:
    """Requested against read, and the distance between two samples of an arm beside that of two real people.

    Judges are linear probes fitted on the training split's decoded volumes; each is scored on held-out ones
    as well (`reference`), since it can find no more in samples than it finds there. They read images, not
    tokens: a generator may move a channel that a probe of tokens reads and the decoder does not show.

    Args:
        real: (N, ...) of decoded real volumes, rows as in `labels`.
        sampled: (M, ...) of decoded samples, rows as in `table`.
    """
    conditions = read_conditions(labels)
    both = np.concatenate([real, sampled])
    real, sampled = np.split(span_rows(both.reshape(len(both), -1)), [len(labels)])
    read = partial(
        _read,
        real=real,
        conditions=conditions,
        labels=labels,
        sampled=sampled,
        table=table,
        settings=settings,
    )
    return pd.DataFrame(
        [
            read("age", "age_years", "T1"),
            read("modality", "modality", ""),
            read("sex", "sex", "T1"),
            read("disease", "disease", "T1"),
            *(_compare(arm, real, conditions, labels, sampled, table) for arm in ARMS),
        ]
    )


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
        return math.nan, math.nan, math.nan
    found = pearsonr(requested, read)
    low, high = found.confidence_interval()
    return float(found.statistic), float(low), float(high)


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
