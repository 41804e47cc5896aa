"""SCHIZO's layouts beside each other, the oldest one, who is kept, and what is reported of gaps."""

import csv
import re

import pytest

from .fixtures import read_paths
from .trees import run_ingest, write_tree

STRIPPED = "SCHIZO/A90000001/{T1,T2}.nii.gz\nSCHIZO/A90000002/T1.nii.gz\n"
HEADER = "eid\tstudy\tage\tsex\tdx\n"


def ingest(folder, files, tables, **options):
    """What comes out of these paths and tables."""
    write_tree(folder / "raw", read_paths(files), tables)
    return run_ingest("schizo", folder / "raw", folder, options)


def test_rows_without_images_are_reported(open_case):
    _, fixture, _, outcome = open_case("schizo")
    subjects = {file.path.split("/")[1] for file in fixture.files}
    rows = csv.DictReader(fixture.tables["SCHIZO_metadata.tsv"].splitlines(), delimiter="\t")
    unused = sorted({row["eid"] for row in rows} - subjects)
    said = re.search(r"table 'stripped' have no scan: (.*)$", outcome.printed, re.MULTILINE)[1]
    assert re.findall(r"A\d+", said) == unused == ["A90000004", "A90000005"]


def test_the_stripped_copy_wins_over_the_official_one(open_case, tmp_path):
    stripped, official = open_case("schizo")[1], open_case("schizo_official")[1]
    write_tree(tmp_path / "raw", stripped.files + official.files, stripped.tables | official.tables)
    outcome = run_ingest("schizo", tmp_path / "raw", tmp_path)
    found = list(
        outcome.records[["subject_id", "modality", "is_stripped"]].itertuples(index=False, name=None)
    )
    assert found == [
        ("A90000001", "T1", 1),
        ("A90000001", "T2", 1),
        ("A90000002", "T1", 1),
        ("A90000003", "T1", 0),
        ("A90000004", "T1", 0),
        ("A90000004", "T2", 0),
    ]
    assert sum("official" in reason for reason in outcome.left_out["reason"]) == 3


def test_the_oldest_layout_is_a_series_a_folder(tmp_path):
    series = "study/A90000001/scans/{}/resources/DICOM/files/1.dcm  (+9)\n"
    analyze = "study/A90000002/scans/1-T1/resources/ANALYZE/files/a.{hdr,img}\n"
    metadata = """\
study,subjectid,age,sex,dx,field_strength,maker
MCICShare,A90000001,28,male,Schizoaffective,1.5,SIEMENS
"""
    outcome = ingest(
        tmp_path,
        "".join(map(series.format, ("2-T1_MPR", "3-T1_MPR", "5-T2_TSE", "7-DTI"))) + analyze,
        {"schizconnect_metaData_99001.csv": metadata},
    )
    columns = ["modality", "age_years", "sex", "dx", "study", "vendor", "field_strength_t", "source_format"]
    known = (28, "M", "SCZ", "MCICShare", "Siemens", 1.5, "DICOM")
    records = outcome.records.sort_values("modality")
    assert list(records[columns].itertuples(index=False, name=None)) == [("T1", *known), ("T2", *known)]
    assert "2-T1_MPR" in records["path"].iloc[0]
    assert {text.split(",")[0] for text in outcome.unused.values()} == {"Analyze", "neither T1 nor T2"}


@pytest.mark.parametrize(
    ("level", "dx"),
    [
        ("No_Known_Disorder", "HC"),
        ("Schizophrenia_Strict", "SCZ"),
        ("Schizophrenia_Broad", "SCZ"),
        ("Schizoaffective", "SCZ"),
        ("Bipolar_Disorder", "-BP not kept"),
        ("Sibling_of_No_Known_Disorder", "-Sibling not kept"),
    ],
)
def test_who_is_kept(tmp_path, level, dx):
    table = f"{HEADER}A90000001\tCOBRE\t28\tmale\tNo_Known_Disorder\nA90000002\tCOBRE\t28\tmale\t{level}\n"
    outcome = ingest(tmp_path, STRIPPED, {"SCHIZO_metadata.tsv": table})
    rows = outcome.records[outcome.records["subject_id"] == "A90000002"]
    reasons = [f"-{text}" for text in outcome.left_out["reason"]]
    assert [*rows["dx"], *reasons] == [dx]
    assert set(rows["dx_detail"]) <= {level}


def test_other_studies_and_diagnoses_are_options(tmp_path):
    rows = "A90000001\tNMorphCH\t28\tmale\tNo_Known_Disorder\nA90000002\tCOBRE\t28\tM\tBipolar_Disorder\n"
    tables = {"SCHIZO_metadata.tsv": f"{HEADER}{rows}A90000008\tMCICShare\t33\tF\tSchizophrenia_Broad\n"}
    files = STRIPPED + "SCHIZO/A90000008/T1.nii.gz\n"
    default = ingest(tmp_path / "default", files, tables)
    assert default.records["subject_id"].tolist() == ["A90000008"]
    assert sorted(default.left_out["reason"]) == ["BP not kept", "NMorphCH not kept", "NMorphCH not kept"]
    options = {"studies": ["COBRE", "NMorphCH", "MCICShare"], "keep_dx": ["HC", "SCZ", "BP"]}
    records = ingest(tmp_path / "all", files, tables, **options).records.head(3)
    assert records["dx"].tolist() == ["HC", "HC", "BP"]
    assert records["site"].tolist() == ["NMorphCH", "NMorphCH", "COBRE"]
    assert records["field_strength_t"].fillna(0).tolist() == [0, 0, 3]


def test_a_t2_alone_is_nobody_and_an_echo_alone_is_flagged(tmp_path):
    name = "COBRE/sub-A90000003/ses-{}/anat/sub-A90000003_ses-{}_run-01_echo-0{}_T1w.nii.gz\n"
    files = "".join(name.format(year, year, echo) for year in (2009, 2010) for echo in (2, 1))
    outcome = ingest(
        tmp_path, STRIPPED + "SCHIZO/A90000006/T2.nii.gz\n" + files, {"SCHIZO_metadata.tsv": HEADER}
    )
    row = outcome.records[outcome.records["subject_id"] == "A90000003"].iloc[0]
    assert row["path"].endswith("ses-2009_run-01_echo-01_T1w.nii.gz")
    assert "one of several echoes" in row["qc_flag"]
    reasons = outcome.left_out["reason"].str.partition(";")[0]
    assert sorted(reasons) == ["a later session", "a later session", "an echo", "the person has no T1"]
