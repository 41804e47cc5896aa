"""The generator's figures: shown with their claims, and a page that says what was not learned."""

import numpy as np
import pandas as pd
import pytest

from braing3n.control.contracts import CONTROL, COUNTERFACTUALS, GUIDANCE, JUDGED
from braing3n.core.contracts import write_table
from braing3n.longitudinal.contracts import AGEING, CHANGES
from braing3n.paper.page import render_page
from braing3n.paper.printed.generation import (
    build_changes,
    build_counterfactuals,
    build_errors,
    build_judged,
    build_longitudinal,
    build_table_2a,
    build_table_7,
    list_unlearned,
)
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


def fill(contract, rows):
    """Rows with every column of a contract."""
    blank = {str: "", int: 0, float: np.nan}
    return pd.DataFrame([{name: blank[kind] for name, (kind, _) in contract.items()} | row for row in rows])


def test_table_2a_stands_beside_the_papers(tmp_path):
    base = {"reading": "encoder", "metric": "auc"}
    known = {"real": 0.889, "real_low": 0.77, "real_high": 0.97, "n_real": 45, "cond": 1.0, "n_cond": 16}
    known |= {"null": 0.875, "null_low": 0.47, "null_high": 1.0, "n_null": 8, "null_class": "HC"}
    known |= {"prior": 0.719, "n_prior": 57, "agreement": 0.73, "ceiling_reason": "none decoded"}
    pair = base | {"condition": "disease", "task": "HC vs AD"} | known
    rows = [
        pair,
        pair | {"reading": "latent"},
        base | {"condition": "idh1", "task": "wt vs mut", "weights": "balanced", "cond": 0.5, "n_cond": 4},
        base | {"condition": "disease", "task": "HC vs PD", "cond_reason": "0 training people with PD"},
        base
        | {"condition": "age", "task": "30 / 50 / 70 y", "metric": "r", "null": 53.24, "n_null": 8}
        | {"prior": 57.8, "n_prior": 78},
    ]
    write_table(fill(CONTROL, rows), tmp_path / "control/scores.parquet", CONTROL)
    found = build_table_2a(Results(tmp_path)).frame
    first, balanced, absent, age, latent = found.to_dict("records")
    assert first["Real | ours"] == "0.89 [0.77, 0.97] (n 45)"
    assert (first["Real | paper"], first["Cond | paper"]) == ("0.99", "0.99")
    assert first["Null | ours"] == "0.88 [0.47, 1.00] (n 8) HC"
    assert (first["Null | paper"], first["Prior | paper"]) == ("0.92 HC", "0.91 HC")
    assert first["Prior | ours"] == "0.72 HC (n 57)"
    assert first["Ceiling"] == "n/a: none decoded"
    assert (latent["Reading"], latent["Cond | paper"]) == ("latent", "-")
    assert (balanced["Task"], balanced["Cond | paper"]) == ("wt vs mut (balanced probe)", "-")
    assert absent["Cond | ours"] == absent["Prior | ours"] == "n/a: 0 training people with PD"
    assert absent["Cond | paper"] == "0.82"
    assert (age["Null | ours"], age["Prior | ours"], age["Cond | paper"]) == (
        "53.2 (n 8)",
        "57.8 (n 78)",
        "lost",
    )
    assert "no control/scores" in build_table_2a(Results(tmp_path / "none")).frame.iloc[0, 0]


def test_table_7_stands_beside_the_papers_scales(tmp_path):
    tasks = [("disease", "HC vs AD"), ("sex", "F vs M"), ("age", "30 / 50 / 70 y")]
    tasks += [*(("age", f"{age} y") for age in (30, 50, 70)), ("idh1", "wt vs mut")]
    values = [0.5, 0.75, 0.9, 31.0, 49.0, 72.0, 1.0]
    rows = [
        {
            "condition": condition,
            "task": task,
            "value": value,
            "n_samples": 8,
            "n_arms": 2,
            "reading": "encoder",
        }
        | {"guidance": scale, "reason": "no arm" if (scale, condition) == (2.5, "idh1") else ""}
        for scale in (2.0, 2.5)
        for (condition, task), value in zip(tasks, values, strict=True)
    ]
    write_table(fill(GUIDANCE, rows), tmp_path / "control/guidance.parquet", GUIDANCE)
    own, other = build_table_7(Results(tmp_path)).frame.to_dict("records")
    assert (own["Disease (HC vs AD) | ours"], own["Disease (HC vs AD) | paper"]) == ("0.50 (n 2 x 4)", "0.98")
    assert own["Age read at 30 / 50 / 70 y | ours"] == "31.0 / 49.0 / 72.0"
    assert own["Age read at 30 / 50 / 70 y | paper"] == "35.4 / 54.8 / 75.7"
    assert (other["CFG"], other["Sex | paper"], other["IDH1 | ours"]) == ("2.5", "-", "n/a: no arm")
    ageless = [row for row in rows if not row["task"].endswith("0 y") or row["task"].startswith("30 /")]
    write_table(fill(GUIDANCE, ageless), tmp_path / "control/guidance.parquet", GUIDANCE)
    own, _ = build_table_7(Results(tmp_path)).frame.to_dict("records")
    assert own["Age read at 30 / 50 / 70 y | ours"] == "- / - / -"


def test_counterfactuals_stand_beside_changing_nothing(tmp_path):
    rows = [
        {"change": "none", "axiom": "composition", "value": 0.001, "no_change": 0.0, "n_people": 4},
        {"change": "sex", "axiom": "effectiveness", "reason": "no held-out T1", "n_people": 0},
    ]
    write_table(fill(COUNTERFACTUALS, rows), tmp_path / "control/counterfactuals.parquet", COUNTERFACTUALS)
    first, second = build_counterfactuals(Results(tmp_path)).frame.to_dict("records")
    assert (first["Change"], first["Mean [95 %]"], first["Changing nothing"]) == (
        "own conditions",
        "0.001",
        "0.000",
    )
    assert second["Mean [95 %]"] == "n/a: no held-out T1"


def test_forecasts_stand_beside_true_later_visits_and_no_change(tmp_path):
    own = {
        "method": "forecast",
        "guidance": 1.5,
        "n_people": 4,
        "probe_mae_years": 7.262,
        "n_probe_people": 52,
    }
    rows = [
        own | {"quantity": "age change", "years": 2.0, "value": 0.5},
        own | {"quantity": "slope", "value": 0.27, "low": 0.1, "high": 0.4},
        own | {"quantity": "error, volume", "value": 0.17},
        own | {"quantity": "error, volume", "scanner": "other", "reason": "none", "n_people": 0},
        {"method": "true later visit", "quantity": "slope", "value": 0.9, "n_people": 3, "scanner": "same"},
        {"method": "no change", "quantity": "error, volume", "value": 0.12, "n_people": 4},
    ]
    write_table(fill(AGEING, rows), tmp_path / "longitudinal/ageing.parquet", AGEING)
    table = build_longitudinal(Results(tmp_path))
    forecast, true, nothing = table.frame.to_dict("records")
    assert (forecast["CFG"], forecast["Slope"], forecast["Error"]) == ("1.5", "0.27 [0.10, 0.40]", "0.17")
    assert (forecast["Years read after"], forecast["People"]) == ("2 y: +0.50", "4")
    assert (true["Scanner of the later visit"], true["Slope"], true["CFG"]) == ("same", "0.90", "-")
    assert (nothing["Method"], nothing["Error"], nothing["r"]) == ("no change", "0.12", "-")
    assert "recover 27% of true ageing" in table.notes[0]
    assert "on 52 held-out people: 7.26 years" in table.notes[1]


def test_errors_stand_by_region_beside_those_of_no_change(tmp_path):
    own = {"method": "forecast", "guidance": 1.5, "n_people": 4}
    nothing = {"method": "no change", "n_people": 4}
    rows = [
        own | {"quantity": "slope", "value": 0.27},
        own | {"quantity": "error, volume", "value": 0.17},
        own | {"quantity": "error, cortex", "value": 0.2, "low": 0.1, "high": 0.3},
        own | {"quantity": "error, cortex", "value": 0.9, "scanner": "other"},
        nothing | {"quantity": "error, cortex", "value": 0.25},
        nothing | {"quantity": "error, cerebellum", "reason": "outside the models' box"},
    ]
    write_table(fill(AGEING, rows), tmp_path / "longitudinal/ageing.parquet", AGEING)
    forecast, other = build_errors(Results(tmp_path)).frame.to_dict("records")
    assert (forecast["CFG"], forecast["volume"], forecast["cortex"]) == ("1.5", "0.17", "0.20 [0.10, 0.30]")
    assert (forecast["ventricles"], forecast["People"]) == ("-", "4")
    assert (other["Method"], other["CFG"], other["cortex"]) == ("no change", "-", "0.25")
    assert other["cerebellum"] == "n/a: outside the models' box"
    assert build_errors(Results(tmp_path / "none")).frame.iloc[0, 0].startswith("n/a: ")


def test_the_figures_numbers_stand_by_years_with_the_true_later_visit_beside_them(tmp_path):
    base = {"person_id": "p", "disease": "AD", "method": "forecast", "guidance": 1.5, "error": np.nan}
    rows = [base | {"years": years, "change": years / 10} for years in (1.0, 5.0)]
    rows.append(base | {"years": 2.6, "change": 0.3, "error": 0.4})
    rows.append(base | {"method": "true later visit", "guidance": np.nan, "years": 2.6, "change": 0.25})
    rows.append(base | {"person_id": "q", "disease": "HC", "years": 1.0, "change": 0.7})
    write_table(pd.DataFrame(rows), tmp_path / "demo/longitudinal/changes.parquet", CHANGES)
    table = build_changes(Results(tmp_path / "demo"))
    first, true, other = table.frame.to_dict("records")
    assert (first["Person"], first["CFG"], first["1 y"], first["5 y"]) == ("p (AD)", "1.5", "0.100", "0.500")
    assert (first["At the true later visit"], first["From the true later visit"]) == (
        "0.300 (2.6 y)",
        "0.400",
    )
    assert (true["1 y"], true["At the true later visit"]) == ("-", "0.250 (2.6 y)")
    assert (other["1 y"], other["5 y"]) == ("0.700", "-")
    assert other["At the true later visit"] == "n/a: no later visit"
    write_table(pd.DataFrame(rows)[:0], tmp_path / "demo/longitudinal/changes.parquet", CHANGES)
    assert build_changes(Results(tmp_path / "demo")).frame.iloc[0, 0] == "n/a: nobody is forecast"
