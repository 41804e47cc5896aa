"""The benchmark's tables: Table 6, the encoders side by side, every score, and the controls."""

from __future__ import annotations

import math

import pandas as pd

from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_interval
from braing3n.paper.published import LOST, read_published
from braing3n.paper.results import Results, explain_missing
from braing3n.probe.tasks import PAPER_TASKS, SLICES

_OURS = "mae"
_OURS_BY_PEOPLE = {"everyone": f"{LEVELS}ours", "unseen": f"{LEVELS}ours, unseen people"}
_SHOWN = {"auc": "AUC", "r2": "R2", "mae": "MAE", "r": "r"}


def build_table_6(results: Results) -> PrintedTable:
    """The paper's 23 tasks by slice, ours (mean and deviation over folds) beside the paper's; then others."""
    scores, published = results.read("scores"), read_published()["table_6"]
    ours = (
        None
        if scores is None
        else scores[(scores["encoder"] == _OURS) & scores["metric"].isin(["auc", "r2"])]
    )
    if ours is not None:
        ours = ours.set_index(["task", "slice", "people"])
    rows = []
    for task in PAPER_TASKS:
        row = {"Task": task.title if task.kind == "classification" else f"{task.title} (R2)"}
        cells = published[task.key]
        for k, name in enumerate(SLICES):
            row |= _format_cells(ours, task.key, name, name in task.slices)
            row[f"{name}{LEVELS}paper"] = LOST if cells == LOST else cells[k]
        rows.append(row)
    if ours is not None:
        extra = ours[ours["source"] != "paper"].reset_index()
        for key, title in extra.drop_duplicates("task")[["task", "title"]].itertuples(index=False):
            slices = set(extra.loc[extra["task"] == key, "slice"])
            row = {"Task": title}
            for name in SLICES:
                row |= _format_cells(ours, key, name, name in slices)
                row[f"{name}{LEVELS}paper"] = "-"
            rows.append(row)
    notes = [
        "Ours: mean ± standard deviation over folds (n people/volumes). Classes: macro one-vs-rest AUC; "
        "numbers: R2.",
        "Unseen people: those of the validation and test splits, on whom no model is trained; the probe is "
        "fitted and tested on them alone, in folds of their own.",
        "-: not reported for this slice. lost: the copy of the paper's text has lost cells of this row.",
        "8-way, 19-way and so on are the paper's; which classes ours has and which were dropped for few "
        "people stands in the table of all scores, with intervals, MAE and r.",
    ]
    title = "Table 6. The 23 tasks by slice, our encoder"
    return PrintedTable("table_6", title, pd.DataFrame(rows), "probe/scores.parquet", notes)


def _format_cells(ours: pd.DataFrame | None, task: str, name: str, is_probed: bool) -> dict[str, str]:
    """Our two cells of a task and slice: everyone, and unseen people."""
    return {
        f"{name}{title}": _format_cell(ours, (task, name, people)) if is_probed else "-"
        for people, title in _OURS_BY_PEOPLE.items()
    }


def _format_cell(ours: pd.DataFrame | None, key: tuple[str, str, str]) -> str:
    if ours is None:
        return explain_missing("scores")
    if key not in ours.index:
        return "n/a: not probed"
    row = ours.loc[key]
    if row["reason"]:
        return f"n/a: {row['reason']}"
    return f"{row['fold_mean']:.3f} ± {row['fold_sd']:.3f} (n {row['n_people']}/{row['n_volumes']})"


def build_scores(results: Results) -> PrintedTable:
    """Every score of every encoder that could be fitted, with its interval, numbers and notes."""
    scores = results.read("scores")
    title = "All scores, out of fold, with 95 % intervals"
    if scores is None:
        frame = pd.DataFrame([{"Task": explain_missing("scores")}])
        return PrintedTable("scores", title, frame, "probe/scores.parquet")
    rows = [
        {
            "Task": row.title,
            "Slice": row.slice,
            "Whom": row.people,
            "Encoder": row.encoder,
            "Metric": _SHOWN[row.metric],
            "Out of fold [95 %]": format_interval(row.value, row.low, row.high),
            "Over folds": f"{row.fold_mean:.3f} ± {row.fold_sd:.3f}",
            "People": str(row.n_people),
            "Volumes": str(row.n_volumes),
            "Classes": row.classes,
            "Dropped": row.dropped,
            "Note": row.note,
        }
        for row in scores[scores["reason"] == ""].itertuples()
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed"}])
    return PrintedTable("scores", title, frame, "probe/scores.parquet")


def build_encoders(results: Results) -> PrintedTable:
    """Encoders side by side on all volumes, and ours minus each other one, in pairs."""
    scores, differences = results.read("scores"), results.read("differences")
    title = "Encoders on the same folds, all volumes, with 95 % intervals"
    source = "probe/differences.parquet"
    if scores is None or differences is None:
        missing = "scores" if scores is None else "differences"
        return PrintedTable("encoders", title, pd.DataFrame([{"Task": explain_missing(missing)}]), source)
    chosen = scores[(scores["slice"] == "all") & (scores["reason"] == "") & (scores["metric"] != "r2")]
    differences = differences[differences["slice"] == "all"].set_index(["other", "task", "metric", "people"])
    rows = []
    for (people, task, metric), group in chosen.groupby(["people", "task", "metric"], sort=False):
        first = group.iloc[0]
        row = {
            "Task": first["title"],
            "Whom": people,
            "Metric": _SHOWN[metric],
            "People / volumes": f"{first['n_people']} / {first['n_volumes']}",
        }
        for score in group.itertuples():
            row[f"Score{LEVELS}{score.encoder}"] = format_interval(score.value, score.low, score.high)
        for other in [name for name in group["encoder"] if name != _OURS]:
            key = (other, task, metric, people)
            cell = "n/a: no difference"
            if key in differences.index:
                found = differences.loc[key]
                cell = format_interval(found["difference"], found["low"], found["high"])
            row[f"Ours minus{LEVELS}{other}"] = cell
        for other in [name for name in group["encoder"] if name != _OURS]:
            row[f"At once{LEVELS}{other}"] = _format_corrected(differences, (other, task, metric, people))
        rows.append(row)
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed on all volumes"}]).fillna(
        "n/a: not probed"
    )
    notes = [
        "mae: our encoder, the mean of its tokens; untrained: the same net before training; "
        "untrained_flattened: all its tokens, PCA in the fold; patches: mean and deviation over raw patches, "
        "no network; voxels: PCA in the fold; histogram: intensities only.",
        "MAE (mean absolute error) is better when lower, so that there a negative difference favours ours.",
        "Intervals come from the whole probe repeated on halves of the people, for differences on the same "
        "halves for both encoders.",
        "At once: the interval of the difference that holds for the paper's tasks and all encoders together "
        "(Bonferroni); -: none, or not one of these.",
        "Unseen: only people of the validation and test splits, on whom no model is trained.",
        *_list_absent(scores),
    ]
    return PrintedTable("encoders", title, frame, source, notes)


def _format_corrected(differences: pd.DataFrame, key: tuple[str, str, str, str]) -> str:
    """The interval of a difference that holds for all tasks and encoders at once; - outside that family."""
    if key not in differences.index:
        return "-"
    low, high = differences.loc[key][["low_corrected", "high_corrected"]]
    return f"[{low:.3f}, {high:.3f}]" if math.isfinite(low) else "-"


def _list_absent(scores: pd.DataFrame) -> list[str]:
    """A sentence an encoder that has no score on any task although others have, with its reason."""
    is_probed = scores.groupby(["task", "slice", "people"])["value"].transform("count") > 0
    asked = scores[is_probed].groupby("encoder", sort=False)
    return [f"{name}: n/a: {rows['reason'].iloc[0]}" for name, rows in asked if rows["value"].isna().all()]


def build_controls(results: Results) -> PrintedTable:
    """The controls: random labels as one count, the decoy, head size."""
    controls = results.read("controls")
    title, source = "Controls", "probe/controls.parquet"
    if controls is None:
        return PrintedTable(
            "controls", title, pd.DataFrame([{"Control": explain_missing("controls")}]), source
        )
    rows = []
    for row in controls[~controls["control"].str.startswith("random label ")].itertuples():
        is_count = row.measure.startswith("labels of")
        value = f"{row.value:.0f}" if is_count else format_interval(row.value, row.low, row.high)
        rows.append(
            {
                "Control": row.control.removeprefix("control_").replace("_", " "),
                "Measure": row.measure,
                "Value [95 %]": value if math.isfinite(row.value) else f"n/a: {row.note}",
                "People / volumes": f"{row.n_people} / {row.n_volumes}",
                "Cases / controls": f"{row.n_cases} / {row.n_controls}",
                "Expected": row.expected,
                "Verdict": row.verdict if math.isfinite(row.value) else "n/a: not measured",
                "Note": row.note,
            }
        )
    return PrintedTable("controls", title, pd.DataFrame(rows), source)
