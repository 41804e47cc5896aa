"""The dataset card counts people, and says where a class hangs on one place."""

import numpy as np
import pandas as pd
import pytest

from braing3n.contracts import CONTRACTS, write_table
from braing3n.paper.card import build_bias, build_cohorts, build_coverage
from braing3n.paper.results import Results

PEOPLE = [
    # cohort, person, session, modality, dx, sex, age, site
    ("ixi", "p1", "", "T1", "HC", "F", 30.0, "Guys"),
    ("ixi", "p1", "", "T2", "HC", "F", 30.0, "Guys"),
    ("ixi", "p2", "", "T1", "HC", "M", np.nan, "HH"),
    ("adni", "p3", "1", "T1", "AD", "M", 71.0, "901"),
    ("adni", "p3", "2", "T1", "AD", "M", 73.0, "901"),
    ("made_up", "p4", "", "T1", "", "", 16.0, ""),
]


@pytest.fixture
def results(tmp_path):
    """A run with labels alone."""
    names = ("cohort", "person_id", "session_id", "modality", "dx", "sex", "age_years", "site")
    rows = [dict(zip(names, person, strict=True)) for person in PEOPLE]
    for number, row in enumerate(rows):
        row |= {"volume_id": f"v{number}", "group_id": row["person_id"], "split": "train"}
        for name, (kind, _) in CONTRACTS["labels"].items():
            row.setdefault(name, {str: "", float: np.nan}[kind])
    write_table(pd.DataFrame(rows), tmp_path / "manifest" / "labels.parquet", "labels")
    return Results(tmp_path)


def test_cohorts_count_people_and_follow_up_and_tell_their_licence(results):
    table = build_cohorts(results).frame.set_index("Cohort")
    assert table.loc["ixi", ["People", "Followed up", "Volumes", "Sites"]].tolist() == ["2", "0", "3", "2"]
    assert table.loc["adni", ["People", "Followed up", "Age (years)"]].tolist() == ["1", "1", "71-73"]
    assert table.loc["adni", "Licence"] == "ADNI data use agreement"
    assert table.loc["made_up", "Licence"].startswith("n/a: ")


def test_coverage_is_a_share_of_volumes(results):
    table = build_coverage(results).frame.set_index("Field")
    assert table.loc["age_years", ["all", "ixi", "adni"]].tolist() == ["83%", "67%", "100%"]
    assert table.loc["mmse", "all"] == "0%"


def test_a_diagnosis_of_one_site_is_named(results):
    table = build_bias(results)
    counts = table.frame.set_index(["Trait", "Value"])
    assert counts.loc[("sex", "F"), "HC"] == "1"
    assert counts.loc[("age band", "60-74"), "AD"] == "1"
    assert counts.loc[("age band", "unknown"), "HC"] == "1"
    assert counts.loc[("age band", "under 18"), "unknown"] == "1"
    assert counts.loc[("site", "how many"), "HC"] == "2"
    assert "AD comes from one site alone (901): it cannot be told apart from it." in table.notes
    assert not [note for note in table.notes if note.startswith("HC comes from one site")]


def test_without_labels_each_table_says_so(tmp_path):
    for build in (build_cohorts, build_coverage, build_bias):
        assert build(Results(tmp_path)).frame.iloc[0, 0].startswith("n/a: ")
