"""Controls of the benchmark: random labels, a disease that is only a site, and head size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.beside.matched import match_sites
from braing3n.probe.compare import count_units, score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import Probe, plan_probe, plan_probes
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import Task

_BLANK = {
    **dict.fromkeys(["value", "low", "high"], float("nan")),
    **dict.fromkeys(["n_people", "n_volumes", "n_cases", "n_controls"], 0),
    "verdict": "n/a",
    "note": "",
}
_HALVES = (("case", ("case",)), ("control", ("control",)))


def run_controls(features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings) -> pd.DataFrame:
    """Every control of one encoder: its value, its interval, what was expected, and whether it was met.

    Each is planned, fitted, scored and given its interval as any task is; features are (n_volumes, F).
    """
    rows = list(_probe_random_labels(features, labels, settings))
    for probe in plan_probes(labels, settings, "control"):
        if probe.reason:
            rows.append(_measure(probe, "", features, settings, "", "any"))
        elif probe.task.kind == "classification":
            rows.append(_measure(probe, "auc", features, settings, "pooled AUC", "interval above 0.5"))
            rows.append(_match_decoy(probe, features, labels, settings))
        else:
            rows.extend(_probe_planted_number(probe, features, labels, settings))
    return pd.DataFrame(rows)


def _measure(probe: Probe, metric: str, features, settings, measure: str, expected: str) -> dict:
    """One row: a metric of the probe, and whether its interval is where it was expected."""
    row = {**_BLANK, "control": probe.task.key, "measure": measure, "expected": expected}
    row |= count_units(probe)
    if probe.reason:
        return {**row, "note": probe.reason}
    if probe.classes:
        row |= _count_cases(probe.units)
    scores, _ = score_reading(probe, read_probe(features, probe, settings), settings)
    found = next(score for score in scores if score["metric"] == metric)
    row |= {name: found[name] for name in ("value", "low", "high", "note")}
    return {**row, "verdict": _judge(found["low"], found["high"], expected)}


def _judge(low: float, high: float, expected: str) -> str:
    """The verdict on an interval: `interval above x`, `interval below x` or `interval contains x`."""
    if expected == "reported" or not np.isfinite([low, high]).all():
        return "n/a"
    _, relation, bound = expected.split()
    x = float(bound)
    is_met = {"above": low > x, "below": high < x, "contains": low <= x <= high}[relation]
    return "met" if is_met else "not met"


def _count_cases(units: pd.DataFrame) -> dict[str, int]:
    n_people = units.groupby("target")["person_id"].nunique()
    return {"n_cases": int(n_people.get("case", 0)), "n_controls": int(n_people.get("control", 0))}


def _probe_random_labels(features, labels, settings) -> Iterator[dict]:
    """Random halves of the people as tasks; of their intervals, 5 % may leave chance."""
    n_labels, rows = settings.n_random_labels, []
    for k, column in track(enumerate(draw_labels(labels, settings)), "random labels", n_labels):
        task = Task(f"random label {k + 1:02d}", "", "random", classes=_HALVES, source="control")
        probe = plan_probe(task, "all", labels.assign(random=column), settings)
        rows.append(_measure(probe, "auc", features, settings, "AUC", "interval contains 0.5"))
    yield from rows
    row = {**_BLANK, "control": "random labels", "measure": f"labels of {n_labels} whose interval misses 0.5"}
    row["expected"] = "5 % of the labels"
    judged = [item for item in rows if item["verdict"] != "n/a"]
    if not judged:
        reason = rows[0]["note"] if rows else "none asked for (probe.n_random_labels is 0)"
        yield {**row, "note": reason}
        return
    row |= {name: judged[0][name] for name in ("n_people", "n_volumes", "n_cases", "n_controls")}
    n_outside = sum(item["verdict"] == "not met" for item in judged)
    low, high = allow_outside(len(judged))
    note = "the interval is the central 95 % of the binomial law of that count"
    row |= {"value": float(n_outside), "low": float(low), "high": float(high), "note": note}
    yield {**row, "expected": f"{low} to {high}", "verdict": "met" if low <= n_outside <= high else "not met"}


def draw_labels(labels: pd.DataFrame, settings: ProbeSettings) -> Iterator[np.ndarray]:
    """Columns of labels that say nothing: half of the groups, drawn at random, are cases."""
    rng = np.random.default_rng(settings.seed)
    names, group = np.unique(labels["group_id"].to_numpy().astype(str), return_inverse=True)
    half = np.where(np.arange(len(names)) < len(names) // 2, "case", "control")
    for _ in range(settings.n_random_labels):
        yield rng.permutation(half)[group]


def allow_outside(n_labels: int) -> tuple[int, int]:
    """How few and how many of `n_labels` leave a 95 % interval by chance (2.5th and 97.5th percentile)."""
    from scipy.stats import binom

    return int(binom.ppf(0.025, n_labels, 0.05)), int(binom.ppf(0.975, n_labels, 0.05))


def _match_decoy(probe: Probe, features, labels, settings) -> dict:
    """One row: the decoy's AUC over pairs of one site, which should hold 0.5."""
    row = {**_BLANK, "control": probe.task.key, "measure": "site-matched AUC"}
    expected = "interval contains 0.5"
    found = match_sites(probe, features, labels, settings)
    units = probe.units[found.is_matched]
    row |= {"n_people": int(units["person_id"].nunique()), "n_volumes": len(units), **_count_cases(units)}
    row |= {"value": found.value, "low": found.low, "high": found.high, "note": found.note}
    return {**row, "expected": expected, "verdict": _judge(found.low, found.high, expected)}


def _probe_planted_number(probe: Probe, features, labels, settings) -> Iterator[dict]:
    """A number that preprocessing should take away: r, and the AUC of its upper half as a task of its own.

    Some of it stays, since a larger head is scanned by more voxels; an r of 0.5 is a quarter of its variance.
    """
    key = probe.task.key
    yield _measure(probe, "r", features, settings, "Pearson r", "interval below 0.5")
    number = labels[key].astype(float)
    is_upper = number > number.groupby(labels["person_id"]).first().median()
    column = np.where(is_upper, "case", np.where(number.isna(), "", "control"))
    task = Task(key, "", "is_upper", classes=_HALVES, source="control")
    upper = plan_probe(task, "all", labels.assign(is_upper=column), settings)
    yield _measure(upper, "auc", features, settings, "AUC of the upper half", "reported")
