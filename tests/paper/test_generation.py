"""The generator's figures: shown with their claims, and a page that says what was not learned."""

import pandas as pd
import pytest

from braing3n.control.contracts import JUDGED
from braing3n.core.contracts import write_table
from braing3n.paper.page import render_page
from braing3n.paper.printed.generation import build_judged, list_unlearned
from braing3n.paper.results import Results

COUNTS = {"n_samples": 24, "n_people": 30, "n_volumes": 33}
BLANK = {"arm": "", "low": float("nan"), "high": float("nan"), "reference": float("nan"), "note": ""} | COUNTS


@pytest.fixture
def make_run(tmp_path):
    """A function: the age's r and an arm's diversity -> a run that holds them."""

    def make(r, ratio, verdicts):
        rows = [
            {
                "measure": "age",
                "value": r,
                "low": -0.2,
                "high": 0.9,
                "reference": 0.812,
                "expected": "at least 0.7",
            },
            {"measure": "sex", "value": 0.875, "low": 0.6, "high": 0.97, "reference": 0.9, "expected": "any"},
            {"measure": "diversity", "arm": "sex-F", "value": ratio, "expected": "at least 0.7"},
            {"measure": "diversity", "arm": "age-30", "value": float("nan"), "expected": "at least 0.7"}
            | {"note": "fewer than two samples or two real people"},
        ]
        verdicts = [verdicts[0], "n/a", verdicts[1], "n/a"]
        rows = [{**BLANK, **row, "verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True)]
        write_table(pd.DataFrame(rows), tmp_path / "demo/control/judged.parquet", JUDGED)
        return Results(tmp_path / "demo")

    return make


def test_requested_against_read_stands_beside_held_out_people_and_the_claim(make_run):
    frame = build_judged(make_run(0.8215, 0.914, ("met", "met"))).frame
    age, sex, diverse, absent = frame.to_dict("records")
    assert age["Samples [95 %]"] == "0.822 [-0.200, 0.900]"
    assert (age["Held-out real volumes"], age["Claim"], age["Verdict"]) == ("0.812", "at least 0.7", "met")
    assert (sex["Samples [95 %]"].split()[0], sex["Verdict"]) == ("0.875", "-")
    assert (diverse["Arm"], diverse["Samples [95 %]"], diverse["Held-out real volumes"]) == (
        "sex-F",
        "0.914",
        "-",
    )
    assert absent["Samples [95 %]"] == "n/a: fewer than two samples or two real people"
    assert absent["Verdict"] == "n/a: not measured"


def test_the_page_warns_of_a_generator_that_learned_nothing(make_run):
    results = make_run(0.1234, 0.315, ("not met", "not met"))
    first, second = list_unlearned(results)
    assert "age: r of requested and read is 0.12; the claim is at least 0.7" in first
    assert "0.32 (sex-F)" in second
    page = render_page(results, {"Generation": [build_judged(results)]})
    assert page.count("<div class='warning'>The generator has not learned this") == 2
    assert page.count("not met") >= 2


def test_the_page_warns_of_nothing_where_all_was_met_or_nothing_measured(make_run, tmp_path):
    assert list_unlearned(make_run(0.9, 0.9, ("met", "met"))) == []
    assert list_unlearned(Results(tmp_path)) == []
    assert "n/a: this run has no control/judged.parquet" in build_judged(Results(tmp_path)).frame.iloc[0, 0]
