"""One encoder's predictions as a table, and all encoders' scores and paired differences from such tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.config import ProbeSettings
from braing3n.contracts import CONTRACTS
from braing3n.errors import ContractError
from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.plan import Probe, plan_probes, span_rows
from braing3n.probe.scores import METRICS, bootstrap, find_interval, score, score_folds
from braing3n.runtime import track

# The encoders whose features are reduced by a PCA in the fold before the linear probe.
PCA_ENCODERS = ("voxels", "untrained_flattened")
OURS = "mae"


def probe_encoder(
    name: str, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings
) -> pd.DataFrame:
    """Out-of-fold predictions: one row a unit and class; one empty row for a probe that cannot be fitted."""
    has_pca = name in PCA_ENCODERS
    if has_pca:
        features = span_rows(features)
    tables = []
    for probe in track(plan_probes(labels, settings), f"probing {name}"):
        if probe.reason:
            tables.append(_tabulate_nothing(name, probe))
            continue
        predictions, is_converged = predict_out_of_fold(probe.pool(features), probe, settings, has_pca)
        tables.append(_tabulate(name, probe, predictions, is_converged))
    return pd.concat(tables, ignore_index=True)


def _tabulate_nothing(name: str, probe: Probe) -> pd.DataFrame:
    row = {"encoder": name, "task": probe.task.key, "slice": probe.slice, "unit_id": "", "fold": -1}
    return pd.DataFrame([{**row, "class_name": "", "prediction": float("nan"), "is_converged": False}])


def _tabulate(name: str, probe: Probe, predictions: np.ndarray, is_converged: bool) -> pd.DataFrame:
    n_units, n_columns = predictions.shape
    return pd.DataFrame(
        {
            "encoder": name,
            "task": probe.task.key,
            "slice": probe.slice,
            "unit_id": np.repeat(probe.units["unit_id"].to_numpy(), n_columns),
            "fold": np.repeat(probe.units["fold"].to_numpy(), n_columns),
            "class_name": np.tile(probe.classes or ("",), n_units),
            "prediction": predictions.ravel(),
            "is_converged": is_converged,
        }
    )


class Predictions:
    """All encoders' predictions, found by probe and encoder."""

    def __init__(self, tables: list[pd.DataFrame]):
        self.encoders = [str(table["encoder"].iloc[0]) for table in tables]
        keys = ["encoder", "task", "slice"]
        self._by_key = {key: group for table in tables for key, group in table.groupby(keys, sort=False)}

    def find(self, encoder: str, probe: Probe) -> tuple[np.ndarray, bool]:
        """(n_units, n_classes or 1) in the plan's order, and whether all fits converged.

        Raises:
            ContractError: the predictions were made from another label table or other settings.
        """
        group = self._by_key.get((encoder, probe.task.key, probe.slice))
        n_columns = len(probe.classes) or 1
        expected = np.repeat(probe.units["unit_id"].to_numpy(), n_columns)
        if group is None or not np.array_equal(group["unit_id"].to_numpy(), expected):
            raise ContractError(
                f"predictions of {encoder}: task {probe.task.key}, slice {probe.slice} does not fit the "
                "label table; rerun `probe encoder` with the same labels and settings."
            )
        predictions = group["prediction"].to_numpy().reshape(-1, n_columns)
        return predictions, bool(group["is_converged"].all())


def compare_encoders(
    tables: list[pd.DataFrame], labels: pd.DataFrame, settings: ProbeSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every encoder, and paired differences of ours to each other one.

    Probes that could not be fitted stand in the scores with their reason.
    """
    predictions = Predictions(tables)
    scores, differences = [], []
    for probe in track(plan_probes(labels, settings), "comparing encoders"):
        draws = {}
        for encoder in predictions.encoders:
            rows, draws[encoder] = _score_probe(encoder, probe, predictions, settings)
            scores.extend(rows)
        if probe.reason or OURS not in draws:
            continue
        for other in predictions.encoders:
            if other != OURS:
                differences.extend(_subtract(probe, other, draws[OURS], draws[other]))
    return pd.DataFrame(scores), pd.DataFrame(differences, columns=list(CONTRACTS["differences"]))


def count_units(probe: Probe) -> dict[str, int]:
    """People and volumes behind a probe."""
    return {
        "n_people": int(probe.units["person_id"].nunique()),
        "n_volumes": int(probe.units["n_volumes"].sum()),
    }


def _score_probe(encoder, probe, predictions, settings) -> tuple[list[dict], dict]:
    """A score row a metric, and (point, draws) of each metric for the differences."""
    task = probe.task
    base = {"encoder": encoder, "title": task.title, "source": task.source, "slice": probe.slice}
    found = (None, True) if probe.reason else predictions.find(encoder, probe)
    rows, draws = score_predictions(probe, *found, settings)
    return [{**base, **row} for row in rows], draws


def score_predictions(
    probe: Probe, predicted: np.ndarray | None, is_converged: bool, settings: ProbeSettings
) -> tuple[list[dict], dict[str, tuple[float, np.ndarray]]]:
    """A row a metric of one encoder's predictions (n_units, n_classes or 1), and (point, draws) by metric.

    Rows have task, metric, fold_mean, fold_sd, value, low, high, counts and remarks; of a probe that
    cannot be fitted (predicted is None) they have its reason and no numbers.
    """
    task = probe.task
    base = {
        "task": task.key,
        **count_units(probe),
        "classes": ", ".join(probe.classes),
        "dropped": probe.dropped,
        "reason": probe.reason,
        "note": probe.note,
    }
    blank = dict.fromkeys(["fold_mean", "fold_sd", "value", "low", "high"], float("nan"))
    if predicted is None:
        return [{**base, "metric": metric, **blank} for metric in METRICS[task.kind]], {}
    if not is_converged:
        told = f"the fit stopped at {settings.max_iter} iterations"
        base["note"] = "; ".join(filter(None, [base["note"], told]))
    target, groups = probe.units["target"].to_numpy(), probe.units["group_id"].to_numpy()
    point = score(task.kind, target, predicted, probe.classes)
    folds = score_folds(task.kind, target, predicted, probe.classes, probe.units["fold"].to_numpy())
    draws = bootstrap(
        task.kind, target, predicted, probe.classes, groups, settings.n_bootstraps, settings.seed
    )
    rows = []
    for metric in METRICS[task.kind]:
        low, high = find_interval(draws[metric])
        mean, sd = folds[metric]
        value = float(point[metric][0])
        rows.append(
            {
                **base,
                "metric": metric,
                "fold_mean": mean,
                "fold_sd": sd,
                "value": value,
                "low": low,
                "high": high,
            }
        )
    return rows, {metric: (float(point[metric][0]), draws[metric]) for metric in METRICS[task.kind]}


def _subtract(probe, other, ours, theirs):
    """Ours minus another encoder's, draw by draw; a positive MAE difference is worse."""
    for metric, (value, draws) in ours.items():
        low, high = find_interval(draws - theirs[metric][1])
        yield {
            "encoder": OURS,
            "other": other,
            "task": probe.task.key,
            "slice": probe.slice,
            "metric": metric,
            "difference": value - theirs[metric][0],
            "low": low,
            "high": high,
            **count_units(probe),
        }
