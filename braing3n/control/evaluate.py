"""Probes of real people applied to samples: Table 2a, and Table 7 over guidance scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from braing3n.control.contrasts import (
    AGE,
    AGE_WINDOW_YEARS,
    AGES,
    CONTRASTS,
    SCALED,
    Contrast,
    Space,
    find_known,
)
from braing3n.control.settings import ControlSettings
from braing3n.diffusion.conditions import read_conditions
from braing3n.diffusion.intervals import NAN3, agree, correlate, measure_mean, measure_share, resample
from braing3n.probe.fit import build_model
from braing3n.probe.scores import score
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import span_rows

MEASURES = ("real", "agreement", "ceiling", "cond", "null")
IS_LATENT = "latents are read before they are decoded"
NEVER_DROPPED = "modality is never dropped"


@dataclass(frozen=True)
class Real:
    """The real people: their labels, conditions and splits, rows as in every space."""

    labels: pd.DataFrame
    conditions: pd.DataFrame
    settings: ControlSettings
    probe: ProbeSettings

    @classmethod
    def of(cls, labels: pd.DataFrame, settings: ControlSettings, probe: ProbeSettings) -> Real:
        """From a label table."""
        labels = labels.reset_index(drop=True)
        return cls(labels, read_conditions(labels), settings, probe)

    def list_rows(self, contrast: Contrast, n_most: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that a contrast's probe is fitted on, and held-out ones that it is scored on."""
        known = find_known(contrast, self.conditions)
        is_training = (self.labels["split"] == "train").to_numpy()
        parts = [np.flatnonzero(known & is_training), np.flatnonzero(known & ~is_training)]
        if n_most:
            rng = np.random.default_rng(self.settings.seed)
            parts = [np.sort(rng.permutation(part)[:n_most]) for part in parts]
        return parts[0], parts[1]

    def find_obstacle(self, contrast: Contrast, rows: np.ndarray) -> str:
        """Why no probe can be fitted on these rows, or ''."""
        people, least = self.labels["person_id"].iloc[rows], self.probe.min_class_people
        if not contrast.classes:
            n = people.nunique()
            return "" if n >= 2 * least else f"{n} training people with a known age"
        values = self.conditions[contrast.column].iloc[rows]
        counts = {name: people[(values == name).to_numpy()].nunique() for name in contrast.classes}
        few = [f"{n} training people with {name}" for name, n in counts.items() if n < least]
        return ", ".join(few) + f"; a probe needs {least}" if few else ""


@dataclass(frozen=True)
class Reading:
    """What one probe reads: in held-out people, in these decoded and encoded again, and in samples.

    Attributes:
        fitted, held_out: rows of the labels.
        scores: (n_held_out, n_classes) probabilities, or (n_held_out, 1) numbers.
        real: read in held-out people, a class or a number each.
        again: rows of held-out people that made the round trip, and what is read there.
        samples: what is read in samples, by row of the table of samples.
    """

    fitted: np.ndarray
    held_out: np.ndarray
    classes: tuple[str, ...]
    scores: np.ndarray
    real: np.ndarray
    again: tuple[np.ndarray, np.ndarray]
    samples: pd.Series


def read(contrast: Contrast, space: Space, own: np.ndarray, real: Real) -> Reading | str:
    """Fit a contrast's probe on training people and read with it; or the reason why there is none.

    own: rows of the sampled part of the space, which are read.
    """
    fitted, held_out = real.list_rows(contrast, space.n_most)
    if reason := real.find_obstacle(contrast, fitted):
        return reason
    parts = [space.real[fitted], space.real[held_out], space.sampled[own]]
    again = np.array([], dtype=int)
    if space.round_trip is not None:
        again = held_out[np.isfinite(space.round_trip[held_out]).all(axis=1)]
        parts.append(space.round_trip[again])
    whole = np.concatenate([np.asarray(part, dtype=np.float32) for part in parts])
    whole = span_rows(whole) if space.has_pca else whole.astype(np.float64)
    known, unseen, sampled, *trips = np.split(whole, np.cumsum([len(part) for part in parts])[:-1])
    kind = "classification" if contrast.classes else "regression"
    model = build_model(kind, len(known), known.shape[1], real.probe, space.has_pca)
    if contrast.weights:
        model[-1].set_params(class_weight=contrast.weights)
    model.fit(known, real.conditions[contrast.column].to_numpy()[fitted])

    def predict(rows: np.ndarray) -> np.ndarray:
        return model.predict(rows) if len(rows) else np.array([])

    classes = tuple(map(str, model.classes_)) if contrast.classes else ()
    scores = np.zeros((0, max(1, len(classes))))
    if len(unseen):
        scores = model.predict_proba(unseen) if classes else model.predict(unseen)[:, None]
    trip = predict(trips[0]) if trips else np.array([])
    values = pd.Series(predict(sampled), index=own, dtype=object if classes else float)
    return Reading(fitted, held_out, classes, scores, predict(unseen), (again, trip), values)


def measure_control(
    spaces: list[Space], samples: pd.DataFrame, absent: dict[str, str], real: Real
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table 2a, a row a contrast and reading (of ages one more an age), and Table 7, a row a number.

    Args:
        samples: all samples, rows as in the spaces, with `guidance`, `is_main` and `is_scaled`: whether they
            are of Table 2a, and of Table 7.
        absent: arm -> why it was not sampled.
    """
    rows, scaled = [], []
    for space in spaces:
        for contrast in CONTRASTS:
            own = np.flatnonzero(samples["arm"].isin([*contrast.arms, contrast.null_arm]))
            found = read(contrast, space, own, real)
            rows += _describe(contrast, space, found, samples, absent, real)
            if contrast in SCALED:
                scaled += _scale(contrast, space.reading, found, samples, absent)
    return pd.DataFrame(rows), pd.DataFrame(scaled)


# ---- Table 2a ----------------------------------------------------------------------------------------


def _describe(contrast, space, found, samples, absent, real) -> list[dict]:
    """The rows of one contrast."""
    row: dict[str, Any] = {"condition": contrast.condition, "task": contrast.task, "reading": space.reading}
    row |= {"weights": contrast.weights, "metric": "auc" if contrast.classes else "r", "null_class": ""}
    row |= {"prior": math.nan, "mae_years": math.nan, "n_prior": 0}
    row |= dict.fromkeys(("n_people", "n_fitted", "n_fitted_people"), 0)
    if isinstance(found, str):
        for name in MEASURES:
            row |= _pack(name, NAN3, 0, found)
        return [row]
    people = real.labels["person_id"]
    row |= {"n_people": people.iloc[found.held_out].nunique(), "n_fitted": len(found.fitted)}
    row |= {"n_fitted_people": people.iloc[found.fitted].nunique()}
    own = samples[samples["is_main"]]
    if contrast.classes:
        return [row | _describe_classes(contrast, space, found, own, absent, real)]
    return _describe_ages(row, space, found, own, absent, real)


def _describe_classes(contrast, space, found, own, absent, real) -> dict:
    target = real.conditions[contrast.column].to_numpy()
    truth, groups = target[found.held_out], real.labels["group_id"].to_numpy()
    draw = partial(resample, n_draws=real.settings.n_draws, seed=real.settings.seed)

    def compute_auc(rows: np.ndarray) -> float:
        if len(set(truth[rows])) < len(found.classes):
            return math.nan
        folds = np.zeros(len(rows))
        return score("classification", truth[rows], found.scores[rows], found.classes, folds)["auc"]

    lacking = [name for name in contrast.classes if name not in truth]
    reason = f"no held-out volume with {', '.join(lacking)}" if lacking else ""
    held = groups[found.held_out]
    row = _pack("real", draw(compute_auc, held), len(held), reason)
    row |= _pack("agreement", draw(lambda k: agree(truth[k], found.real[k]), held), len(held), reason)
    again, trip = found.again
    true = target[again]
    reason = IS_LATENT if space.round_trip is None else reason
    row |= _pack("ceiling", draw(lambda k: agree(true[k], trip[k]), groups[again]), len(again), reason)
    is_own = own["arm"].isin(contrast.arms)
    requested = own.loc[is_own, contrast.column]
    is_right = (requested == found.samples[requested.index]).to_numpy()
    missing = [f"{arm}: {absent[arm]}" for arm in contrast.arms if arm in absent]
    row |= _pack("cond", measure_share(is_right), len(is_right), "; ".join(missing))
    shares = pd.Series(target[found.fitted]).value_counts(normalize=True)
    name, counts = shares.index[0], found.samples[own.index[own["arm"] == contrast.null_arm]]
    if len(counts):
        name = counts.value_counts().index[0]
    reason = NEVER_DROPPED if not contrast.null_arm else absent.get(contrast.null_arm, "")
    row |= _pack("null", measure_share((counts == name).to_numpy()), len(counts), reason)
    prior = shares[name] if contrast.null_arm else 1 / len(contrast.classes)
    return row | {"null_class": name, "prior": prior, "n_prior": len(found.fitted)}


def _describe_ages(row, space, found, own, absent, real) -> list[dict]:
    """A row of r, and one of the mean that is read of each requested age."""
    ages, groups = real.conditions["age_years"].to_numpy(), real.labels["group_id"].to_numpy()
    truth, (again, trip) = ages[found.held_out], found.again
    draw = partial(resample, n_draws=real.settings.n_draws, seed=real.settings.seed)
    of_trip = IS_LATENT if space.round_trip is None else ""
    missing = "; ".join(f"{arm}: {absent[arm]}" for arm in AGE.arms if arm in absent)

    def compare(values: np.ndarray, wanted: np.ndarray) -> Any:
        return lambda k: correlate(wanted[k], values[k])[0]

    requested = own.loc[own["arm"].isin(AGE.arms), "age_years"]
    read_ages = found.samples.astype(float)
    nulls = read_ages[own.index[own["arm"] == AGE.null_arm]]
    line = row | {"mae_years": float(np.abs(truth - found.real).mean()) if len(truth) else math.nan}
    of_real = draw(compare(found.real, truth), groups[found.held_out])
    line |= _pack("real", of_real, len(truth), "" if len(truth) else "no held-out volume")
    line |= _pack("agreement", of_real, len(truth), "" if len(truth) else "no held-out volume")
    line |= _pack("ceiling", draw(compare(trip, ages[again]), groups[again]), len(again), of_trip)
    line |= _pack("cond", correlate(requested, read_ages[requested.index]), len(requested), missing)
    line |= _pack("null", measure_mean(nulls), len(nulls), absent.get(AGE.null_arm, ""))
    rows = [line | {"prior": float(ages[found.fitted].mean()), "n_prior": len(found.fitted)}]
    for age, arm in zip(AGES, AGE.arms, strict=True):
        near, near_again = (np.abs(ages[k] - age) <= AGE_WINDOW_YEARS for k in (found.held_out, again))
        line = row | {"task": f"{age} y", "metric": "years", "n_people": 0}
        line["n_people"] = real.labels["person_id"].iloc[found.held_out[near]].nunique()
        reason = (
            "" if near.sum() > 1 else f"fewer than two held-out volumes within {AGE_WINDOW_YEARS:g} years"
        )
        for name in ("real", "agreement"):
            line |= _pack(name, measure_mean(found.real[near]), int(near.sum()), reason)
        reason = of_trip or ("" if near_again.sum() > 1 else "fewer than two volumes")
        line |= _pack("ceiling", measure_mean(trip[near_again]), int(near_again.sum()), reason)
        values = read_ages[own.index[own["arm"] == arm]]
        line |= _pack("cond", measure_mean(values), len(values), absent.get(arm, ""))
        rows.append(line | _pack("null", NAN3, 0, "see the row of all ages"))
    return rows


def _pack(name: str, values: tuple[float, float, float], n: int, reason: str) -> dict:
    """The columns of one measure; where there is a reason there is no number."""
    if not reason and not math.isfinite(values[0]):
        reason = f"undefined of {n}"
    ends = dict(zip(("", "_low", "_high"), NAN3 if reason else values, strict=True))
    return {f"{name}{end}": value for end, value in ends.items()} | {f"n_{name}": n, f"{name}_reason": reason}


# ---- Table 7 -----------------------------------------------------------------------------------------


def _scale(contrast, reading, found, samples, absent) -> list[dict]:
    """What a contrast reads at each scale: one row, or for ages r and the mean of each age."""
    rows = []
    base = {"condition": contrast.condition, "reading": reading}
    missing = "; ".join(f"{arm}: {absent[arm]}" for arm in contrast.arms if arm in absent)
    for scale, part in samples[samples["is_scaled"]].groupby("guidance", sort=True):
        row = base | {"guidance": float(scale)}
        own = part[part["arm"].isin(contrast.arms)]
        if isinstance(found, str):
            rows.append(row | _cell(contrast.task, NAN3, own, found))
            continue
        requested, values = own[contrast.column], found.samples[own.index]
        if contrast.classes:
            share = measure_share((requested == values).to_numpy())
            rows.append(row | _cell(contrast.task, share, own, missing))
            continue
        rows.append(row | _cell(contrast.task, correlate(requested, values), own, missing))
        for age, arm in zip(AGES, AGE.arms, strict=True):
            one = own[own["arm"] == arm]
            mean = measure_mean(values[one.index].astype(float))
            rows.append(row | _cell(f"{age} y", mean, one, absent.get(arm, "")))
    return rows


def _cell(task: str, values: tuple[float, float, float], own: pd.DataFrame, reason: str) -> dict:
    n, n_arms = len(own), own["arm"].nunique()
    if not reason and not math.isfinite(values[0]):
        reason = f"undefined of {n} samples"
    value, low, high = NAN3 if reason else values
    return {"task": task, "value": value, "low": low, "high": high} | {
        "n_samples": n,
        "n_arms": n_arms,
        "reason": reason,
    }
