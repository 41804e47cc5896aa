"""Table 1 and Appendix F: ours against other encoders, the paper's numbers and counts beside this run's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_interval
from braing3n.paper.published import LOST, read_published
from braing3n.paper.results import Results, explain_missing
from braing3n.probe.tasks import PAPER_TASKS

OURS = "mae"
RIVALS = ("brainiac", "brainsegfounder", "medicalnet")  # the paper's three
TITLES = {
    "brainiac": "BrainIAC",
    "brainsegfounder": "BrainSegFounder",
    "medicalnet": "MedicalNet",
    OURS: "ours",
}
TASKS = {task.key: task for task in PAPER_TASKS}
_RULES = [
    "Highest: the mean over folds, as it is printed, is no worse than that of each of the others, as the "
    "paper counts; equal: the best of the others is as good.",
    "By interval: the 95 % interval of each paired difference lies above 0 (ahead), one lies below it "
    "(behind), or neither (level). For numbers it is that of r, since errors and R2 have none.",
]


class Scores:
    """A run's scores and differences on everyone, by encoder."""

    def __init__(self, scores: pd.DataFrame, differences: pd.DataFrame | None):
        chosen = scores[scores["people"] == "everyone"]
        self.encoders = list(dict.fromkeys(chosen["encoder"]))
        self._rows = chosen.set_index(["encoder", "task", "slice", "metric"]).to_dict("index")
        self._differences = {}
        if differences is not None:
            chosen = differences[differences["people"] == "everyone"]
            self._differences = chosen.set_index(["other", "task", "slice", "metric"]).to_dict("index")

    def list_scored(self) -> list[str]:
        """The encoders that have a score on any task."""
        return list(dict.fromkeys(key[0] for key, row in self._rows.items() if not row["reason"]))

    def explain(self, encoder: str, task: str, name: str, metric: str) -> str:
        """Why there is no score; empty where there is one."""
        if encoder not in self.encoders:
            return f"{encoder} is not among this run's latents.encoders"
        row = self._rows.get((encoder, task, name, metric))
        if row is None:
            return "not probed"
        return row["reason"] or ("" if math.isfinite(row["fold_mean"]) else "undefined")

    def find(self, encoder: str, task: str, name: str, metric: str) -> dict | None:
        """The row of a score; None where there is none."""
        missing = self.explain(encoder, task, name, metric)
        return None if missing else self._rows[encoder, task, name, metric]

    def find_best(self, encoder: str, task: str, slices: Sequence[str], metric: str) -> dict | None:
        """The row of the slice whose mean over folds is best, with its name as `slice`."""
        found = [(name, self.find(encoder, task, name, metric)) for name in slices]
        rows = [{**row, "slice": name} for name, row in found if row is not None]
        sign = -1 if metric == "mae" else 1
        return max(rows, key=lambda row: sign * row["fold_mean"]) if rows else None

    def list_means(self, task: str, slices: Sequence[str], metric: str) -> dict[str, float]:
        """Each encoder's mean over folds, of the best of some slices, rounded as it is printed."""
        found = {encoder: self.find_best(encoder, task, slices, metric) for encoder in self.encoders}
        digits = 2 if metric == "mae" else 3
        return {name: round(float(row["fold_mean"]), digits) for name, row in found.items() if row}

    def judge(self, others: Sequence[str], task: str, name: str) -> str:
        """`ahead`, `level` or `behind`, by the intervals of ours minus each of the others."""
        metric = "auc" if TASKS[task].kind == "classification" else "r"
        found = {other: self._differences.get((other, task, name, metric)) for other in others}
        rows = {other: row for other, row in found.items() if row and math.isfinite(row["low"])}
        if not rows:
            return "n/a: no difference with an interval"
        behind = [other for other, row in rows.items() if row["high"] < 0]
        if behind:
            return f"behind {', '.join(behind)}"
        level = [other for other, row in rows.items() if row["low"] <= 0]
        return f"level with {', '.join(level)}" if level else "ahead"


def rank(ours: float | None, others: dict[str, float], is_error: bool = False) -> str:
    """`yes`, `equal` or `no`, whether ours is as good as the best of the others, all rounded as printed."""
    if ours is None or not others:
        return "n/a: nothing to compare with" if ours is not None else "n/a: ours has no score"
    sign = -1 if is_error else 1
    best = max(others, key=lambda name: sign * others[name])
    gap = sign * (ours - others[best])
    return "yes" if gap > 0 else "equal" if gap == 0 else f"no: {best}"


def read_both(results: Results) -> Scores | None:
    """The run's scores and differences; None where it has none."""
    scores = results.read("scores")
    return None if scores is None else Scores(scores, results.read("differences"))


def build_table_1(results: Results) -> PrintedTable:
    """Eight tasks on one slice each: four encoders, ours of this run beside the paper's."""
    scores, published = read_both(results), read_published()
    order = (*RIVALS, OURS)
    rows = []
    for paper in published["table_1"]:
        task, name, metric = paper["task"], paper["slice"], paper["metric"]
        shown = "AUC" if metric == "auc" else "mean absolute error"
        row = {"Task": f"{TASKS[task].title.split(' (')[0]} ({name}), {shown}"}
        for encoder in order:
            row[f"{TITLES[encoder]}{LEVELS}this run"] = _show(scores, encoder, task, name, metric)
            row[f"{TITLES[encoder]}{LEVELS}paper"] = paper[encoder].replace(" ", " ± ")
        means = {encoder: float(paper[encoder].split()[0]) for encoder in order}
        row |= _compare(scores, task, name, (name,), metric)
        row[f"Highest{LEVELS}paper"] = rank(means.pop(OURS), means, metric == "mae")
        rows.append(row)
    frame = _count(pd.DataFrame(rows), "Tasks")
    notes = [
        "Mean ± standard deviation over folds.",
        *_RULES,
        f"The paper counts {published['counts']['table_1']}: all but modality, where it is equal.",
        *_list_weights(results, scores),
        f"BrainIAC's brain-age error on T1 is the paper's check of its protocol: {_compare_age(scores)}",
    ]
    title = "Table 1. Ours against published encoders, eight tasks"
    return PrintedTable("table_1", title, frame, "probe/scores.parquet", notes)


def _list_weights(results: Results, scores: Scores | None) -> list[str]:
    """One note with the digests of others' weights; none where the run has no such weights."""
    found = {name: results.read_weights(name) for name in (scores.encoders if scores else [])}
    listed = "; ".join(f"{TITLES.get(name, name)} {digest}" for name, digest in found.items() if digest)
    return [f"Weights of others by sha256: {listed}."] if listed else []


def _show(scores: Scores | None, encoder: str, task: str, name: str, metric: str) -> str:
    if scores is None:
        return explain_missing("scores")
    row = scores.find(encoder, task, name, metric)
    if row is None:
        return f"n/a: {scores.explain(encoder, task, name, metric)}"
    digits = 2 if metric == "mae" else 3
    return f"{row['fold_mean']:.{digits}f} ± {row['fold_sd']:.{digits}f}"


def _compare_age(scores: Scores | None) -> str:
    theirs = read_published()["counts"]["brainiac_age_error"]
    paper = next(row for row in read_published()["table_1"] if row["task"] == "age")["brainiac"]
    found = _show(scores, "brainiac", "age", "T1", "mae")
    return f"{paper.replace(' ', ' ± ')} years in the paper, {theirs} as BrainIAC published it; here {found}."


def _compare(
    scores: Scores | None, task: str, name: str, slices: Sequence[str], metric: str
) -> dict[str, str]:
    """Cells of both rules, against the paper's three and against every other encoder of the run.

    Means over folds are of the best of some slices, intervals of the slice `name`.
    """
    row = {}
    means = {} if scores is None else scores.list_means(task, slices, metric)
    ours = means.pop(OURS, None)
    for title, chosen in (("published three", RIVALS), ("all encoders", tuple(means))):
        if scores is None:
            row[f"Highest{LEVELS}{title}"] = row[f"By interval{LEVELS}{title}"] = explain_missing("scores")
            continue
        others = {encoder: mean for encoder, mean in means.items() if encoder in chosen}
        row[f"Highest{LEVELS}{title}"] = rank(ours, others, metric == "mae")
        row[f"By interval{LEVELS}{title}"] = scores.judge(tuple(others), task, name)
    return row


def _count(frame: pd.DataFrame, title: str) -> pd.DataFrame:
    """With a last row: of how many tasks that could be compared each rule says yes, equal or ahead."""
    total = dict.fromkeys(frame.columns, "")
    total["Task"] = title
    for column in frame.columns:
        if column.startswith(("Highest", "By interval")):
            cells = [cell for cell in frame[column] if not cell.startswith("n/a")]
            words = ("yes", "equal") if column.startswith("Highest") else ("ahead", "level", "behind")
            counts = [f"{word} {sum(cell.startswith(word) for cell in cells)}" for word in words]
            total[column] = f"{', '.join(counts)} of {len(cells)}"
    return pd.concat([frame, pd.DataFrame([total])], ignore_index=True)


def build_appendix_f(results: Results) -> PrintedTable:
    """All 23 tasks: each encoder's best slice, as in the paper, and the slice of all volumes beside it."""
    scores, published = read_both(results), read_published()
    others = [] if scores is None else [e for e in scores.encoders if e not in (OURS, *RIVALS)]
    not_won = published["counts"]["not_won"]
    rows = []
    for task in PAPER_TASKS:
        metric = "auc" if task.kind == "classification" else "r2"
        row = {"Task": task.title if task.kind == "classification" else f"{task.title} (R2)"}
        for encoder in (OURS, *RIVALS, *others):
            best, fixed = _show_slices(scores, encoder, task.key, metric)
            row[f"{TITLES.get(encoder, encoder)}{LEVELS}best slice"] = best
            row[f"{TITLES.get(encoder, encoder)}{LEVELS}all volumes"] = fixed
        row[f"Paper{LEVELS}ours, best slice"] = _find_published(published["table_6"][task.key])
        row |= _compare(scores, task.key, "all", task.slices, metric)
        row[f"Highest{LEVELS}paper"] = "no" if task.key in not_won else "yes"
        rows.append(row)
    notes = [
        "Best slice: the highest mean over folds of up to six slices, as the paper's bars show it. It is "
        "optimistic: the slice is chosen by the score that it is reported with, for each encoder another. "
        "All volumes: one slice for all encoders, chosen before any score is seen, with its interval (for "
        "numbers r and its interval).",
        *_RULES,
        "Highest compares best slices, By interval all volumes.",
        f"The paper counts {published['counts']['appendix_f']}, equal ones included; its bars are a picture, "
        "so that the others' numbers are lost, and ours are the best cells of its Table 6.",
    ]
    title = "Appendix F. Ours against published encoders, all 23 tasks"
    return PrintedTable(
        "appendix_f", title, _count(pd.DataFrame(rows), "Tasks"), "probe/scores.parquet", notes
    )


def _show_slices(scores: Scores | None, encoder: str, task: str, metric: str) -> tuple[str, str]:
    """Cells of an encoder's best slice, and of all volumes with the interval."""
    if scores is None:
        return (explain_missing("scores"),) * 2
    best = scores.find_best(encoder, task, TASKS[task].slices, metric)
    if best is None:
        return (f"n/a: {scores.explain(encoder, task, 'all', metric)}",) * 2
    row = scores.find(encoder, task, "all", "r" if metric == "r2" else metric)
    fixed = format_interval(row["value"], row["low"], row["high"]) if row else "n/a: not probed"
    return f"{best['fold_mean']:.3f} ({best['slice']})", fixed


def _find_published(cells: list[str] | str) -> str:
    """The best of the paper's cells of a task in Table 6."""
    return LOST if cells == LOST else max(cell for cell in cells if cell != "-")
