"""One encoder's predictions as a table, and all encoders' scores and paired differences from such tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n import encoders
from braing3n.core.errors import ContractError
from braing3n.core.runtime import track
from braing3n.probe.contracts import DIFFERENCES, HALVES
from braing3n.probe.halves import Reading, read_probe
from braing3n.probe.plan import Probe, plan_probes, span_rows
from braing3n.probe.scores import BOUNDS, METRICS, MIN_DEALS, find_interval, score, score_folds
from braing3n.probe.settings import ProbeSettings

# The encoders whose features are reduced by a PCA in the fold before the linear probe.
OURS = "mae"
_NO_HALVES = np.empty((0, 2))  # of a metric that has no interval


def probe_encoder(
    name: str, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings, reason: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Out-of-fold predictions, and scores on halves of the people.

    Predictions have a row a unit and class, and an empty row for a probe that cannot be fitted; halves
    have a row a metric and deal. reason: why the encoder has no features, so that no probe can be fitted.
    """
    has_pca = encoders.load(name).HAS_PCA
    if has_pca:
        features = span_rows(features)
    predictions, halves = [], []
    for probe in track(plan_probes(labels, settings), f"probing {name}"):
        reading = None if reason else read_probe(features, probe, settings, has_pca)
        predictions.append(_tabulate_predictions(name, probe, reading).assign(reason=reason))
        if reading is not None:
            halves.append(_tabulate_halves(name, probe, reading))
    none = pd.DataFrame(columns=list(HALVES))
    return pd.concat(predictions, ignore_index=True), pd.concat(halves or [none], ignore_index=True)


def _name_probe(encoder: str, probe: Probe) -> dict[str, str]:
    return {"encoder": encoder, "task": probe.task.key, "slice": probe.slice, "people": probe.people}


def _tabulate_predictions(name: str, probe: Probe, reading: Reading | None) -> pd.DataFrame:
    base = _name_probe(name, probe)
    if reading is None:
        row = {**base, "unit_id": "", "fold": -1, "class_name": "", "prediction": float("nan")}
        return pd.DataFrame([{**row, "is_converged": False}])
    n_units, n_columns = reading.predictions.shape
    return pd.DataFrame(
        {
            **base,
            "unit_id": np.repeat(probe.units["unit_id"].to_numpy(), n_columns),
            "fold": np.repeat(probe.units["fold"].to_numpy(), n_columns),
            "class_name": np.tile(probe.classes or ("",), n_units),
            "prediction": reading.predictions.ravel(),
            "is_converged": reading.is_converged,
        }
    )


def _tabulate_halves(name: str, probe: Probe, reading: Reading) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(scores, columns=["first", "second"]).assign(
                **_name_probe(name, probe), metric=metric, deal=range(len(scores))
            )
            for metric, scores in reading.halves.items()
        ]
    )


class Readings:
    """All encoders' readings, found by probe and encoder, from their two tables."""

    def __init__(self, predictions: list[pd.DataFrame], halves: list[pd.DataFrame]):
        self.encoders = [str(table["encoder"].iloc[0]) for table in predictions]
        self.reasons = {str(table["encoder"].iloc[0]): str(table["reason"].iloc[0]) for table in predictions}
        keys = ["encoder", "task", "slice", "people"]
        self._predictions = {key: part for table in predictions for key, part in table.groupby(keys)}
        self._halves = {key: part for table in halves for key, part in table.groupby([*keys, "metric"])}

    def find(self, encoder: str, probe: Probe) -> Reading:
        """The reading, its units in the plan's order.

        Raises:
            ContractError: the tables were made from another label table or other settings.
        """
        key = tuple(_name_probe(encoder, probe).values())
        part = self._predictions.get(key)
        metrics = [metric for metric in METRICS[probe.task.kind] if metric in BOUNDS]
        found = {metric: self._halves.get((*key, metric)) for metric in metrics}
        halves = {metric: table for metric, table in found.items() if table is not None}
        n_columns = len(probe.classes) or 1
        expected = np.repeat(probe.units["unit_id"].to_numpy(), n_columns)
        has_halves = len(halves) == len(metrics)
        if part is None or not has_halves or not np.array_equal(part["unit_id"].to_numpy(), expected):
            raise ContractError(
                f"predictions of {encoder}: task {probe.task.key}, slice {probe.slice} does not fit the "
                "label table; rerun `probe encoder` with the same labels and settings."
            )
        return Reading(
            part["prediction"].to_numpy().reshape(-1, n_columns),
            {name: table[["first", "second"]].to_numpy() for name, table in halves.items()},
            bool(part["is_converged"].all()),
        )


def compare_encoders(
    readings: Readings, labels: pd.DataFrame, settings: ProbeSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every encoder, and paired differences of ours to each other one.

    Probes that could not be fitted stand in the scores with their reason.
    """
    scores: list[dict] = []
    differences: list[dict] = []
    for probe in track(plan_probes(labels, settings), "comparing encoders"):
        found = {}
        for encoder in readings.encoders:
            reason = probe.reason or readings.reasons[encoder]
            reading = None if reason else readings.find(encoder, probe)
            rows, found[encoder] = score_reading(probe, reading, settings, reason)
            base = {"encoder": encoder, "title": probe.task.title, "source": probe.task.source}
            base |= {"slice": probe.slice, "people": probe.people}
            scores.extend({**base, **row} for row in rows)
        for other in readings.encoders:
            if other != OURS and found[other] and found.get(OURS):
                differences.extend(_subtract(probe, other, found[OURS], found[other]))
    return pd.DataFrame(scores), pd.DataFrame(differences, columns=list(DIFFERENCES))


def count_units(probe: Probe) -> dict[str, int]:
    """People and volumes behind a probe."""
    return {
        "n_people": int(probe.units["person_id"].nunique()),
        "n_volumes": int(probe.units["n_volumes"].sum()),
    }


def score_reading(
    probe: Probe, reading: Reading | None, settings: ProbeSettings, reason: str = ""
) -> tuple[list[dict], dict[str, tuple[float, np.ndarray]]]:
    """A row a metric of one encoder's reading, and (value, the same on halves) by metric.

    Rows have task, metric, fold_mean, fold_sd, value, low, high, counts and remarks; of a probe that
    cannot be fitted (reading is None) they have no numbers and the reason: the given one, or the probe's.
    """
    task, metrics = probe.task, METRICS[probe.task.kind]
    base = {
        "task": task.key,
        **count_units(probe),
        "classes": ", ".join(probe.classes),
        "dropped": probe.dropped,
        "reason": reason or probe.reason,
        "note": probe.note,
    }
    blank = dict.fromkeys(["fold_mean", "fold_sd", "value", "low", "high"], float("nan"))
    if reading is None:
        return [{**base, "metric": metric, **blank} for metric in metrics], {}
    target, folds = probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    arguments = task.kind, target, reading.predictions, probe.classes, folds
    values, over_folds = score(*arguments), score_folds(*arguments)
    halves = {metric: reading.halves.get(metric, _NO_HALVES) for metric in metrics}
    rows = []
    for metric in metrics:
        low, high = find_interval(values[metric], halves[metric], BOUNDS.get(metric, (-np.inf, np.inf)))
        mean, sd = over_folds[metric]
        numbers = {"fold_mean": mean, "fold_sd": sd, "value": values[metric], "low": low, "high": high}
        rows.append({**base, "metric": metric, **numbers, "note": _write_note(probe, reading, settings)})
    return rows, {metric: (values[metric], halves[metric]) for metric in metrics}


def _write_note(probe: Probe, reading: Reading, settings: ProbeSettings) -> str:
    remarks = [probe.note]
    if not reading.is_converged:
        remarks.append(f"the fit stopped at {settings.max_iter} iterations")
    n_deals = min(np.isfinite(scores).all(axis=1).sum() for scores in reading.halves.values())
    if n_deals < MIN_DEALS:
        remarks.append("too few people to halve for an interval")
    return "; ".join(filter(None, remarks))


def _subtract(probe, other, ours, theirs):
    """Ours minus another encoder's, half by half; a positive MAE difference is worse."""
    for metric, (value, halves) in ours.items():
        difference = value - theirs[metric][0]
        low, high = find_interval(difference, halves - theirs[metric][1])
        yield {
            **_name_probe(OURS, probe),
            "other": other,
            "metric": metric,
            "difference": difference,
            "low": low,
            "high": high,
            **count_units(probe),
        }
