"""BGSP's rules that its printed fixture does not show: ids, codes, scanners, which copy is taken."""

from functools import partial

import pytest

from braing3n.core.errors import CohortError

from .fixtures import RawFile
from .reading import read_record
from .trees import run_ingest, write_tree

FACTS = {"subject": "Sub9001", "session": "1", "id": "Sub9001_Ses1"}
SECOND = {"subject": "Sub9001", "session": "2", "id": "Sub9001_Ses2"}
LIST, RETEST = "GSP_list_140630.csv", "GSP_retest_140630.csv"
read = partial(read_record, "bgsp")


@pytest.mark.parametrize("name", ["Sub9001", "Sub9001_S1", "Sub9001_Ses1"])
def test_each_form_of_the_id(tmp_path, name):
    table = f"Subject_ID,Sex,Age_Bin,Hand,Educ\n{name},M,23,LFT,16\n"
    record = read(tmp_path, {"GSP_extended_140630.csv": table}, FACTS)
    assert (record["age_years"], record["sex"], record["handedness"]) == (23.0, "M", "L")
    assert (record["education_years"], record["site"], record["age_precision"]) == (16.0, "GSP", "bin")


@pytest.mark.parametrize(
    ("code", "race", "ethnicity"),
    [
        ("W_NOT_HL", "White", "Not Hispanic"),
        ("Other", "Other", ""),
        ("W_HL", "White", "Hispanic"),
        ("", "", ""),
    ],
)
def test_race_and_ethnicity_are_one_code(tmp_path, code, race, ethnicity):
    record = read(tmp_path, {LIST: f"Subject_ID,Race_Ethn\nSub9001_Ses1,{code}\n"}, FACTS)
    assert (record["race"], record["ethnicity"]) == (race, ethnicity)


def test_a_hand_of_an_unknown_letter_stops_the_ingest(tmp_path):
    assert read(tmp_path, {LIST: "Subject_ID,Hand\nSub9001_Ses1,AMB\n"}, FACTS)["handedness"] == "A"
    with pytest.raises(CohortError, match="'XYZ'"):
        read(tmp_path, {LIST: "Subject_ID,Hand\nSub9001_Ses1,XYZ\n"}, FACTS)


def test_the_age_at_the_second_session(tmp_path):
    people = "Subject_ID,Age_Bin\nSub9001_Ses1,21\n"
    retest = "Subject_ID,Age_Bin,Sex,Delay\nSub9001_Ses1,21,F,0\nSub9001_Ses2,21,F,90\n"
    assert read(tmp_path, {LIST: people, RETEST: retest}, FACTS)["age_years"] == 21.0
    later = read(tmp_path, {RETEST: retest}, SECOND)
    assert later["age_years"] == pytest.approx(21 + 90 / 365.25, abs=1e-4)
    assert later["age_years_source"] == "retest:Age_Bin+Delay"
    without = read(tmp_path, {LIST: people}, SECOND)
    assert without["age_years"] == 21.0
    assert "no Delay" in without["qc_flag"]


def test_a_column_of_scanners_makes_the_sites(tmp_path):
    tables = {LIST: "Subject_ID,Scanner_Bin,Console\nSub9001_Ses1,C,x\n"}
    sites = [
        read(tmp_path, tables, FACTS, **options)["site"]
        for options in ({}, {"scanner_column": "Console"}, {"scanner_column": ""})
    ]
    assert sites == ["GSP-C", "GSP-x", "GSP"]


def test_of_a_session_the_lowest_number_then_the_main_archive(tmp_path):
    paths = (
        "GSP_retest_140630/Sub9001_Ses1/Sub9001_Ses1_Scan_03_ANAT1.nii.gz",
        "z/Sub9001_Ses1/Sub9001_Ses1_Scan_01_ANAT2.nii.gz",
        "z/Sub9001_Ses1/Sub9001_Ses1_Scan_02_ANAT1.nii.gz",
    )
    write_tree(tmp_path / "raw", [RawFile(path) for path in paths], {})
    outcome = run_ingest("bgsp", tmp_path / "raw", tmp_path)
    assert [path.endswith(paths[2]) for path in outcome.records["path"]] == [True]
    reasons = [reason.split(";")[0] for reason in outcome.left_out["reason"]]
    assert reasons == ["of the retest's archive", "a repeat"]
