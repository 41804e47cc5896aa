"""Diagnoses, ages and metadata: what is absent is n/a with N and the place it would come from."""

import numpy as np

from braing3n.paper.card.coverage import build_ages, build_coverage, build_diseases, build_diseases_by_cohort
from braing3n.paper.results import Results


def test_diseases_stand_beside_the_papers_and_an_absent_one_says_where_it_would_come_from(results):
    table = build_diseases(results).frame.set_index("Diagnosis")
    assert table.loc["AD"].tolist() == ["1", "2", "1,458"]
    assert table.loc["HC", ["People", "Volumes | ours"]].tolist() == ["3", "4"]
    assert table.loc["SCZ", "People"] == "n/a: no SCZ (N = 0); in the paper it comes from SCHIZO"
    home = "n/a: no MCI (N = 0); in the paper it comes from ADNI (in this run, without it), OASIS-1, OASIS-2"
    assert table.loc["MCI", "Volumes | ours"] == home
    assert table.loc["unknown"].tolist() == ["1", "1", "1,198"]
    assert len(table) == 11


def test_a_person_whose_diagnosis_changes_counts_in_each(make_results):
    people = [{"cohort": "adni", "person_id": "p", "session_id": dx, "dx": dx} for dx in ("MCI", "AD")]
    table = build_diseases(make_results(people)).frame.set_index("Diagnosis")
    assert table.loc[["MCI", "AD"], "People"].tolist() == ["1", "1"]


def test_a_diagnosis_beyond_the_papers_has_its_row(make_results):
    table = build_diseases(make_results([{"cohort": "mine", "person_id": "p", "dx": "MS"}])).frame
    row = table.set_index("Diagnosis").loc["MS"]
    assert row.tolist() == ["1", "1", "n/a: not a diagnosis of the paper"]


def test_diagnoses_by_cohort_tell_people_and_volumes(results):
    table = build_diseases_by_cohort(results).frame.set_index("Cohort")
    assert table.loc["adni", ["HC", "AD", "unknown"]].tolist() == ["1 / 1", "1 / 2", "-"]
    assert table.loc["ixi", ["HC", "AD"]].tolist() == ["2 / 3", "-"]
    assert table.loc["made_up", "unknown"] == "1 / 1"
    assert table.loc["ixi", "PD"].startswith("n/a: nobody of this run has the diagnosis (N = 0)")


def test_coverage_is_a_share_of_volumes_beside_the_papers(results):
    table = build_coverage(results).frame.set_index("Field")
    assert table.loc["age_years", ["All | ours", "All | people", "All | paper"]].tolist() == [
        "86%",
        "4",
        "90%",
    ]
    assert table.loc["age_years", ["ixi", "adni"]].tolist() == ["67%", "100%"]
    assert table.loc["race", ["All | ours", "All | people"]].tolist() == ["0%", "0"]
    assert table.loc["vendor", "All | paper"] == "n/a: the paper does not give it"


def test_coverage_within_a_diagnosis_leaves_the_others_out(make_results):
    people = [
        {"cohort": "adni", "person_id": "p1", "dx": "AD", "mmse": 20.0},
        {"cohort": "adni", "person_id": "p2", "dx": "MCI", "mmse": np.nan},
        {"cohort": "ixi", "person_id": "p3", "dx": "HC"},
    ]
    table = build_coverage(make_results(people)).frame.set_index("Field")
    assert table.loc["mmse", "All | ours"] == "33%"
    assert table.loc["mmse (AD, MCI)", ["All | ours", "All | paper", "adni"]].tolist() == [
        "50%",
        "99%",
        "50%",
    ]
    assert table.loc["mmse (AD, MCI)", "ixi"] == "n/a: no volume of AD or MCI (N = 0)"
    assert table.loc["grade (GBM, Glioma)", "All | ours"] == "n/a: no volume of GBM or Glioma (N = 0)"


def test_ages_are_of_people_at_their_first_visit(results):
    table = build_ages(results).frame.set_index(["Cohort", "Diagnosis"])
    assert table.loc[("adni", "all"), ["People", "With age", "Range"]].tolist() == ["2", "2", "71.0-80.0"]
    assert table.loc[("adni", "AD"), ["People", "Mean (SD)"]].tolist() == ["1", "71.0 (-)"]
    assert table.loc[("ixi", "all"), ["People", "With age"]].tolist() == ["2", "1"]
    assert table.loc[("all", "all"), ["People", "Range"]].tolist() == ["5", "16.0-80.0"]
    assert ("ixi", "HC") not in table.index, "one diagnosis alone is not listed twice"


def test_without_ages_and_diagnoses_the_tables_still_stand(make_results):
    results = make_results([{"cohort": "ixi", "person_id": "p"}])
    assert build_ages(results).frame["Range"].tolist() == ["n/a: no age is known (N = 0)"] * 2
    frame = build_diseases(results).frame.set_index("Diagnosis")
    assert frame["People"].drop("unknown").str.startswith("n/a: ").all()
    assert frame.loc["unknown", "People"] == "1"


def test_without_labels_each_table_says_so(tmp_path):
    for build in (build_diseases, build_diseases_by_cohort, build_coverage, build_ages):
        assert build(Results(tmp_path)).frame.iloc[0, 0] == "n/a: this run has no manifest/labels.parquet"
