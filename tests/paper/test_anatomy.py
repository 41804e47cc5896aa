"""Tables of anatomy: what lies outside is marked, reliable volumes are counted, gaps have reasons."""

import numpy as np
import pandas as pd
import pytest

from braing3n.fidelity.anatomy.compare import AGES
from braing3n.fidelity.contracts import ANATOMY
from braing3n.paper.printed.anatomy import build_anatomy, build_anatomy_by_age, build_anatomy_of_others
from braing3n.paper.results import Results

BLANK = {name: 0 if kind in (int, float) else "" for name, (kind, _) in ANATOMY.items()}
BLANK |= {"arm": "Sex F (T1)", "tool": "braing3n", "comparison": "gen-vs-real", "quantity": "Hedges' g"}
INSIDE = {"value": 0.3, "value_low": -0.1, "value_high": 0.7, "floor_low": -0.4, "floor_high": 0.5}
OUTSIDE = INSIDE | {"value": -1.25, "value_low": -1.6, "value_high": -0.9}
COUNTS = {"n_first": 14, "n_first_left_out": 2, "n_second": 31, "n_floor_people": 14, "n_others": 17}


@pytest.fixture
def write(tmp_path):
    def write(rows):
        (tmp_path / "fidelity").mkdir()
        pd.DataFrame([BLANK | row for row in rows]).to_parquet(tmp_path / "fidelity/anatomy.parquet")
        return Results(tmp_path)

    return write


def test_what_lies_outside_real_people_is_marked(write):
    rows = [{"volume": "csf", **INSIDE, **COUNTS}, {"volume": "ventricles", **OUTSIDE, **COUNTS}]
    rows.append({"volume": "cortex", **OUTSIDE, **COUNTS, "floor_reason": "few people"})
    frame = build_anatomy(write(rows)).frame.set_index(["Arm", "Comparison"])
    assert len(frame) == 13 * 3
    row = frame.loc[("Sex F (T1)", "gen-vs-real")]
    assert row["CSF | Hedges' g"] == "0.30 [-0.10, 0.70]"
    assert row["CSF | real people"] == "[-0.40, 0.50] (n 14/17)"
    assert row["Ventricles | Hedges' g"] == "-1.25 [-1.60, -0.90] *"
    assert row["Cortex | Hedges' g"] == "-1.25 [-1.60, -0.90]"  # nothing to lie outside of
    assert row["Cortex | real people"] == "n/a: few people"
    assert row["Medial temporal | Hedges' g"] == "n/a: arm not measured"
    assert row["Reliable"] == "14 of 16, 31 of 31"


def test_a_reason_stands_in_every_cell_but_the_count(write):
    row = {"volume": "csf", "reason": "1 of 8 samples", "value": np.nan, "n_first": 1, "n_first_left_out": 7}
    row = (
        build_anatomy(write([row])).frame.set_index(["Arm", "Comparison"]).loc[("Sex F (T1)", "gen-vs-real")]
    )
    assert row["CSF | Hedges' g"] == row["CSF | real people"] == "n/a: 1 of 8 samples"
    assert row["Reliable"] == "1 of 8, 0 of 0"


def test_slopes_of_all_three_sets_stand_beside_each_other(write):
    ages = {"arm": AGES, "quantity": "ml a year", "volume": "ventricles", **COUNTS}
    parts = {
        "first": 0.1,
        "first_low": -0.1,
        "first_high": 0.3,
        "second": 0.4,
        "second_low": 0.3,
        "second_high": 0.5,
    }
    rows = [ages | parts | OUTSIDE, ages | parts | INSIDE | {"comparison": "gen-vs-recons", "second": 0.35}]
    row = build_anatomy_by_age(write(rows)).frame.set_index("Volume").loc["Ventricles"]
    assert row["ml a year | samples, age asked for"] == "0.10 [-0.10, 0.30]"
    assert row["ml a year | real people"] == "0.40 [0.30, 0.50]"
    assert row["ml a year | reconstructions"] == "0.35 [0.30, 0.50]"
    assert row["samples less real people | ml a year"].endswith("*")
    assert not row["samples less reconstructions | ml a year"].endswith("*")


def test_another_tool_has_its_own_table(write, tmp_path):
    tool = {"tool": "SynthSeg", "volume": "hippocampus", **OUTSIDE, **COUNTS}
    agreement = {
        "tool": "SynthSeg",
        "arm": "",
        "comparison": "real",
        "quantity": "r with ours",
        "volume": "csf",
    }
    results = write([tool, agreement | {"value": 0.9, "value_low": 0.8, "value_high": 0.95}])
    frame = build_anatomy_of_others(results).frame
    assert frame["Value"].tolist() == ["-1.25 [-1.60, -0.90] *", "0.90 [0.80, 0.95]"]
    assert frame["Arm"].tolist() == ["Sex F (T1)", "all"]
    shown = build_anatomy(results).frame
    assert (shown["CSF | Hedges' g"] == "n/a: arm not measured").all(), "it is not ours"


def test_without_results_the_tables_say_so(tmp_path):
    for build in (build_anatomy, build_anatomy_by_age, build_anatomy_of_others):
        frame = build(Results(tmp_path)).frame
        assert (frame.iloc[0].str.startswith("n/a: this run has no fidelity/anatomy.parquet")).any()


def test_no_table_of_a_tool_is_one_row(write):
    frame = build_anatomy_of_others(write([{"volume": "csf", **INSIDE}])).frame
    assert frame["Tool"].tolist() == ["n/a: no table of another tool is named (fidelity.measured)"]
