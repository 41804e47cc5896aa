"""The benchmark's tables take each number from its own row: metric, slice, people and encoder."""

import numpy as np
import pandas as pd
import pytest

from braing3n.paper.printed.benchmark import build_controls, build_encoders, build_scores, build_table_6
from braing3n.paper.printed.rivals_and_checks import (
    build_checks,
    build_every_check,
    build_fairness,
    build_fairness_summary,
    build_rivals,
)
from braing3n.paper.results import Results
from braing3n.probe.contracts import CHECKS, CONTROLS, DIFFERENCES, FAIRNESS, RIVALS, SCORES

BLANKS = {str: "", int: 0, float: np.nan}
AGE = {"task": "age", "title": "Brain age", "encoder": "mae", "source": "paper"}
# Of each number another value, so that a cell says which row it came from.
METRICS = {"r2": 0.5, "mae": 6.0, "r": 0.7}
SLICES = {"all": 0.0, "T1": 0.01}
PEOPLE = {"everyone": 0.0, "unseen": 0.1}
ENCODERS = {"untrained": -0.2, "mae": 0.0}


def list_scores():
    for encoder, a in ENCODERS.items():
        for people, b in PEOPLE.items():
            for name, c in SLICES.items():
                for metric, value in METRICS.items():
                    number = value + a + b + c
                    row = {**AGE, "encoder": encoder, "people": people, "slice": name, "metric": metric}
                    row |= {"value": number, "low": number - 0.05, "high": number + 0.05, "n_people": 3}
                    yield row | {"fold_mean": number + 0.001, "fold_sd": 0.002, "n_volumes": 4}


def list_tables():
    """The contracts of all tables and their rows."""
    whole = {**AGE, "slice": "all", "people": "everyone"}
    difference = {**whole, "other": "untrained", "metric": "r"}
    corrected = {"low_corrected": -0.05, "high_corrected": 0.55}
    differences = [difference | {"difference": 0.2, "low": 0.1, "high": 0.3} | corrected]
    none = dict.fromkeys(corrected, np.nan)
    differences.append(difference | {"people": "unseen", "difference": 0.4, "low": 0.35, "high": 0.45} | none)
    controls = [
        {"control": "control_head_size", "measure": "Pearson r", "value": 0.1, "verdict": "met"},
        {"control": "control_decoy", "measure": "pooled AUC", "value": 0.4, "verdict": "not met"},
    ]
    counts = {"n_people": 3, "n_volumes": 4, "n_cases": 1, "n_controls": 2}
    check = {**whole, "check": "r within cohorts", "value": 0.6}
    others = [{"people": "unseen", "value": 0.1}, {"slice": "T1", "value": 0.2}]
    others.append({"encoder": "untrained", "value": 0.3})
    gap = {**whole, "metric": "mae", "attribute": "sex", "group": "largest difference", "value": 2.0}
    groups = [gap, {**gap, "group": "standard deviation", "value": 1.0}, {**gap, "encoder": "untrained"}]
    rival = {**whole, "rival": "demographics", "metric": "r"}
    return (
        (SCORES, list(list_scores())),
        (DIFFERENCES, differences),
        (CONTROLS, [row | counts for row in controls]),
        (CHECKS, [check, *(check | other for other in others)]),
        (FAIRNESS, groups),
        (RIVALS, [{**rival, "slice": "T1", "value": 0.1}, rival | {"value": 0.2}]),
    )


@pytest.fixture
def results(tmp_path):
    for contract, rows in list_tables():
        blank = {name: BLANKS[kind] for name, (kind, _) in contract.items()}
        path = tmp_path / "run" / "probe" / f"{contract.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([{**blank, **row} for row in rows])[list(contract)].to_parquet(path)
    return Results(tmp_path / "run")


def find(table, name):
    (row,) = table.frame[table.frame.iloc[:, 0].str.startswith(name)].to_dict("records")
    return row


def test_table_6_has_the_r2_of_numbers(results):
    row = find(build_table_6(results), "Brain age (R2)")
    assert row["all | ours"] == "0.501 ± 0.002 (n 3/4)"
    assert row["T1 | ours"] == "0.511 ± 0.002 (n 3/4)"
    assert row["all | ours, unseen people"] == "0.601 ± 0.002 (n 3/4)"
    assert row["T2 | ours"] == "n/a: not probed"


def test_encoders_are_compared_on_all_volumes_of_the_same_people(results):
    table = build_encoders(results)
    rows = {(row["Whom"], row["Metric"]): row for row in table.frame.to_dict("records")}
    assert set(rows) == {(people, metric) for people in PEOPLE for metric in ("MAE", "r")}
    assert rows["everyone", "r"]["Score | mae"] == "0.700 [0.650, 0.750]"
    assert rows["everyone", "r"]["Ours minus | untrained"] == "0.200 [0.100, 0.300]"
    assert rows["unseen", "r"]["Ours minus | untrained"] == "0.400 [0.350, 0.450]"
    assert rows["everyone", "MAE"]["Ours minus | untrained"] == "n/a: no difference"


def test_the_interval_for_all_comparisons_at_once_stands_beside_the_difference(results):
    rows = {(row["Whom"], row["Metric"]): row for row in build_encoders(results).frame.to_dict("records")}
    assert rows["everyone", "r"]["At once | untrained"] == "[-0.050, 0.550]"
    assert rows["unseen", "r"]["At once | untrained"] == "-"  # not of the family that is corrected
    assert rows["everyone", "MAE"]["At once | untrained"] == "-"


def test_every_score_has_its_people_and_volumes(results):
    frame = build_scores(results).frame
    assert len(frame) == len(ENCODERS) * len(PEOPLE) * len(SLICES) * len(METRICS)
    assert set(frame["People"]) == {"3"}
    assert set(frame["Volumes"]) == {"4"}


def test_a_control_that_is_not_met_is_said(results):
    table = build_controls(results)
    assert (find(table, "head size")["Verdict"], find(table, "decoy")["Verdict"]) == ("met", "not met")
    assert find(table, "decoy")["Cases / controls"] == "1 / 2"


def test_checks_and_rivals_are_ours_on_all_volumes_of_everyone(results):
    assert find(build_checks(results), "Brain age")["Within cohorts"] == "0.600"
    assert sorted(build_every_check(results).frame["Value [95 %]"]) == ["0.300", "0.600"]
    row = find(build_rivals(results), "Brain age")
    assert (row["Ours"], row["Demographics"]) == ("0.700 [0.650, 0.750]", "0.200")


def test_the_largest_difference_is_ours_and_no_deviation(results):
    row = find(build_fairness_summary(results), "Brain age")
    assert row["Largest difference | sex"] == "2.000"
    assert list(build_fairness(results).frame["Value [95 %]"]) == ["2.000", "1.000"]
