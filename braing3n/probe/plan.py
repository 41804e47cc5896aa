"""Which rows a probe sees: target, slice, pooling by patient, people a class, and the folds."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.contracts import MODALITIES, read_table
from braing3n.core.errors import ContractError
from braing3n.manifest.contracts import LABELS
from braing3n.probe.contracts import COLUMNS
from braing3n.probe.folds import assign_folds, check_folds
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import Task, list_tasks

# Whom a probe reads: everyone, as the paper does, or only people of the splits that no model is trained on.
PEOPLE = ("everyone", "unseen")
MIN_TELLING = 16  # numbers a volume from which on equal features are a duplicate


@dataclass
class Probe:
    """One task on one slice of some people: its units and folds, or the reason why it cannot be probed.

    `units` has unit_id, person_id, group_id, n_volumes, target, fold; `unit_of_row` maps each row of
    the label table to its unit, -1 where it has none.
    """

    task: Task
    slice: str
    people: str
    units: pd.DataFrame
    unit_of_row: np.ndarray
    classes: tuple[str, ...] = ()
    dropped: str = ""
    reason: str = ""
    note: str = ""

    def pool(self, features: np.ndarray) -> np.ndarray:
        """Mean feature of each unit, (n_units, F), from (n_volumes, F)."""
        rows = np.flatnonzero(self.unit_of_row >= 0)
        if len(rows) == len(self.units):
            return features[rows[np.argsort(self.unit_of_row[rows], kind="stable")]]
        total = np.zeros((len(self.units), features.shape[1]), dtype=np.float64)
        np.add.at(total, self.unit_of_row[rows], features[rows])
        return total / self.units["n_volumes"].to_numpy()[:, None]


def read_labels(path: Path, columns: Path | None = None) -> pd.DataFrame:
    """The label table, with the columns that the configuration names where there are such."""
    labels = read_table(path, LABELS)
    return labels if columns is None else labels.merge(read_table(columns, COLUMNS), on="volume_id")


def plan_probes(labels: pd.DataFrame, settings: ProbeSettings, source: str = "") -> list[Probe]:
    """Every task (of one source, where given) on every slice it is reported for, alike for all encoders.

    Controls read everyone only.
    """
    return [
        plan_probe(task, name, labels, settings, people)
        for people in PEOPLE
        for task in list_tasks(labels, settings.columns)
        if source in ("", task.source) and (people == "everyone" or task.source != "control")
        for name in task.slices
    ]


def plan_probe(
    task: Task, slice_name: str, labels: pd.DataFrame, settings: ProbeSettings, people: str = "everyone"
) -> Probe:
    """Select units, drop small classes and deal folds; `reason` is set where that leaves nothing to probe.

    Unseen people are dealt into folds among themselves, so that no other person has a part in their score.
    """
    target = task.read_target(labels)
    is_given = target.notna() if task.kind == "regression" else target != ""
    if slice_name in MODALITIES:
        is_given &= labels["modality"] == slice_name
    if people == "unseen":
        is_given &= labels["split"] != "train"
    dropped = ""
    if task.kind == "classification":
        n_people = labels["person_id"][is_given].groupby(target[is_given]).nunique()
        small = n_people[n_people < settings.min_class_people]
        dropped = ", ".join(f"{name} ({n} people)" for name, n in sorted(small.items()))
        is_given &= ~target.isin(small.index)
    units, unit_of_row = _build_units(task, slice_name, labels, target, is_given)
    probe = Probe(task, slice_name, people, units, unit_of_row, dropped=dropped)
    if task.kind == "classification":
        probe.classes = tuple(sorted(units["target"].unique()))
    probe.reason = _find_obstacle(task, slice_name, labels, probe, settings)
    if not probe.reason:
        units["fold"] = assign_folds(
            units["target"], units["group_id"], task.kind, settings.n_folds, settings.seed
        )
        check_folds(units)
        probe.note = _describe_missing_classes(probe)
    return probe


def _build_units(task, slice_name, labels, target, is_given) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows, or (patient-pooled) one unit a person and label value; for a regression one a person."""
    positions = np.flatnonzero(is_given.to_numpy())
    columns = {name: labels[name].to_numpy()[positions] for name in ("volume_id", "person_id", "group_id")}
    rows = pd.DataFrame({**columns, "target": target.to_numpy()[positions], "n_volumes": 1})
    unit_of_row = np.full(len(labels), -1)
    if slice_name != "patient-pooled":
        unit_of_row[positions] = np.arange(len(positions))
        return rows.rename(columns={"volume_id": "unit_id"}), unit_of_row
    keys = ["person_id"] if task.kind == "regression" else ["person_id", "target"]
    grouped = rows.groupby(keys, sort=True)
    unit_of_row[positions] = grouped.ngroup().to_numpy()
    how = {"group_id": ("group_id", "first"), "n_volumes": ("n_volumes", "sum")}
    if task.kind == "regression":
        how["target"] = ("target", "mean")
    units = grouped.agg(**how).reset_index()
    units.insert(
        0, "unit_id", units["person_id"] if len(keys) == 1 else units["person_id"] + "|" + units["target"]
    )
    return units, unit_of_row


def _find_obstacle(task, slice_name, labels, probe, settings) -> str:
    """Why this probe cannot be fitted, as one phrase; empty where it can."""
    n_groups, n_people = probe.units["group_id"].nunique(), probe.units["person_id"].nunique()
    if slice_name in MODALITIES and not (labels["modality"] == slice_name).any():
        return f"no {slice_name} volumes in this run"
    if not len(probe.units) and not probe.dropped:
        among = "" if probe.people == "everyone" else f" among {probe.people} people"
        return f"no labels in column {task.column}{among}"
    if task.kind == "classification" and len(probe.classes) < 2:
        dropped = f"; dropped: {probe.dropped}" if probe.dropped else ""
        return f"fewer than two classes with {settings.min_class_people} people{dropped}"
    if n_groups < 2 * settings.n_folds:
        return f"only {n_people} people for {settings.n_folds} folds"
    if task.kind == "regression" and probe.units["target"].nunique() < 2:
        return f"{task.column} has a single value"
    return ""


def _describe_missing_classes(probe: Probe) -> str:
    if probe.task.kind == "regression":
        return ""
    fold, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    held = set(zip(fold.tolist(), target.tolist(), strict=True))
    pairs = itertools.product(sorted(set(fold.tolist())), probe.classes)
    return "; ".join(f"fold {k} has no {name}" for k, name in pairs if (k, name) not in held)


def load_features(path, labels: pd.DataFrame) -> np.ndarray:
    """Features (N, F) in float64, rows in the label table's order.

    Raises:
        ContractError: the rows are not those of the label table.
    """
    with np.load(path) as file:
        ids, features = file["volume_id"], file["features"].astype(np.float64)
    if list(ids) != list(labels["volume_id"]):
        raise ContractError(f"{path}: its volumes are not those of the label table; rerun the latents stage.")
    return features


def read_reason(path) -> str:
    """Why an encoder has no features, as its file says; empty where it has some."""
    return _read_text(path, "reason")


def read_weights(path) -> str:
    """The sha256 of the weights that an encoder's features come from, as their file says; empty of ours."""
    return _read_text(path, "weights")


def _read_text(path, name: str) -> str:
    with np.load(path) as file:
        return str(file[name]) if name in file else ""


def check_duplicates(features: np.ndarray, labels: pd.DataFrame) -> None:
    """Check that no two volumes of different families have equal features: they are one scan under two ids.

    Features of fewer than `MIN_TELLING` numbers may be equal by chance.

    Raises:
        ContractError: two have.
    """
    if features.shape[1] < MIN_TELLING:
        return
    seen: dict[bytes, int] = {}
    groups, ids = labels["group_id"].to_numpy(), labels["volume_id"].to_numpy()
    for k, row in enumerate(features):
        first = seen.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), k)
        if groups[first] != groups[k]:
            raise ContractError(
                f"{ids[first]} and {ids[k]} have equal features and belong to two people ({groups[first]}, "
                f"{groups[k]}): one scan under two ids; drop one, or give both one group_id."
            )
