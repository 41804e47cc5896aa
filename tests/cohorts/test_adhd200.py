"""ADHD-200: handedness as a score, the tables' order of precedence, and further sessions."""

import pytest

from braing3n.cohort import Miniature

from .trees import list_miniature, run_ingest, write_tree

HEAD = "ScanDir ID,Site,Gender,Age,Handedness,DX\n"


def read(tmp_path, paths, tables, options=None):
    """The outcome of some paths and tables."""
    write_tree(tmp_path / "raw", list_miniature(Miniature("\n".join(paths))), tables)
    return run_ingest("adhd200", tmp_path / "raw", tmp_path, options)


@pytest.mark.parametrize(
    ("site", "cell", "hand"),
    [
        ("NYU", "0.65", "R"),
        ("NYU", "-0.4", "L"),
        ("NYU", "1", "R"),
        ("NYU", "0", ""),
        ("NYU", "3", ""),
        ("NYU", "L", "L"),
        ("NYU", "-999", ""),
        ("OHSU", "0", "L"),
        ("OHSU", "1", "R"),
        ("OHSU", "2", "A"),
        ("OHSU", "N/A", ""),
    ],
)
def test_the_hand_is_a_code_but_at_one_site_a_score(tmp_path, site, cell, hand):
    tables = {f"{site}_phenotypic.csv": f"{HEAD}1999009,5,1,10.5,{cell},0\n"}
    row = read(tmp_path, [f"{site}/1999009/session_1/anat_1/mprage.nii.gz"], tables).records.iloc[0]
    assert row["handedness"] == hand


@pytest.mark.parametrize(
    ("diagnoses", "dx", "source"),
    [
        ({"fix": 1, "site": 0, "test": 0}, "ADHD", "fix:DX"),
        ({"site": 0, "test": 1}, "HC", "site:DX"),
        ({"site": "pending", "test": 3}, "ADHD", "test:DX"),
        ({"site": "pending", "test": "pending", "preprocessed": 2}, "ADHD", "preprocessed:DX"),
        ({"site": -999}, "", ""),
    ],
)
def test_corrections_beat_the_sites_and_the_released_diagnoses_fill(tmp_path, diagnoses, dx, source):
    names = {
        "fix": "ADHD-200.PhenotypicFix.csv",
        "site": "OHSU_phenotypic.csv",
        "test": "allSubs_testSet_phenotypic_dx.csv",
        "preprocessed": "adhd200_preprocessed_phenotypics.tsv",
    }
    tables = {names[name]: f"{HEAD}19907,6,1,10.5,1,{code}\n" for name, code in diagnoses.items()}
    row = read(tmp_path, ["OHSU/0019907/session_1/anat_1/mprage.nii.gz"], tables).records.iloc[0]
    assert (row["dx"], row["dx_source"], row["sex"]) == (dx, source, "M")


@pytest.mark.parametrize(
    ("options", "volumes"),
    [({}, [("1", "")]), ({"all_repeats": True}, [("1", "1"), ("1", "2"), ("2", "")])],
)
def test_one_scan_a_person_or_all(tmp_path, options, volumes):
    paths = [
        "WashU/0019904/session_1/anat_{1,2}/mprage.nii.gz",
        "WashU/0019904/session_2/anat_1/mprage.nii.gz",
        "athena/wssd0019904_session_1_anat.nii.gz",
    ]
    outcome = read(tmp_path, paths, {}, options)
    assert list(outcome.records[["session_id", "run"]].itertuples(index=False, name=None)) == volumes
    assert outcome.unused[(tmp_path / "raw" / paths[2]).as_posix()] == "of a preprocessed release"


def test_the_bids_release_is_read_and_its_first_acquisition_taken(tmp_path):
    stem = "Peking_3/sub-1999008/ses-{1,2}/anat/sub-1999008_ses-1"
    paths = [f"{stem}_acq-{number}_run-1_T1w.nii.gz" for number in (2, 1)]
    records = read(tmp_path, paths, {"Peking_3/participants.tsv": "participant_id\n1999008\n"}).records
    (path,) = records["path"]
    assert path.endswith("ses-1/anat/sub-1999008_ses-1_acq-1_run-1_T1w.nii.gz")


@pytest.mark.parametrize(
    ("site", "vendor", "field_t"),
    [("NeuroIMAGE", "Siemens", 1.5), ("KKI", "Philips", 3), ("Brown", "Siemens", 3)],
)
def test_the_scanner_is_that_of_the_site(tmp_path, site, vendor, field_t):
    path = f"{site}_part1/1999008/session_1/anat_1/mprage.nii.gz"
    row = read(tmp_path / "a", [path], {}).records.iloc[0]
    assert (row["site"], row["vendor"], row["field_strength_t"]) == (site, vendor, field_t)
    bare = read(tmp_path / "b", [path], {}, {"kki_field_strength_t": ""}).records.iloc[0]
    assert bare.isna()["field_strength_t"] == (site == "KKI")


def test_the_bids_releases_own_table_is_read_where_no_other_has_the_person(tmp_path):
    paths = [
        f"Peking_3/sub-{n}/ses-1/anat/sub-{n}_ses-1_acq-1_T1w.nii.gz" for n in (1999007, 1999008, 1999009)
    ]
    row = "{}\tMale\t12.67\tRight\t{}\n"
    diagnoses = {1999007: "Typically Developing Children", 1999008: "ADHD-Inattentive", 1999009: "pending"}
    rows = "".join(row.format(*item) for item in diagnoses.items())
    table = f"participant_id\tgender\tage\thandedness\tdx\n{rows}{row.format(1999007, diagnoses[1999007])}"
    records = read(tmp_path, paths, {"Peking_3/participants.tsv": table}).records
    assert records["dx"].tolist() == ["HC", "ADHD", ""]
    assert records["dx_detail"].tolist() == ["", "inattentive", ""]
    assert set(records[["sex", "handedness", "age_years"]].itertuples(index=False, name=None)) == {
        ("M", "R", 12.67)
    }
