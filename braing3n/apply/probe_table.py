"""A linear probe of a person's own features and label: score, interval, rivals, random labels and a plot."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from cyclopts import Parameter

from braing3n.apply.probe_input import (
    choose_kind,
    join,
    normalise,
    read,
    read_numbers,
    shorten,
    standardise_columns,
    take_encoded,
)
from braing3n.core.errors import BrainG3nError
from braing3n.core.options import Count, Seed
from braing3n.core.runtime import make_folder, write_atomically
from braing3n.probe.command import app
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import KNOWN

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
    is_class = kind == "classification" or (kind == "auto" and choose_kind(table[label], label))
    settings = ProbeSettings(n_random_labels=random_labels, seed=seed)
    standard = standardise_columns(table, label, group)
    column = next((name for name, known in KNOWN.items() if normalise(label) in known), label)
    if not is_class:
        table[label] = read_numbers(table, label)
    standard[column] = table[label]
    task = Task(label, label, column, "classification" if is_class else "regression", slices=("all",))
    check_duplicates(x, standard)
    probe = plan_probe(task, "all", standard, settings)
    if len(probe.units):
        print(describe(probe))
    if probe.reason:
        reason = textwrap.shorten(probe.reason, 200, placeholder=" ...")
        raise BrainG3nError(f"{labels}: '{label}' cannot be probed: {reason}.")
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
    predictions = tabulate_predictions(x, probe, reading, settings)
    tables = {"scores": scores, "predictions": predictions, "controls": controls}
    for name, found in tables.items():
        with write_atomically(out / f"{name}.tsv") as beside:
            found.to_csv(beside, sep="\t", index=False, na_rep="n/a")
    with write_atomically(out / "plot.png") as beside:
        plot(probe, reading, scores, beside)
    is_scored = scores["reason"] == ""
    print(scores.loc[is_scored, shown[:5]].round(3).to_string(index=False, na_rep="n/a"))
    for name, reason in scores.loc[~is_scored, ["read_from", "reason"]].drop_duplicates().to_numpy():
        print(f"{name}: n/a, {reason}")
    last = controls.iloc[-1]
    print(f"{last['measure']}: {last['value']:.0f}, expected {last['expected']}: {last['verdict']}")
    print(f"{out}: scores.tsv, predictions.tsv, controls.tsv, plot.png")


def describe(probe) -> str:
    """What is probed: the people of each class, or the range of a number."""
    units = probe.units
    n_people = units["person_id"].nunique()
    if not probe.classes:
        low, high = units["target"].min(), units["target"].max()
        return f"label: {probe.task.key}, a number from {low:g} to {high:g}, {n_people} people"
    people = units.groupby("target")["person_id"].nunique()
    left = f"; left out: {shorten(probe.dropped.split(', '))}" if probe.dropped else ""
    counts = shorten([f"{name} {n}" for name, n in people.items()], 10)
    return f"label: {probe.task.key}, people of each class: {counts}{left}"


def measure_gaps(
    x: np.ndarray, probe, predicted: np.ndarray, settings: ProbeSettings
) -> dict[str, np.ndarray]:
    """Predicted less true (of age, the age gap), and the same less the line that it follows with the true.

    A ridge draws predictions towards the mean, so that the young seem old and the old young. The line of a
    fold is fitted within its training set, on predictions out of fold there: nobody of the fold has a part in
    it (de Lange and Cole 2020).
    """
    from braing3n.probe.solve.ridge import predict_ridge

    pooled, target, fold = (
        probe.pool(x),
        probe.units["target"].to_numpy(float),
        probe.units["fold"].to_numpy(),
    )
    gap = predicted - target
    corrected = np.full(len(gap), np.nan)
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        if not np.ptp(target[train]):
            continue
        inner = predict_ridge(pooled[train], target[train, None], fold[train], settings.ridge_alpha)[:, 0]
        slope, intercept = np.polyfit(target[train], inner - target[train], 1)
        corrected[test] = gap[test] - slope * target[test] - intercept
    return {"gap": gap, "gap_corrected": corrected}


def tabulate_predictions(x: np.ndarray, probe, reading, settings: ProbeSettings) -> pd.DataFrame:
    """One row for each row of the features: person, fold, label, prediction out of fold; gaps of numbers."""
    names = [f"chance_{name}" for name in probe.classes] or ["predicted"]
    found = probe.units[["unit_id", "person_id", "fold", "target"]].rename(columns={"unit_id": "row"})
    found = found.assign(**dict(zip(names, reading.predictions.T, strict=True)))
    if probe.classes:
        return found
    return found.assign(**measure_gaps(x, probe, reading.predictions[:, 0], settings))


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
