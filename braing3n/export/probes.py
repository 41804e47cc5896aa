"""Probes as coefficients: fitted on people who trained the encoder, with the error on people out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braing3n.probe.fit import build_model
from braing3n.probe.plan import Probe, plan_probe
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import PAPER_TASKS

# Slices in which a probe is fitted: where the run has enough, one for each modality beside that of all.
SLICES = ("all", "T1", "T1c", "T2", "FLAIR")
METRIC = {"classification": "auc", "regression": "mae"}


@dataclass(frozen=True)
class FittedProbe:
    """A linear probe of mean features (F,): standardise, multiply, add.

    Attributes:
        task, title, slice: as in the table of scores.
        classes: of a classification; empty: a number.
        mean, scale: (F,) of standardising.
        coefficients, intercept: (n_outputs, F) and (n_outputs,); of two classes one output, for the second.
        described: metric, value, its interval, people fitted on; of age the correction of its gap.
    """

    task: str
    title: str
    slice: str
    classes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray
    described: dict[str, Any]

    def fits(self, width: int) -> bool:
        """Whether its arrays are those of a probe of features (N, width), and hold numbers only.

        And whether it is described: a metric, an error with its interval or none, and a number of people.
        """
        known = self.described
        numbers = [known.get(name) for name in ("value", "low", "high", *(n for n in known if "gap_" in n))]
        texts = [self.task, known.get("metric"), *self.classes]
        is_described = isinstance(known.get("n_people_fitted"), int)
        is_described &= all(number is None or _is_finite(number) for number in numbers)
        if not (is_described and all(isinstance(text, str) for text in texts)):
            return False
        n_outputs = len(self.classes) if len(self.classes) > 2 else 1
        arrays = self.mean, self.scale, self.coefficients, self.intercept
        shapes = (width,), (width,), (n_outputs, width), (n_outputs,)
        has_shapes = all(array.shape == shape for array, shape in zip(arrays, shapes, strict=True))
        return has_shapes and all(np.isfinite(array).all() for array in arrays)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (N, n_classes), or numbers (N, 1), of features (N, F)."""
        scores = (features - self.mean) / self.scale @ self.coefficients.T + self.intercept
        if not self.classes:
            return scores
        if len(self.classes) == 2:
            second = 1 / (1 + np.exp(-scores))
            return np.concatenate([1 - second, second], axis=1)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)


def _is_finite(number: Any) -> bool:
    return isinstance(number, int | float) and bool(np.isfinite(number))


def fit_probes(
    features: np.ndarray,
    labels: pd.DataFrame,
    scores: pd.DataFrame,
    predictions: pd.DataFrame,
    settings: ProbeSettings,
    min_count: int = 1,
) -> list[FittedProbe]:
    """Every paper task that the run can fit, on the training split, in every slice.

    Args:
        features: (N, F) of our encoder, rows as in the labels.
        scores: the table of scores, which has each probe's error out of fold.
        predictions: our encoder's predictions out of fold, for the correction of the age gap.
        min_count: numbers of people are rounded down to multiples of it.
    """
    is_training = (labels["split"] == "train").to_numpy()
    own, known = labels[is_training].reset_index(drop=True), features[is_training]
    found = []
    for task in PAPER_TASKS:
        for name in task.slices:
            if name not in SLICES:
                continue
            probe = plan_probe(task, name, own, settings)
            measured = _find_score(scores, task.key, name, METRIC[task.kind])
            if probe.reason or measured is None:
                continue
            described = measured | {"n_people_fitted": int(probe.units["person_id"].nunique())}
            for count in ("n_people", "n_people_fitted"):
                described[count] = described[count] // min_count * min_count
            if task.key == "age":
                described |= measure_bias(predictions, labels, name)
            found.append(_fit(probe, known, settings, described))
    return found


def _fit(probe: Probe, features: np.ndarray, settings: ProbeSettings, described: dict) -> FittedProbe:
    pooled, target = probe.pool(features), probe.units["target"].to_numpy()
    model = build_model(probe.task.kind, len(pooled), pooled.shape[1], settings, has_pca=False)
    model.fit(pooled, target)
    scaler, last = model[0], model[-1]
    classes = tuple(map(str, last.classes_)) if probe.task.kind == "classification" else ()
    return FittedProbe(
        task=probe.task.key,
        title=probe.task.title,
        slice=probe.slice,
        classes=classes,
        mean=scaler.mean_,
        scale=scaler.scale_,
        coefficients=np.atleast_2d(last.coef_),
        intercept=np.atleast_1d(last.intercept_),
        described=described,
    )


def _find_score(scores: pd.DataFrame, task: str, slice_name: str, metric: str) -> dict[str, Any] | None:
    """What the run measured of a probe of our encoder: on unseen people where it could, else on everyone."""
    own = scores[(scores["encoder"] == "mae") & (scores["task"] == task) & (scores["slice"] == slice_name)]
    own = own[(own["metric"] == metric) & own["value"].notna()]
    if own.empty:
        return None
    row = own.sort_values("people", ascending=False).iloc[0]  # `unseen` before `everyone`
    numbers = {name: None if pd.isna(row[name]) else float(row[name]) for name in ("value", "low", "high")}
    return {"metric": metric, **numbers, "people": row["people"], "n_people": int(row["n_people"])}


def measure_bias(predictions: pd.DataFrame, labels: pd.DataFrame, slice_name: str) -> dict[str, float]:
    """The line that an age gap follows with age, and the spread about it, from predictions out of fold.

    A ridge draws predictions towards the mean, so that the young seem old and the old young. The corrected
    gap is the gap less `gap_slope` x age + `gap_intercept` (de Lange and Cole 2020), its deviation
    `gap_sd_years`.
    """
    own = predictions[(predictions["task"] == "age") & (predictions["slice"] == slice_name)]
    own = own[own["people"] == "everyone"]
    ages = labels.set_index("volume_id")["age_years"].reindex(own["unit_id"]).to_numpy()
    gap = own["prediction"].to_numpy() - ages
    if len(gap) < 3 or not np.ptp(ages):
        return {}
    slope, intercept = np.polyfit(ages, gap, 1)
    rest = gap - slope * ages - intercept
    interval = {"gap_low_years": np.quantile(rest, 0.025), "gap_high_years": np.quantile(rest, 0.975)}
    found = {"gap_slope": slope, "gap_intercept": intercept, "gap_sd_years": rest.std(ddof=2), **interval}
    return {name: float(value) for name, value in found.items()}


def pack_probes(probes: list[FittedProbe]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Tensors by `<i>.<name>`, and what describes each probe, for a weight file."""
    names = ("mean", "scale", "coefficients", "intercept")
    arrays = {f"{i}.{name}": getattr(probe, name) for i, probe in enumerate(probes) for name in names}
    described = [
        {"task": p.task, "title": p.title, "slice": p.slice, "classes": list(p.classes), **p.described}
        for p in probes
    ]
    return arrays, described


def unpack_probes(arrays: dict[str, np.ndarray], described: list[dict[str, Any]]) -> list[FittedProbe]:
    """The probes of a weight file.

    Raises:
        KeyError: a tensor or an entry is missing.
    """
    probes = []
    for i, item in enumerate(described):
        more = dict(item)
        task, title, name, classes = (more.pop(key) for key in ("task", "title", "slice", "classes"))
        probe = FittedProbe(
            task=task,
            title=title,
            slice=name,
            classes=tuple(classes),
            mean=arrays[f"{i}.mean"],
            scale=arrays[f"{i}.scale"],
            coefficients=arrays[f"{i}.coefficients"],
            intercept=arrays[f"{i}.intercept"],
            described=more,
        )
        probes.append(probe)
    return probes
