"""Controls of the benchmark: random labels, a disease that is only a site, and head size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.compare import count_units, score_reading
from braing3n.probe.folds import assign_folds
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import Probe, plan_probe, plan_probes
from braing3n.probe.scores import count_wins
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve import predict_ridge
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
            rows.append(_match_sites(probe, probe.pool(features), labels, settings))
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


def _match_sites(probe, x, labels, settings) -> dict:
    """AUC over pairs of a case and a control of one site, held against labels shuffled within sites.

    Few people share a site, so halves of them would give a wide interval. This one is the value less
    the 95 % range, about 0.5, of the same statistic over labels shuffled within sites: it holds 0.5
    where a permutation test does not reject. The probe is a least-squares one, which takes all
    shufflings in one solve.
    """
    is_case = (probe.units["target"] == "case").to_numpy()
    site = probe.units["unit_id"].map(labels.set_index("volume_id")["site"]).to_numpy()
    is_mixed = pd.Series(is_case).groupby(site).transform("nunique").to_numpy() == 2
    is_matched = is_mixed & (site != "")
    units = probe.units[is_matched]
    row = {**_BLANK, "control": probe.task.key, "measure": "site-matched AUC"}
    row |= {"expected": "interval contains 0.5", "n_people": int(units["person_id"].nunique())}
    row |= {"n_volumes": len(units), **_count_cases(units)}
    if not is_matched.any():
        return {**row, "note": "no site has cases and controls"}
    y = _shuffle_within_sites(probe.units["person_id"].to_numpy(), site, is_case, settings)
    aucs = _score_within_sites(x, y, site, probe.units["group_id"], is_matched, settings)
    value, (low, high) = aucs[0], np.nanpercentile(aucs[1:] - 0.5, [2.5, 97.5])
    low, high = max(0.0, value - high), min(1.0, value - low)
    row |= {"value": float(value), "low": low, "high": high, "verdict": _judge(low, high, row["expected"])}
    note = f"pairs within a site and a test fold; {settings.n_permutations} shufflings within sites"
    return {**row, "note": note}


def _shuffle_within_sites(people, site, is_case, settings) -> np.ndarray:
    """Labels +-1 of each unit, (n_units, 1 + n_permutations): as given, then shuffled by person in a site."""
    rng = np.random.default_rng(settings.seed)
    y = np.repeat(np.where(is_case, 1.0, -1.0)[:, None], 1 + settings.n_permutations, axis=1)
    for name in np.unique(site):
        rows = np.flatnonzero(site == name)
        _, first, person = np.unique(people[rows], return_index=True, return_inverse=True)
        given = y[rows[first], 0]
        for k in range(settings.n_permutations):
            y[rows, 1 + k] = rng.permutation(given)[person]
    return y


def _score_within_sites(x, y, site, groups: pd.Series, is_matched, settings) -> np.ndarray:
    """For each column of y, the AUC over pairs within a site and a test fold, over repeated deals of folds.

    Folds are stratified by site alone, so that shuffled labels are dealt like the given ones.
    """
    wins, n_pairs = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for repeat in track(range(settings.n_matched_repeats), "site-matched decoy"):
        folds = assign_folds(
            pd.Series(site), groups, "classification", settings.n_folds, settings.seed + repeat
        )
        scores = predict_ridge(x, y, folds, settings.ridge_alpha)
        for fold in np.unique(folds):
            test = folds == fold
            for name in np.unique(site[test & is_matched]):
                rows = test & (site == name)
                counts = count_wins(scores[rows], y[rows] > 0)
                wins, n_pairs = wins + counts[0], n_pairs + counts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / n_pairs


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
