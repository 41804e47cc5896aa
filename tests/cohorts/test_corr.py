"""CoRR: all sessions, as its fixture prints them, and the ages between the sessions."""

import re

import pytest

from braing3n.cohort import Miniature, load_cohort

from .fixtures import SPECIFICATIONS, read_fixture
from .trees import list_miniature, run_ingest, write_tree

HEAD = "SUBID,SITE,SESSION,SEX,AGE_AT_SCAN_1,HANDEDNESS,RETEST_DESIGN,RETEST_DURATION,RETEST_UNITS\n"
CSV = "CoRR_AggregatedPhenotypicData.csv"


def read(tmp_path, paths, rows, options=None):
    """The records of some paths and rows."""
    write_tree(tmp_path / "raw", list_miniature(Miniature("\n".join(paths))), {CSV: HEAD + rows})
    return run_ingest("corr", tmp_path / "raw", tmp_path, options)


def test_with_all_sessions_the_printed_rows_and_ages_come_out(tmp_path):
    if not SPECIFICATIONS.is_dir():
        pytest.skip("../shared/cohorts is not beside this checkout")
    fixture = read_fixture("corr")
    n_rows, bnu_age, um_age = re.search(
        r"all_sessions: (\d+) rows, BNU_1 ses 2 age [^=]*=([\d.]+), UM ses 2 age ([\d.]*\d)", fixture.prose
    ).groups()
    write_tree(tmp_path / "raw", fixture.files, fixture.tables)
    records = run_ingest("corr", tmp_path / "raw", tmp_path, {"all_sessions": True}).records
    assert len(records) == int(n_rows)
    second = records[records["session_id"] == "2"].set_index("site")
    assert f"{second.loc['BNU_1', 'age_years']:.3f}" == bnu_age
    assert f"{second.loc['UM', 'age_years']:.2f}" == um_age
    assert second.loc["UM", "age_years_source"] == "aggregated:AGE_AT_SCAN_1+RETEST_DURATION"


@pytest.mark.parametrize(
    ("rows", "n_sessions", "ages"),
    [
        ("7,HNU_1,Baseline,1,20,R,2,#,#\n7,HNU_1,Retest_1,1,20,R,2,26.09,w\n", 2, [20, 20.5]),
        ("7,HNU_1,Baseline,1,20,R,1,#,#\n7,HNU_1,Retest_1,1,20,R,1,15,m\n", 2, [20, None]),
        ("7,HNU_1,Baseline,1,20,R,2,#,#\n7,HNU_1,Retest_1,1,20,R,2,3,d\n", 3, [20, None, None]),
        (
            "7,HNU_1,Baseline,1,20,R,2,#,#\n7,HNU_1,Retest_1,1,20,R,2,36.525,d\n"
            "7,HNU_1,Retest_2,1,20,R,2,73.05,d\n",
            3,
            [20, 20.1, 20.2],
        ),
    ],
)
def test_a_later_age_needs_as_many_visits_in_the_table_as_there_are_folders(tmp_path, rows, n_sessions, ages):
    paths = [f"HNU_1/0000007/session_{number + 1}/anat_1/anat.nii.gz" for number in range(n_sessions)]
    records = read(tmp_path, paths, rows, {"all_sessions": True}).records
    found = [None if age != age else round(age, 4) for age in records["age_years"]]
    assert found == ages
    assert [bool(flag) for flag in records["qc_flag"]] == [age is None for age in ages]


def test_the_first_session_with_a_t1_is_taken(tmp_path):
    paths = [
        "IACAS_1/0025468/session_1/rest_1/rest.nii.gz",
        "IACAS_1/0025468/session_2/anat_{1,2}/anat.nii.gz",
        "IACAS_1/0025468/session_3/anat_1/anat.nii.gz",
    ]
    outcome = read(tmp_path, paths, "25468,IACAS,Baseline,2,22.5,Amb,2,#,#\n")
    assert outcome.records["path"].str.endswith("session_2/anat_1/anat.nii.gz").tolist() == [True]
    row = outcome.records.iloc[0]
    assert (row["site"], row["vendor"], row["sex"], row["handedness"]) == ("IACAS", "GE", "M", "A")
    reasons = dict(zip(outcome.left_out["path"].str[-30:], outcome.left_out["reason"], strict=True))
    assert {text.split(";")[0] for text in reasons.values()} == {"a repeat", "a later session"}


def test_the_people_of_nki_2_are_those_of_rockland(tmp_path):
    path = "NKI_2/A00099901/session_1/anat_1/anat.nii.gz"
    (person,) = read(tmp_path, [path], "").records["person_id"]
    assert person == load_cohort("corr").person("A00099901") == "nki/A00099901"


def test_half_an_image_is_left_alone(tmp_path):
    path = "BNU_1/0025913/session_{1,2}/anat_1/anat.nii.gz"
    outcome = read(tmp_path, [path], "", {"all_sessions": True})
    assert outcome.records["session_id"].tolist() == ["1"]
    assert "half an image" in outcome.unused.values()


BIDS_PEOPLE = "participant_id\tsex\tage_at_scan_1\thandedness\tretest_design\n"
BIDS_SESSIONS = "participant_id\tsession_id\tretest_duration\tretest_units\n"


@pytest.mark.parametrize(
    ("site", "tables", "ages"),
    [
        (  # sex and age are the same at all sessions, and so stand in the site's table
            "BMB_1",
            {
                "participants.tsv": f"{BIDS_PEOPLE}0009901\tmale\t25.13\tR\twithin session\n",
                "sub-0009901/sub-0009901_sessions.tsv": (
                    f"{BIDS_SESSIONS}0009901\tses-1\t#\t#\n0009901\tses-2\t10\tminutes\n"
                ),
            },
            [25.13, None],
        ),
        (
            "BNU_1",
            {
                "participants.tsv": "participant_id\thandedness\n0009901\tR\n",
                "sub-0009901/sub-0009901_sessions.tsv": (
                    "participant_id\tsession_id\tsex\tage_at_scan_1\tretest_duration\tretest_units\n"
                    "0009901\tses-1\tmale\t22\t#\t#\n0009901\tses-2\t#\t#\t42\tdays\n"
                ),
            },
            [22, 22.115],
        ),
    ],
)
def test_the_two_tables_of_the_bids_release_are_read(tmp_path, site, tables, ages):
    paths = [f"{site}/sub-0009901/ses-{{1,2}}/anat/sub-0009901_ses-{{1,2}}_run-1_T1w.nii.gz"]
    files = [
        file for file in list_miniature(Miniature("\n".join(paths))) if re.search(r"(ses-\d).*\1", file.path)
    ]
    write_tree(tmp_path / "raw", files, {f"{site}/{name}": text for name, text in tables.items()})
    records = run_ingest("corr", tmp_path / "raw", tmp_path, {"all_sessions": True}).records
    assert records["sex"].tolist() == ["M", "M"]
    assert records["handedness"].tolist() == ["R", "R"]
    assert [None if age != age else round(age, 3) for age in records["age_years"]] == ages
    assert [bool(flag) for flag in records["qc_flag"]] == [age is None for age in ages]
