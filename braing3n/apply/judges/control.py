"""Whether generated volumes show the conditions that were requested, and whether they help a probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braing3n.apply.judges.compare import compute
from braing3n.apply.judges.features import open_features, open_model
from braing3n.apply.judges.folders import VolumeFolder, open_folders, tabulate_left_out
from braing3n.apply.judges.tables import write_results
from braing3n.apply.probe_input import IDS, MAX_CLASSES, is_classes, read
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import make_folder
from braing3n.diffusion.intervals import resample
from braing3n.probe.fit import build_model, predict_out_of_fold
from braing3n.probe.halves import score_halves
from braing3n.probe.plan import Probe, plan_probe
from braing3n.probe.scores import BOUNDS, find_interval, score
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import Task

FILE = "file"  # the column of a volume's path in its folder, or of its name
N_DRAWS = 1000  # of shuffled requests, and of people
ALPHA = 0.05  # of the p value of requests that are followed
LARGEST = 1e50  # number, of which products of squares are finite
REQUESTED, REAL, SYNTHETIC, BOTH, SHUFFLED = (
    "requested against read",
    "real people, probe of other real people",
    "real people, probe of generated volumes",
    "real people, probe of both",
    "real people, probe of both, requests shuffled",
)
FEW = "{}: shuffled requests often reach the highest score: too few requests, or volumes that do not differ"
Score = Callable[[np.ndarray], float]  # of chosen rows


@dataclass(frozen=True)
class Request:
    """What a user wants to be judged.

    Attributes:
        requested, labels: tables of the generated and of the real volumes' conditions.
        conditions: columns to judge; empty: all that both tables have.
    """

    generated: Path
    requested: Path
    real: Path
    labels: Path
    out: Path
    model: Path | None = None
    conditions: tuple[str, ...] = ()
    seed: int = 2025


def judge_control(asked: Request) -> pd.DataFrame:
    """Measure, write and return one row for each condition and quantity.

    Files: `control.parquet` and `left_out.parquet`, and `judged.json`.

    Raises:
        BrainG3nError: a folder or a table cannot be used; a single bad file is left out and reported.
    """
    for path in (asked.requested, asked.labels):
        if path.resolve() in {(asked.out / f"{name}.parquet").resolve() for name in ("control", "left_out")}:
            raise BrainG3nError(f"--out {asked.out}: {path} would be overwritten; give another folder.")
    tables = {"generated": read(asked.requested), "real": read(asked.labels)}
    conditions = choose_conditions(asked, *tables.values())
    model, box = open_model(asked.model)
    found = open_folders({"generated": asked.generated, "real": asked.real}, box)
    make_folder(asked.out)
    feature = open_features(model, None, found["real"], {})[-1]
    x = {role: np.concatenate(compute(one, [feature])[feature.name]) for role, one in found.items()}
    paths = {"generated": asked.requested, "real": asked.labels}
    labels = {role: match(one, tables[role], paths[role]) for role, one in found.items()}
    settings = ProbeSettings(seed=asked.seed)
    rows = []
    for name in conditions:
        both = _Both.of(name, found["real"].people, x, labels, settings, has_pca=model is None)
        rows += [{"condition": name, "features": feature.name, **row} for row in both.judge()]
    table = pd.DataFrame(rows)
    write_results(
        asked.out, "control compare", {"control": table, "left_out": tabulate_left_out(found)}, found
    )
    return table


def choose_conditions(asked: Request, requested: pd.DataFrame, labels: pd.DataFrame) -> list[str]:
    """The columns that are judged.

    Raises:
        BrainG3nError: a named column is missing in a table, or the tables share none.
    """
    shared = [name for name in requested if name in labels and name not in (FILE, *IDS)]
    for name in asked.conditions:
        if name not in shared:
            both = ", ".join(shared) or "none"
            raise BrainG3nError(f"--conditions: '{name}' is not in both tables; both have: {both}.")
    if not shared:
        raise BrainG3nError(f"{asked.requested} and {asked.labels} share no column, such as age.")
    return list(dict.fromkeys(asked.conditions)) or shared


def match(one: VolumeFolder, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table's row of each volume of a folder, by file or by person; a volume without one is reported.

    Of several columns that could name a volume, the first that names one of the folder's is taken.

    Raises:
        BrainG3nError: no column names a file or a person, a row has no name, one stands twice or is that of
            several files, or no volume has a row.
    """
    table = table.dropna(how="all")  # a spreadsheet's blank rows
    keys = [name for name in (FILE, *IDS) if name in table]
    if not keys:
        has = ", ".join(f"'{name}'" for name in table)
        raise BrainG3nError(
            f"{path}: no column names a volume; add '{FILE}' or 'participant_id' (it has {has})."
        )
    if table.empty:
        raise BrainG3nError(f"{path}: it has no row below its header; add one for each volume.")
    pairs = [(key, *_name_both(one, table, key)) for key in keys]
    key, own, names = next((pair for pair in pairs if pair[1].isin(pair[2]).any()), pairs[0])
    blank = np.flatnonzero(table[key].isna() | (names == ""))
    if len(blank):
        raise BrainG3nError(f"{path}: row {blank[0] + 1} has no {key}; add it, or remove the row.")
    twice = names[names.duplicated()]
    if len(twice):
        raise BrainG3nError(f"{path}: {key} '{twice.iloc[0]}' stands in two rows; keep one.")
    is_known = own.isin(names)
    alike = own[is_known & own.duplicated()]
    if key == FILE and len(alike):
        raise BrainG3nError(
            f"{path}: several files of {one.folder} are named '{alike.iloc[0]}'; write their paths."
        )
    if not is_known.any():
        raise BrainG3nError(
            f"{path}: no row is of a volume in {one.folder}; its first {key} is '{names.iloc[0]}', "
            f"the first volume's '{own.iloc[0]}'."
        )
    missing = [name for name, known in zip(one.names, is_known, strict=True) if not known]
    one.left_out += [(name, f"no row of {path.name} is of it") for name in missing]
    return table.set_index(names).reindex(own).reset_index(drop=True)


def _name_both(one: VolumeFolder, table: pd.DataFrame, key: str) -> tuple[pd.Series, pd.Series]:
    """What names each volume of a folder, and what names each row of a table."""
    names = table[key].astype(str).str.strip()
    if key != FILE:
        return pd.Series(one.people), names.str.removeprefix("sub-")
    own = pd.Series(one.names)
    return own.where(own.isin(names), own.str.rsplit("/", n=1).str[-1]), names  # a name without its folders


@dataclass(frozen=True)
class _Both:
    """One condition: a probe's plan of real people, and what was requested of generated volumes.

    Attributes:
        real, generated: features (n_units, F) and (M, F), M of those with a request that can be judged.
        requested: (M,) classes or numbers.
        note: which values are not judged; empty: none.
    """

    probe: Probe
    settings: ProbeSettings
    has_pca: bool
    real: np.ndarray
    generated: np.ndarray
    requested: np.ndarray
    note: str

    @classmethod
    def of(
        cls,
        name: str,
        people: np.ndarray,
        x: dict[str, np.ndarray],
        labels: dict[str, pd.DataFrame],
        settings: ProbeSettings,
        has_pca: bool,
    ) -> _Both:
        known, asked = (labels[role][name] for role in ("real", "generated"))
        kind = "classification" if is_classes(known.dropna()) else "regression"
        column = f"'{name}'"  # is none of the ids, whatever its name
        task = Task(name, name, column, kind, slices=("all",))
        ids = [str(k) for k in range(len(people))]
        standard = pd.DataFrame({"volume_id": ids, "person_id": people, "group_id": people, "split": "train"})
        standard[column] = _drop_infinite(known, kind).to_numpy()
        probe = plan_probe(task, "all", standard, settings)
        probe.reason = _find_text(known, kind) or probe.reason
        wanted = task.read_target(pd.DataFrame({column: _drop_infinite(asked, kind)}))
        is_judged = (
            wanted.isin(probe.classes) if probe.classes else wanted.notna() & (wanted.astype(str) != "")
        )
        chosen = is_judged.to_numpy()
        others = [f"'{value}'" for value in asked[asked.notna().to_numpy() & ~chosen]]
        parts = [f"dropped: {probe.dropped}"] if probe.dropped else []
        if others:
            words = ", ".join(dict.fromkeys(others))
            parts.append(f"{len(others)} requests that real people cannot confirm: {words}")
        note = f"{name}: {'; '.join(parts)}" if parts and not probe.reason else ""
        real = x["real"] if probe.reason else probe.pool(x["real"])
        return cls(probe, settings, has_pca, real, x["generated"][chosen], wanted[chosen].to_numpy(), note)

    @property
    def kind(self) -> str:
        return self.probe.task.kind

    @property
    def metric(self) -> str:
        return "auc" if self.kind == "classification" else "r"

    def judge(self) -> list[dict[str, Any]]:
        """A row for each quantity, or one with the reason why there is none."""
        blank = {"metric": self.metric, "n_generated": len(self.requested), "n_real": len(self.real)}
        blank |= {"n_people": self.probe.units["person_id"].nunique(), "reason": ""}
        blank |= {"note": self.note}
        reason = self.probe.reason and f"{self.probe.task.key}: real people: {self.probe.reason}"
        if not reason and len(set(self.requested)) < 2:
            reason = f"{self.probe.task.key}: fewer than two values were requested that real people have"
        if reason:
            return [blank | {"quantity": REQUESTED, "value": math.nan, "verdict": "n/a", "reason": reason}]
        return [{**blank, **row} for row in (self.read_generated(), *self.read_real())]

    # ---- requested against read ----------------------------------------------------------------------

    def read_generated(self) -> dict[str, Any]:
        """The generated volumes, read by a probe of all real people; chance is that of shuffled requests."""
        predictions = self.predict(self.fit(self.real, self.target), self.generated)
        block, rng = np.zeros(len(self.requested)), np.random.default_rng(self.settings.seed)

        def measure(requested: np.ndarray, rows: np.ndarray) -> float:
            return self.score(requested[rows], predictions[rows], block[rows])

        every = np.arange(len(self.requested))
        value, low, high = self.resample(lambda rows: measure(self.requested, rows), every)
        if math.isnan(value):  # a correlation with what never varies
            why = f"{self.probe.task.key}: the probe reads one number in all generated volumes"
            return {"quantity": REQUESTED, "value": value, "verdict": "n/a", "reason": why}
        chance = np.array([measure(rng.permutation(self.requested), every) for _ in range(N_DRAWS)])
        p_value = (1 + np.sum(chance >= value)) / (1 + N_DRAWS)
        return {
            **{"quantity": REQUESTED, "value": value, "low": low, "high": high},
            **{"chance_95": float(np.nanpercentile(chance, 95)), "p_value": float(p_value)},
            "verdict": "followed" if p_value < ALPHA else "not shown",
            "reason": FEW.format(self.probe.task.key) if np.mean(chance >= np.max(chance)) >= ALPHA else "",
        }

    # ---- real people, read by probes of other people, of generated volumes, and of both --------------------

    def read_real(self) -> list[dict[str, Any]]:
        """Real people of each fold, read by probes that never saw them; a gain is that over real alone."""
        of_others = predict_out_of_fold(self.real, self.probe, self.settings, self.has_pca)[0]
        halves = score_halves(self.real, self.probe, self.settings, self.has_pca)[self.metric]
        rng = np.random.default_rng(self.settings.seed)
        found = {
            REAL: of_others,
            SYNTHETIC: self.predict(self.fit(self.generated, self.requested), self.real),
            BOTH: self.predict_with(self.requested),
            SHUFFLED: self.predict_with(rng.permutation(self.requested)),
        }
        folds, people = (self.probe.units[name].to_numpy() for name in ("fold", "group_id"))
        rows = []
        for quantity, predictions in found.items():

            def measure(chosen: np.ndarray, of: np.ndarray = predictions) -> float:
                return self.score(self.target[chosen], of[chosen], folds[chosen])

            def gain(chosen: np.ndarray, measure: Score = measure) -> float:
                return measure(chosen) - self.score(self.target[chosen], found[REAL][chosen], folds[chosen])

            row: dict[str, Any] = {"quantity": quantity, "verdict": ""}
            if quantity == REAL:
                row["value"] = measure(np.arange(len(people)))
                row["low"], row["high"] = find_interval(row["value"], halves, BOUNDS[self.metric])
            else:
                row["value"], row["low"], row["high"] = self.resample(measure, people)
                row["gain"], row["gain_low"], row["gain_high"] = self.resample(gain, people)
            if quantity in (BOTH, SHUFFLED):
                row["verdict"] = (
                    "helps" if row["gain_low"] > 0 else "harms" if row["gain_high"] < 0 else "not shown"
                )
            rows.append(row)
        return rows

    def predict_with(self, requested: np.ndarray) -> np.ndarray:
        """Each fold's people, by a probe of the other folds' people and of the generated volumes."""
        folds = self.probe.units["fold"].to_numpy()
        n_columns = max(1, len(self.probe.classes))
        predictions = np.full((len(self.real), n_columns), np.nan)
        for fold in np.unique(folds):
            others = folds != fold
            x = np.concatenate([self.real[others], self.generated])
            y = np.concatenate([self.target[others], requested])
            predictions[~others] = self.predict(self.fit(x, y), self.real[~others])
        return predictions

    # ---- fits --------------------------------------------------------------------------------------------

    @property
    def target(self) -> np.ndarray:
        return self.probe.units["target"].to_numpy()

    def fit(self, x: np.ndarray, y: np.ndarray):
        model = build_model(self.kind, len(x), x.shape[1], self.settings, self.has_pca)
        with np.errstate(divide="ignore", invalid="ignore"):  # PCA's shares of the variance of equal volumes
            return model.fit(x.astype(np.float64), y)

    def predict(self, model, x: np.ndarray) -> np.ndarray:
        """(n, n_classes), 0 for a class that the model never saw, or (n, 1) numbers."""
        if self.kind == "regression":
            return model.predict(x.astype(np.float64))[:, None]
        chances = np.zeros((len(x), len(self.probe.classes)))
        columns = [self.probe.classes.index(name) for name in model[-1].classes_]
        chances[:, columns] = model.predict_proba(x.astype(np.float64))
        return chances

    def resample(self, measure: Score, groups: np.ndarray) -> tuple[float, float, float]:
        return resample(measure, groups, N_DRAWS, self.settings.seed)

    def score(self, target: np.ndarray, predictions: np.ndarray, folds: np.ndarray) -> float:
        return score(self.kind, target, predictions, self.probe.classes, folds)[self.metric]


def _drop_infinite(values: pd.Series, kind: str) -> pd.Series:
    """Classes, and lists, as text; of numbers those that a fit can take, NaN for others and for text."""
    if kind == "classification":
        return values.map(lambda value: value if pd.api.types.is_scalar(value) else str(value))
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < LARGEST)


def _find_text(values: pd.Series, kind: str) -> str:
    """The reason if text among numbers makes a class of each number; empty: it does not."""
    if kind == "regression" or pd.api.types.is_numeric_dtype(values):
        return ""
    numbers = pd.to_numeric(values, errors="coerce")
    text = values[values.notna() & numbers.isna()]
    if numbers.nunique() <= MAX_CLASSES or text.empty:
        return ""
    return f"numbers and text, such as '{text.iloc[0]}', stand in '{values.name}'; write numbers alone"
