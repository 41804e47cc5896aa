"""The dataset card counts people, sets found beside expected, and tells terms and exclusions."""

import pytest

from braing3n.paper.card.card import (
    build_cohorts,
    build_counts,
    build_exclusions,
    build_follow_up,
    build_modalities,
    build_scanners,
    build_sites,
    build_terms,
)
from braing3n.paper.results import Results


def test_cohorts_count_people_and_follow_up(results):
    table = build_cohorts(results).frame.set_index("Cohort")
    assert table.loc["ixi", ["People", "Followed up", "Volumes", "Sites"]].tolist() == ["2", "0", "3", "2"]
    assert table.loc["adni", ["People", "Followed up", "Age (years)"]].tolist() == ["2", "1", "71-80"]
    assert table.loc["made_up", "Sites"] == "n/a: no site is known (N = 0)"


def test_terms_are_those_of_the_cohorts_file_and_what_is_not_known_says_so(make_results):
    people = [{"cohort": key, "person_id": key} for key in ("adni", "hbn", "made_up", "mine")]
    mine = {"mine": {"kind": "bids", "reason": "x"}}
    table = build_terms(make_results(people, expected=mine)).frame.set_index("Cohort")
    assert table.loc["adni", ["In this run", "Licence"]].tolist() == ["yes", "ADNI data use agreement"]
    assert table.loc["adni", "Access"] == "n/a: not in the cohort's specification"
    assert "data use agreement" in table.loc["hbn", "Access"]
    assert table.loc["mine", "Licence"] == "as the dataset says", "the kind tells, not the key"
    assert table.loc["made_up", "Licence"].startswith("n/a: ")
    assert table.loc["ppmi", "In this run"] == "no"
    assert len(table) == 20, "two of the paper's 18, two others, and the paper's other 16"


def test_a_cohort_below_its_tolerance_is_warned_of_and_a_miniature_is_not(make_results):
    people = [{"cohort": key, "person_id": f"{key}{n}"} for key in ("ixi", "small") for n in range(9)]
    expected = {
        "ixi": {"kind": "ixi", "reason": "", "volumes": 10, "people": 10},
        "small": {"kind": "adni", "reason": "a miniature"},
    }
    table = build_counts(make_results(people, expected=expected))
    frame = table.frame.set_index("Cohort")
    assert frame.loc["ixi", ["Volumes | found", "Volumes | expected"]].tolist() == ["9", "10"]
    assert frame.loc["ixi", "Within the tolerance"] == "no"
    assert (
        frame.loc["small", ["Volumes | expected", "Within the tolerance"]].tolist()
        == ["n/a: a miniature"] * 2
    )
    assert [note.split(":")[1].strip() for note in table.notes] == ["ixi"]
    table = build_counts(make_results(people, expected=expected, tolerance=0.1))
    assert table.frame.set_index("Cohort").loc["ixi", "Within the tolerance"] == "yes"
    assert table.notes == []


def test_modalities_count_volumes_and_people(results):
    table = build_modalities(results).frame.set_index("Cohort")
    assert table.loc["adni", ["T1", "T1c"]].tolist() == ["3 (2)", "-"]
    assert table.loc["all", ["T1", "T2"]].tolist() == ["6 (5)", "1 (1)"]


@pytest.mark.parametrize(
    ("visits", "span"),
    [
        ([("2010-01-01", 60.0), ("2012-01-01", 60.0)], "2.0 (2.0-2.0), n 1"),
        ([("", 60.0), ("", 63.5)], "3.5 (3.5-3.5), n 1"),
        ([("2010-01-01", 60.0), ("", 61.0)], "1.0 (1.0-1.0), n 1"),
        ([("", 60.0), ("", 60.0)], "n/a: neither dates nor ages give the span (N = 0)"),
    ],
    ids=["dates win", "ages", "one date only", "one age for all visits"],
)
def test_the_span_of_a_follow_up_comes_from_dates_then_ages(make_results, visits, span):
    people = [
        {"cohort": "ixi", "person_id": "p", "session_id": str(n), "scan_date": date, "age_years": age}
        for n, (date, age) in enumerate(visits)
    ]
    row = build_follow_up(make_results(people)).frame.iloc[0]
    assert row["Followed up"] == "1"
    assert row["Visits, median (most)"] == "2 (2)"
    assert row["Span in years, median (range), n"] == span


def test_one_person_in_two_cohorts_is_not_followed_up(make_results):
    people = [{"cohort": key, "person_id": "p", "session_id": key} for key in ("abide1", "abide2")]
    table = build_follow_up(make_results(people))
    assert table.frame["Followed up"].tolist() == ["0", "0"]
    assert table.notes[0] == "All cohorts: 0 of 1 people."


def test_sites_and_scanners_are_counted_in_people(make_results):
    scan = {"cohort": "adni", "site": "901", "vendor": "GE"}
    people = [
        {**scan, "person_id": "p1", "field_strength_t": 1.5},
        {**scan, "person_id": "p1", "field_strength_t": 3.0},
        {**scan, "person_id": "p2", "field_strength_t": 3.0},
        {"cohort": "corr", "person_id": "p3"},
    ]
    results = make_results(people)
    table = build_scanners(results).frame.set_index("Cohort")
    assert table.loc["adni", ["Sites", "Scanners"]].tolist() == ["1 (of 2)", "GE 3 T (2), GE 1.5 T (1)"]
    assert table.loc["corr", "Scanners"] == "n/a: no scanner is known (N = 0)"
    assert build_sites(results).frame.to_numpy().tolist() == [
        ["adni", "901", "GE 1.5 T", "1", "1"],
        ["adni", "901", "GE 3 T", "2", "2"],
        ["corr", "unknown", "unknown", "1", "1"],
    ]


def test_exclusions_are_summed_by_stage_and_reason(results):
    frame = build_exclusions(results).frame
    assert frame.to_numpy().tolist() == [
        ["ingest", "4", "a repeat", "adni 2, ixi 2"],
        ["preprocess", "1", "too small", "adni 1"],
    ]


def test_a_stage_that_leaves_nothing_out_says_so(make_results):
    results = make_results([{"cohort": "ixi", "person_id": "p"}], [("ixi", "preprocess", 1, 1, 0, "")])
    row = build_exclusions(results).frame.iloc[0]
    assert row["Reason"] == "n/a: nothing was left out (N = 0 of 1)"


def test_without_labels_each_table_says_so(tmp_path):
    for build in (build_cohorts, build_modalities, build_follow_up, build_scanners, build_sites):
        assert build(Results(tmp_path)).frame.iloc[0, 0] == "n/a: this run has no manifest/labels.parquet"
    assert build_counts(Results(tmp_path)).frame.iloc[0, 0] == "n/a: this run has no manifest/counts.parquet"
    assert build_exclusions(Results(tmp_path)).frame.iloc[0, 0].startswith("n/a: this run has no manifest/")
    assert set(build_terms(Results(tmp_path)).frame["In this run"]) == {"no"}
