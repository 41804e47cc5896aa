"""One encoder's predictions as a table, and all encoders' scores and paired differences from such tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n import encoders
from braing3n.core.errors import ContractError
from braing3n.core.runtime import track
from braing3n.probe.contracts import DIFFERENCES, HALVES
from braing3n.probe.halves import Reading, read_probe
from braing3n.probe.plan import Probe, check_duplicates, plan_probes
from braing3n.probe.scores import (
    BOUNDS,
    CHANCE,
    METRICS,
    MIN_DEALS,
    correct_holm,
    find_interval,
    find_p_value,
    score,
    score_folds,
)
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import span_features

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
    check_duplicates(features, labels)
    if has_pca:
        features = span_features(features, settings.seed)
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
        plan = {"unit_id": expected, "fold": np.repeat(probe.units["fold"].to_numpy(), n_columns)}
        if part is None or len(halves) < len(metrics) or not _is_alike(part, plan):
            raise ContractError(
                f"predictions of {encoder}: task {probe.task.key}, slice {probe.slice} does not fit the "
                "label table; rerun `probe encoder` with the same labels and settings."
            )
        return Reading(
            part["prediction"].to_numpy().reshape(-1, n_columns),
            {name: table[["first", "second"]].to_numpy() for name, table in halves.items()},
            bool(part["is_converged"].all()),
        )


def _is_alike(table: pd.DataFrame, columns: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(table[name].to_numpy(), values) for name, values in columns.items())


def compare_encoders(
    readings: Readings, probes: list[Probe], settings: ProbeSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every encoder, and paired differences of ours to each other one.

    Probes that could not be fitted stand in the scores with their reason. The paper's tasks on all volumes of
    everyone are one family of comparisons, and have p values and intervals corrected for their number.
    """
    scores: list[dict] = []
    differences: list[dict] = []
    family = [probe for probe in probes if _is_of_family(probe) and not probe.reason]
    n_read = sum(not reason for reason in readings.reasons.values())
    n_compared = len(family) * (n_read - 1)
    for probe in track(probes, "comparing encoders"):
        found = {}
        for encoder in readings.encoders:
            reason = probe.reason or readings.reasons[encoder]
            reading = None if reason else readings.find(encoder, probe)
            rows, found[encoder] = score_reading(probe, reading, settings, reason)
            base = {"encoder": encoder, "title": probe.task.title, "source": probe.task.source}
            base |= {"slice": probe.slice, "people": probe.people}
            scores.extend({**base, **row, **_test(row["metric"], found[encoder])} for row in rows)
        for other in readings.encoders:
            if other != OURS and found[other] and found.get(OURS):
                differences.extend(_subtract(probe, other, found[OURS], found[other], n_compared))
    tables = pd.DataFrame(scores), pd.DataFrame(differences, columns=list(DIFFERENCES))
    return tuple(_correct(table, {probe.task.key for probe in family}) for table in tables)


def _is_of_family(probe: Probe) -> bool:
    return probe.task.source == "paper" and probe.slice == "all" and probe.people == "everyone"


def _test(metric: str, found: dict[str, tuple[float, np.ndarray]]) -> dict[str, float]:
    if metric not in CHANCE or metric not in found:
        return {"p_value": float("nan")}
    return {"p_value": find_p_value(*found[metric], CHANCE[metric])}


def _correct(table: pd.DataFrame, tasks: set[str]) -> pd.DataFrame:
    """With `p_holm`, the p values of the family corrected for their number."""
    is_family = table["task"].isin(tasks) & (table["slice"] == "all") & (table["people"] == "everyone")
    p_value = table["p_value"].astype(float).where(is_family)
    return table.assign(p_holm=correct_holm(p_value.to_numpy()))


def count_units(probe: Probe) -> dict[str, int]:
    """People and volumes behind a probe."""
    return {
        "n_people": int(probe.units["person_id"].nunique()),
        "n_volumes": int(probe.units["n_volumes"].sum()),
    }


def count_classes(probe: Probe) -> str:
    """The classes with their people, as one phrase."""
    n_people = probe.units.groupby("target")["person_id"].nunique() if probe.classes else {}
    return ", ".join(f"{name} ({n_people[name]} people)" for name in probe.classes)


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
        "classes": count_classes(probe),
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


def _subtract(probe, other, ours, theirs, n_compared):
    """Ours minus another encoder's, half by half; a positive MAE difference is worse.

    The corrected interval is wide enough for `n_compared` of them at once (Bonferroni).
    """
    level = 1 - 0.05 / max(1, n_compared)
    for metric, (value, halves) in ours.items():
        difference, apart = value - theirs[metric][0], halves - theirs[metric][1]
        low, high = find_interval(difference, apart)
        corrected = find_interval(difference, apart, level=level)
        if not _is_of_family(probe):
            corrected = (float("nan"), float("nan"))
        yield {
            **_name_probe(OURS, probe),
            "other": other,
            "metric": metric,
            "difference": difference,
            "low": low,
            "high": high,
            "low_corrected": corrected[0],
            "high_corrected": corrected[1],
            "p_value": find_p_value(difference, apart, 0.0),
            **count_units(probe),
        }
