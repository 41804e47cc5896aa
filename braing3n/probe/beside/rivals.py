"""What age and sex, site and scanner, or nothing at all say of each task, by the encoders' own probe."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.compare import score_reading
from braing3n.probe.contracts import RIVALS as CONTRACT
from braing3n.probe.halves import Reading, read_probe
from braing3n.probe.plan import Probe
from braing3n.probe.scores import BOUNDS, METRICS
from braing3n.probe.settings import ProbeSettings

DEMOGRAPHICS = ("age_years", "sex")
ACQUISITION = ("site", "vendor", "field_strength_t", "modality")
RIVALS = {
    "intercept": (),
    "demographics": DEMOGRAPHICS,
    "acquisition": ACQUISITION,
    "demographics and acquisition": DEMOGRAPHICS + ACQUISITION,
}


def probe_rivals(labels: pd.DataFrame, probes: list[Probe], settings: ProbeSettings) -> pd.DataFrame:
    """A row a rival, probe of everyone and metric; folds, halves and models are the encoders'."""
    rows = []
    known = [name for name in DEMOGRAPHICS + ACQUISITION if name in labels]
    coded = {name: code_column(labels, name) for name in known}
    chosen = [probe for probe in probes if probe.people == "everyone"]
    for probe in track(chosen, "probing the rivals"):
        for rival, columns in RIVALS.items():
            used = [name for name in columns if name in coded and not probe.task.is_read_from(name)]
            base = {"rival": rival, "slice": probe.slice, "people": probe.people, "title": probe.task.title}
            base["columns"] = ", ".join(used)
            reading = None
            if used:
                reading = read_probe(np.concatenate([coded[name] for name in used], axis=1), probe, settings)
            elif not columns and not probe.reason:
                reading = predict_share(probe)
            found, _ = score_reading(probe, reading, settings)
            if not used:
                lacks = "" if probe.reason or not columns else "none of its columns is known"
                found = [{**row, "note": probe.note, "reason": probe.reason or lacks} for row in found]
            rows += [{**base, **row} for row in found]
    return pd.DataFrame(rows, columns=list(CONTRACT))


def predict_share(probe: Probe) -> Reading:
    """Of each unit the classes' shares, or the mean, of the other folds; without an interval."""
    target, folds = probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    y = target[:, None] == np.array(probe.classes, dtype=object) if probe.classes else target[:, None]
    y = y.astype(float)
    predictions = np.zeros(y.shape)
    for fold in np.unique(folds):
        predictions[folds == fold] = y[folds != fold].mean(axis=0)
    metrics = [metric for metric in METRICS[probe.task.kind] if metric in BOUNDS]
    return Reading(predictions, dict.fromkeys(metrics, np.empty((0, 2))), True)


def code_column(labels: pd.DataFrame, column: str) -> np.ndarray:
    """A column as numbers, (n_volumes, F): one-hot, unknown a level of its own; age as years.

    Unknown years are the mean, and a level beside it. Field strengths are rounded to 0.5 T.
    """
    values = labels[column]
    if column == "age_years":
        is_unknown = values.isna().to_numpy()
        years = values.fillna(values.mean() if (~is_unknown).any() else 0.0).to_numpy()
        return np.stack([years, is_unknown], axis=1).astype(float)
    if column == "field_strength_t":
        values = (2 * values).round() / 2
    text = values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=str)
    return (text[:, None] == np.unique(text)).astype(float)
