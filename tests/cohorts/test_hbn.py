"""HBN's rules that its printed fixture does not show: names of T1, the exports, the charts, handedness."""

from functools import partial
from pathlib import Path

import pytest

from .fixtures import RawFile
from .reading import read_record
from .trees import run_ingest, write_tree

FACTS = {"subject": "NDARZZ001AA1", "session": "1", "site": "RU", "image": "sub-NDARZZ001AA1_acq-HCP_T1w"}
LORIS = """\
Identifiers,"Basic_Demos,Sex","MRI_Track,Age_at_Scan","EHQ,EHQ_Total","PreInt_Demos_Fam,Child_Race",\
"PreInt_Demos_Fam,Child_Ethnicity","Diagnosis_ClinicianConsensus,DX_01"
,Sex of the child,Age,Total,Race,Ethnicity,Diagnosis
"NDARZZ001AA1,assessment",0,9.9,-55,8,1,ADHD-Combined Type
"""
ORDER = ("", "_acq-HCP", "_acq-HCP_run-01", "_acq-VNavNorm", "_acq-HCP_run-02", "_acq-VNav", "_acq-XYZ")
read = partial(read_record, "hbn")


@pytest.mark.parametrize("number", range(len(ORDER) - 1))
def test_the_preference_of_names(tmp_path, number):
    folder = "Site-CBIC/sub-NDARZZ003CC3/anat/sub-NDARZZ003CC3"
    files = [RawFile(f"{folder}{name}_T1w.nii.gz") for name in ORDER[number:]]
    write_tree(tmp_path / "raw", files, {})
    (path,) = run_ingest("hbn", tmp_path / "raw", tmp_path).records["path"]
    assert path.endswith(f"CC3{ORDER[number]}_T1w.nii.gz")


def test_sites_of_folders_releases_and_sessions(tmp_path):
    paths = (
        "release6/CBIC/sub-NDARZZ001AA1/anat/sub-NDARZZ001AA1_acq-HCP_T1w.nii.gz",
        "sub-NDARZZ002BB2/ses-HBNsiteSI/anat/sub-NDARZZ002BB2_ses-HBNsiteSI_T1w.nii.gz",
        "sub-NDARZZ003CC3/ses-HBNsiteRU/anat/sub-NDARZZ003CC3_ses-HBNsiteRU_acq-HCPVARIANTDim1Size_T1w.nii.gz",
        "sub-NDARZZ003CC3/ses-HBNsiteSI/anat/sub-NDARZZ003CC3_ses-HBNsiteSI_T1w.nii.gz",
        "sub-NDARZZ04DD4/anat/sub-NDARZZ04DD4_T1w.nii.gz",
    )
    write_tree(tmp_path / "raw", [RawFile(path) for path in paths], {})
    outcome = run_ingest("hbn", tmp_path / "raw", tmp_path)
    assert outcome.records["site"].tolist() == ["HBN-CBIC", "HBN-SI", "HBN-RU", ""]
    assert outcome.records["field_strength_t"].tolist()[:3] == [3.0, 1.5, 3.0]
    assert [Path(path).name for path in outcome.left_out["path"]] == [Path(paths[3]).name]
    assert "1.5 T" in outcome.left_out["reason"].iloc[0]


def test_the_age_at_the_scan_wins_and_the_second_line_of_an_export_is_no_row(tmp_path):
    participants = "participant_id,Sex,Age,EHQ_Total\nsub-NDARZZ001AA1,1,9.4,n/a\n"
    record = read(tmp_path, {"any name.csv": LORIS, "participants.tsv": participants}, FACTS)
    assert (record["age_years"], record["age_years_source"]) == (9.9, "loris:MRI_Track,Age_at_Scan")
    assert (record["sex"], record["sex_source"]) == ("F", "participants:Sex")
    assert (record["handedness"], record["race"], record["ethnicity"]) == ("L", "More than one", "Hispanic")
    assert (record["dx"], record["dx_detail"]) == ("Paediatric", "ADHD-Combined Type")


def test_coins_exports(tmp_path):
    tables = {
        "9994_Basic_Demos_20220818.csv": "EID,Sex,Age\nlabel,Sex,Age\nNDARZZ001AA1,1,9.4\n",
        "9994_ConsensusDx_20220818.csv": "EID,DX_01\nNDARZZ001AA1,No Diagnosis Given\n",
    }
    record = read(tmp_path, tables, FACTS)
    assert (record["age_years"], record["sex"], record["dx_detail"]) == (9.4, "F", "No Diagnosis Given")


def test_the_latest_release_counts(tmp_path):
    head = "EID,Sex,Age,EHQ_Total\n"
    tables = {
        f"HBN_{name}_Pheno.csv": f"{head}NDARZZ001AA1 ,1,{age},0\n"
        for name, age in (("R1_1", 9.1), ("R11", 9.3), ("R9", 9.2))
    }
    assert read(tmp_path, tables, FACTS)["age_years"] == 9.3


@pytest.mark.parametrize(
    ("score", "cut", "hand"),
    [("40", "40", "A"), ("40.1", "40", "R"), ("-40.1", "40", "L"), ("-40.1", "60", "A"), ("n/a", "40", "")],
)
def test_the_cut_of_handedness(tmp_path, score, cut, hand):
    table = f"participant_id\tSex\tAge\tEHQ_Total\nsub-NDARZZ001AA1\t1\t9\t{score}\n"
    assert read(tmp_path, {"participants.tsv": table}, FACTS, handedness_cut=cut)["handedness"] == hand


def test_the_charts_fill_what_is_missing(tmp_path):
    table = "participant_id\tage\tsex\tethnicity\trace\thandedness\tparticipant_education\n"
    table += "sub-NDARZZ001AA1\t8.5\tOther\tnot Hispanic or Latino\tOther\tRight\t3rd Grade\n"
    record = read(tmp_path, {"study-HBN_desc-participants.tsv": table}, FACTS)
    assert (record["age_years"], record["sex"], record["handedness"]) == (8.5, "", "R")
    assert (record["race"], record["education_years"], record["qc_flag"]) == ("Other", 3.0, "")
