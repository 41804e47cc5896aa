"""A linear probe of a person's own features and label: score, interval, rivals, random labels and a plot."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from cyclopts import Parameter

from braing3n.core.errors import BrainG3nError
from braing3n.core.options import Count, Seed
from braing3n.core.runtime import make_folder, write_atomically
from braing3n.probe.command import app
from braing3n.probe.settings import ProbeSettings

IDS = ("volume_id", "scan_id", "participant_id", "person_id", "subject_id", "id")
# Columns of common tables that are rivals: age and sex, site and scanner.
KNOWN = {
    "age_years": ("age_years", "age"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id"),
    "vendor": ("vendor", "manufacturer"),
    "field_strength_t": ("field_strength_t", "field_strength", "magneticfieldstrength"),
    "modality": ("modality", "contrast"),
}
MAX_CLASSES = 10  # a whole number with at most so many values is a class
SEPARATORS = {".tsv": "\t", ".csv": ",", ".txt": "\t"}
Kind = Literal["auto", "classification", "regression"]


@app.default
def probe_table(
    *,
    features: Path,
    labels: Path,
    label: str,
    group: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    id: str = "",  # noqa: A002
    kind: Kind = "auto",
    random_labels: Count = 40,
    seed: Seed = 2025,
) -> int:
    """Probe your own features: `braing3n probe` followed by options and not by a command.

    Parameters
    ----------
    features
        Table (.parquet, .tsv, .csv) with one row for each scan. Features are the columns feature_*, or all
        numeric columns that are not labels.
    labels
        Table with the label, one row for each id. Columns such as age, sex, site and vendor become rivals.
    label
        The column to predict.
    group
        The column that names the person or family; no person or family is in two folds.
    out
        Folder of scores.tsv, predictions.tsv, controls.tsv and plot.png.
    id
        The column that joins both tables; default: the first known name in both.
    kind
        Whether the label is a class or a number; auto: a class if it is text or has at most 10 whole
        numbers.
    random_labels
        Number of random labels that are probed as a control.
    seed
        Seed of folds, halves and random labels.
    """
    from braing3n.probe.plan import check_duplicates, plan_probe
    from braing3n.probe.tasks import Task

    table, x = join(take_encoded(read(features)), read(labels), label, group, id)
    is_class = kind == "classification" or (kind == "auto" and is_classes(table[label]))
    settings = ProbeSettings(n_random_labels=random_labels, seed=seed)
    standard = standardise_columns(table, label, group)
    column = next((name for name, known in KNOWN.items() if label.casefold() in known), label)
    if not is_class:
        table[label] = read_numbers(table, label)
    standard[column] = table[label]
    task = Task(label, label, column, "classification" if is_class else "regression", slices=("all",))
    check_duplicates(x, standard)
    probe = plan_probe(task, "all", standard, settings)
    if probe.reason:
        raise BrainG3nError(f"{labels}: '{label}' cannot be probed: {probe.reason}.")
    write_results(probe, x, standard, settings, out)
    return 0


def write_results(probe, x: np.ndarray, standard: pd.DataFrame, settings: ProbeSettings, out: Path) -> None:
    """Fit, write the tables and the plot, and print the scores."""
    from braing3n.probe.beside.controls import run_controls
    from braing3n.probe.beside.rivals import probe_rivals
    from braing3n.probe.compare import score_reading
    from braing3n.probe.halves import read_probe

    make_folder(out)
    reading = read_probe(x, probe, settings)
    rows, _ = score_reading(probe, reading, settings)
    rivals = probe_rivals(standard, [probe], settings)
    scores = pd.concat([pd.DataFrame(rows).assign(rival="features"), rivals], ignore_index=True)
    scores = scores.rename(columns={"rival": "read_from", "n_volumes": "n_rows"})
    shown = ["read_from", "metric", "value", "low", "high", "fold_mean", "fold_sd", "n_people", "n_rows"]
    scores = scores[[*shown, "columns", "classes", "dropped", "reason", "note"]]
    # Without own controls' columns, these are random labels alone.
    blank = standard.drop(columns=[name for name in standard if name.startswith("control_")])
    controls = run_controls(x, blank, settings)
    tables = {"scores": scores, "predictions": tabulate_predictions(probe, reading), "controls": controls}
    for name, found in tables.items():
        with write_atomically(out / f"{name}.tsv") as beside:
            found.to_csv(beside, sep="\t", index=False, na_rep="n/a")
    with write_atomically(out / "plot.png") as beside:
        plot(probe, reading, scores, beside)
    print(scores[shown[:5]].round(3).to_string(index=False, na_rep="n/a"))
    last = controls.iloc[-1]
    print(f"{last['measure']}: {last['value']:.0f}, expected {last['expected']}: {last['verdict']}")
    print(f"{out}: scores.tsv, predictions.tsv, controls.tsv, plot.png")


def read(path: Path) -> pd.DataFrame:
    """A table by its suffix.

    Raises:
        BrainG3nError: the file does not exist, or cannot be read.
    """
    if path.suffix not in (".parquet", *SEPARATORS):
        raise BrainG3nError(f"{path}: give a table as .parquet, .tsv or .csv.")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table.reset_index() if any(table.index.names) else table  # an index may be the ids
        return _read_text(path, SEPARATORS[path.suffix])
    except FileNotFoundError:
        raise BrainG3nError(f"{path}: no such file; check its path.") from None
    except UnicodeError:
        raise BrainG3nError(f"{path}: its text is not UTF-8; save it as UTF-8.") from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BrainG3nError(f"{path}: cannot be read as a table ({reason[:160]}).") from None


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    """A table of text; a row with more cells than the header is an error, and shifts no column."""
    words = dict.fromkeys(IDS, str)  # 001 is another than 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(path, sep=separator, na_values=["n/a"], dtype=words, index_col=False)
    other = next((one for one in ";,\t" if one != separator and one in str(table.columns[0])), "")
    if len(table.columns) == 1 and other:
        raise ValueError(
            f"its cells are separated by {other!r}, and those of a {path.suffix} by {separator!r}"
        )
    return table


def take_encoded(features: pd.DataFrame) -> pd.DataFrame:
    """The table of `braing3n encode` with the id and the names of features that are expected here."""
    if not {"sub", "f0000"} <= set(features) or "participant_id" in features:
        return features
    names = {name: f"feature_{name[1:]}" for name in features if re.fullmatch(r"f\d{4}", name)}
    return features.rename(columns=names).assign(participant_id="sub-" + features["sub"].astype(str))


def join(
    features: pd.DataFrame, labels: pd.DataFrame, label: str, group: str, key: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of both tables that have a label and a group, and their features (N, F).

    Raises:
        BrainG3nError: a column is missing, an id stands twice in the labels, or a feature is no number.
    """
    both = [name for name in IDS if name in features and name in labels]
    key = key or (both[0] if both else "")
    if key not in features or key not in labels:
        what = f"'{key}'" if key else f"none of {', '.join(IDS)}"
        raise BrainG3nError(f"--id: {what} is a column of both tables; name the one that joins them.")
    for name, where in ((label, "label"), (group, "group")):
        if name not in labels and name not in features:
            raise BrainG3nError(f"--{where}: no column '{name}'; columns: {', '.join(map(str, labels))}.")
    if label not in labels:
        raise BrainG3nError(f"--label: '{label}' is a column of the features; put it into the labels.")
    twice = labels[key][labels[key].duplicated()]
    if len(twice):
        raise BrainG3nError(f"--labels: {key} '{twice.iloc[0]}' stands in two rows; keep one.")
    columns = [name for name in features if str(name).startswith("feature_")]
    columns = columns or [
        name for name in features.select_dtypes("number") if name not in (key, group) and name not in labels
    ]
    if not columns:
        raise BrainG3nError("--features: no column feature_* and no numeric column that is no label.")
    kept = features.rename(columns=dict(zip(columns, range(len(columns)), strict=True)))
    others = [name for name in features if name in (key, group) and name not in columns]
    left = kept[list(dict.fromkeys(others))].astype({key: str}).assign(_row=range(len(kept)))
    right = labels.astype({key: str}).drop(columns=[n for n in left if n in labels and n != key])
    table = left.merge(right, on=key)
    table = table[table[label].notna() & table[group].notna() & (table[label].astype(str) != "")]
    if table.empty:
        raise BrainG3nError(f"--id: no row of the features has both {label} and {group} under its {key}.")
    x = kept[list(range(len(columns)))].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    x = x[table["_row"].to_numpy()]
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = table.iloc[bad[0][0]][key], columns[bad[0][1]]
        raise BrainG3nError(f"--features: {column} of {key} '{row}' is no finite number; fill or drop it.")
    return table.reset_index(drop=True), x


def is_classes(values: pd.Series) -> bool:
    """Whether a label is a class: text, or a few whole numbers."""
    if not pd.api.types.is_numeric_dtype(values):
        return True
    return values.nunique() <= MAX_CLASSES and bool((values.astype(float) % 1 == 0).all())


def read_numbers(table: pd.DataFrame, label: str) -> pd.Series:
    """The label as numbers.

    Raises:
        BrainG3nError: one is none.
    """
    numbers = pd.to_numeric(table[label], errors="coerce")
    if numbers.isna().any():
        raise BrainG3nError(f"--label: {label} '{table[label][numbers.isna()].iloc[0]}' is no number.")
    return numbers


def standardise_columns(table: pd.DataFrame, label: str, group: str) -> pd.DataFrame:
    """Ids and the rivals' columns of each row, under the names of the label table."""
    ids = [f"row {k + 1}" for k in table["_row"]]
    groups = table[group].astype(str)
    standard = pd.DataFrame({"volume_id": ids, "person_id": groups, "group_id": groups, "split": "train"})
    by_name = {str(name).casefold(): name for name in table.columns if name not in (label, group)}
    for name, known in KNOWN.items():
        found = next((by_name[one] for one in known if one in by_name), None)
        if found is not None:
            numeric = name in ("age_years", "field_strength_t")
            standard[name] = pd.to_numeric(table[found], errors="coerce") if numeric else table[found]
    return standard


def tabulate_predictions(probe, reading) -> pd.DataFrame:
    """One row for each row of the features: person, fold, label and prediction out of fold."""
    names = [f"chance_{name}" for name in probe.classes] or ["predicted"]
    found = probe.units[["unit_id", "person_id", "fold", "target"]].rename(columns={"unit_id": "row"})
    return found.assign(**dict(zip(names, reading.predictions.T, strict=True)))


def plot(probe, reading, scores: pd.DataFrame, path: Path) -> None:
    """Predicted against true, or one ROC curve a class (of two, one), as a picture."""
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    target, row = probe.units["target"].to_numpy(), scores.iloc[0]
    if probe.classes:
        for k in range(1 if len(probe.classes) == 2 else 0, len(probe.classes)):
            false, true, _ = roc_curve(target == probe.classes[k], reading.predictions[:, k])
            axes.plot(false, true, label=str(probe.classes[k]))
        ends, names = (0, 1), ("share of false alarms", "share found")
        axes.legend(frameon=False)
    else:
        axes.scatter(target, reading.predictions[:, 0], s=8, alpha=0.6)
        ends, names = (target.min(), target.max()), ("true", "predicted out of fold")
    axes.plot(ends, ends, color="grey", linewidth=0.8)
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_title(f"{probe.task.title}: {row['metric']} {row['value']:.3f}, {row['n_people']} people")
    figure.savefig(path, dpi=120)
