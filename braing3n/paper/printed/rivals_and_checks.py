"""Tables of rivals, checks, subgroups and other readouts of the benchmark, short and in full."""

from __future__ import annotations

import math

import pandas as pd

from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_interval, format_number
from braing3n.paper.results import Results, explain_missing, locate
from braing3n.probe.beside.fairness import ATTRIBUTES, MIN_PEOPLE, SUMMARY

_OURS = "mae"
_MEASURES = {"auc": "AUC", "r2": "R2", "r": "r", "mae": "mean absolute error"}
# Of the checks, those that the short table shows; `r`: of numbers, in the same column as the AUC.
_CHECKS = {
    "AUC against shuffled labels": "Shuffled labels, p",
    "r against shuffled labels": "Shuffled labels, p",
    "AUC within sites": "Within sites",
    "AUC at sites left out": "At sites left out",
    "r within cohorts": "Within cohorts",
    "expected calibration error": "Calibration error",
}


def _explain(name: str, title: str, table: str) -> PrintedTable:
    return PrintedTable(name, title, pd.DataFrame([{"Task": explain_missing(table)}]), locate(table))


def _choose(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows on all volumes of everyone."""
    return frame[(frame["slice"] == "all") & (frame["people"] == "everyone")]


def build_rivals(results: Results) -> PrintedTable:
    """Our encoder beside what age and sex, site and scanner, or both say of each task, on all volumes."""
    title = "Ours beside age and sex, site and scanner, on all volumes"
    scores, rivals = results.read("scores"), results.read("rivals")
    if scores is None or rivals is None:
        return _explain("rivals", title, "scores" if scores is None else "rivals")
    ours = _choose(scores)[lambda table: table["encoder"] == _OURS]
    both = pd.concat([ours.assign(rival="ours"), _choose(rivals)])
    both = both[both["metric"].isin(["auc", "r"]) & ~both["task"].str.startswith("control_")]
    cells = {(row.task, row.rival): row for row in both.itertuples()}
    names = list(dict.fromkeys(both["rival"]))
    rows = []
    for task, group in both.groupby("task", sort=False):
        if group["value"].isna().all():
            continue  # a task that nobody could probe stands in Table 6 with its reason
        first = group.iloc[0]
        row = {"Task": first["title"], "Metric": _MEASURES[first["metric"]]}
        row |= {name.capitalize(): _show_rival(cells.get((task, name))) for name in names}
        rows.append(row)
    notes = [
        "The encoders' probe, folds and intervals on other columns: demographics are age and sex, "
        "acquisition site, vendor, field strength and modality; a task's own column is left out.",
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed on all volumes"}])
    return PrintedTable("rivals", title, frame, locate("rivals"), notes)


def _show_rival(row) -> str:
    if row is None:
        return "n/a: not probed"
    return f"n/a: {row.reason}" if row.reason else format_interval(row.value, row.low, row.high)


def build_checks(results: Results) -> PrintedTable:
    """What our scores on all volumes may hide, a row a task."""
    title = "Checks of our scores, all volumes"
    checks = results.read("checks")
    if checks is None:
        return _explain("checks", title, "checks")
    chosen = _choose(checks)
    chosen = chosen[(chosen["encoder"] == _OURS) & chosen["check"].isin(_CHECKS)]
    rows: dict[str, dict[str, str]] = {}
    for check in chosen.itertuples():
        row = rows.setdefault(check.task, {"Task": check.title, **dict.fromkeys(_CHECKS.values(), "-")})
        is_p_value = _CHECKS[check.check].endswith(", p")
        cell = format_number(check.p_value) if is_p_value else _show_check(check)
        row[_CHECKS[check.check]] = cell
    notes = [
        "Within sites: pairs of one site only; sites left out: mean AUC of sites whose people the fit never "
        "saw; within cohorts: r of deviations from the cohort's mean. -: not a check of this task.",
        "Every check, of every encoder, stands at the end of this page.",
    ]
    frame = pd.DataFrame(list(rows.values()) or [{"Task": "n/a: no task could be probed"}])
    return PrintedTable("checks", title, frame, locate("checks"), notes)


def _show_check(row) -> str:
    if not math.isfinite(row.value):
        return f"n/a: {row.note or 'undefined'}"
    return format_interval(row.value, row.low, row.high)


def build_every_check(results: Results) -> PrintedTable:
    """Every check of every encoder, on all volumes of everyone."""
    title = "All checks, all volumes"
    checks = results.read("checks")
    if checks is None:
        return _explain("every_check", title, "checks")
    rows = [
        {
            "Task": row.title,
            "Slice": row.slice,
            "Encoder": row.encoder,
            "Check": f"{row.check}: {row.group}" if row.group else row.check,
            "Value [95 %]": _show_check(row),
            "p": format_number(row.p_value) if math.isfinite(row.p_value) else "-",
            "People": str(row.n_people),
            "Note": row.note,
        }
        for row in _choose(checks).itertuples()
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed"}])
    return PrintedTable("every_check", title, frame, locate("checks"))


def build_fairness_summary(results: Results) -> PrintedTable:
    """The largest difference between subgroups of each task, ours."""
    title = "Largest difference between subgroups, ours, all volumes"
    fairness = results.read("fairness")
    if fairness is None:
        return _explain("fairness_summary", title, "fairness")
    ours = fairness[fairness["encoder"] == _OURS]
    rows = []
    for _, group in ours.groupby("task", sort=False):
        first = group.iloc[0]
        row = {"Task": first["title"], "Metric": _MEASURES[first["metric"]]}
        largest = group[group["group"] == "largest difference"].set_index("attribute")
        for name in ATTRIBUTES:
            row[f"Largest difference{LEVELS}{name}"] = (
                _show_check(largest.loc[name]) if name in largest.index else "n/a: fewer than two groups"
            )
        summary = group[group["group"] == SUMMARY]
        row["Summary"] = _show_check(summary.iloc[0]) if len(summary) else "n/a: no attribute has two groups"
        rows.append(row)
    notes = [
        f"Subgroups of {MIN_PEOPLE} people and more. An interval holds for every pair of subgroups at once; "
        "the task is less fair where it lies above 0. Summary: 1 less the mean over attributes, for errors "
        "as a share of the whole error.",
        "Every subgroup stands at the end of this page.",
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed on all volumes"}])
    return PrintedTable("fairness_summary", title, frame, locate("fairness"), notes)


def build_fairness(results: Results) -> PrintedTable:
    """Every subgroup and spread, ours."""
    title = "All subgroups, ours, all volumes"
    fairness = results.read("fairness")
    if fairness is None:
        return _explain("fairness", title, "fairness")
    rows = [
        {
            "Task": row.title,
            "Metric": _MEASURES[row.metric],
            "Attribute": row.attribute,
            "Group": row.group,
            "Value [95 %]": _show_check(row),
            "People": str(row.n_people),
            "Note": row.note,
        }
        for row in fairness[fairness["encoder"] == _OURS].itertuples()
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no task could be probed on all volumes"}])
    return PrintedTable("fairness", title, frame, locate("fairness"))


def build_readouts(results: Results) -> PrintedTable:
    """Other readouts, each beside the linear probe of the same encoder's mean pool."""
    title = "Other readouts, all volumes"
    readouts = results.read("readouts")
    if readouts is None:
        return _explain("readouts", title, "readouts")
    scores = results.read("scores")
    plain = () if scores is None else _choose(scores).itertuples()
    linear = {(row.encoder, row.task, row.metric): row for row in plain}
    rows = [
        {
            "Task": row.title,
            "Readout": row.readout,
            "Encoder": row.encoder,
            "Metric": _MEASURES[row.metric],
            "Out of fold [95 %]": _show_rival(row),
            "Linear probe [95 %]": _show_rival(linear.get((row.encoder, row.task, row.metric))),
            "People / volumes": f"{row.n_people} / {row.n_volumes}",
            "Note": row.note,
        }
        for row in readouts.itertuples()
    ]
    frame = pd.DataFrame(rows or [{"Task": "n/a: no encoder has features"}])
    return PrintedTable("readouts", title, frame, locate("readouts"))
