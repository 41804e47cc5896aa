"""ABIDE-II: what its fixture leaves open of sessions, repeats, memory and the BIDS release."""

import pytest

from braing3n.cohort import load_cohort

from .trees import list_miniature, run_ingest, write_tree

ABIDE2 = load_cohort("abide2")
COMPOSITE = "ABIDEII_Composite_Phenotypic.csv"


def read(tmp_path, paths, options=None, tables=None):
    """The records of some paths below a raw folder."""
    write_tree(tmp_path / "raw", list_miniature(type(ABIDE2.miniature)("\n".join(paths))), tables or {})
    return run_ingest("abide2", tmp_path / "raw", tmp_path, options)


def test_a_table_in_windows_latin_gives_the_same_records(tmp_path):
    miniature = ABIDE2.miniature
    write_tree(tmp_path / "raw", list_miniature(miniature), miniature.tables)
    plain = run_ingest("abide2", tmp_path / "raw", tmp_path / "plain").records
    text = miniature.tables[COMPOSITE].encode("cp1252")
    assert b"\xe9" in text
    (tmp_path / "raw" / COMPOSITE).write_bytes(text)
    assert run_ingest("abide2", tmp_path / "raw", tmp_path / "latin").records.equals(plain)


def test_a_follow_up_is_the_person_of_abide1(tmp_path):
    records = read(tmp_path, ["ABIDEII-UPSM_Long/59907/followup_1/anat_1/anat.nii.gz"]).records
    assert records["person_id"].tolist() == ["abide/59907"] == [load_cohort("abide1").person("0059907")]


@pytest.mark.parametrize(
    ("options", "runs"), [({}, ["1", "2"]), ({"include_hires": False}, [""]), ({"all_repeats": False}, [""])]
)
def test_the_ordinary_t1_comes_first_and_both_are_kept(tmp_path, options, runs):
    paths = [
        f"ABIDEII-UCLA_1/39903/session_1/{name}.nii.gz" for name in ("anat_1/anat", "anat_hires_1/anat_hires")
    ]
    outcome = read(tmp_path, paths, options)
    assert outcome.records["run"].tolist() == runs
    assert outcome.records["path"].iloc[0].endswith("/anat.nii.gz")
    assert len(outcome.left_out) == 2 - len(runs)


def test_the_session_with_the_wrong_number_is_the_first(tmp_path):
    path = "ABIDEII-ONRC_2/{28682,28683}/session_2/anat_1/anat.nii.gz"
    records = read(tmp_path, [path]).records
    assert records["session_id"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("site", "vendor", "field_t", "bare_vendor", "bare_field_t"),
    [
        ("ETH_1", "Philips", 3.0, "Philips", None),
        ("SU_2", "GE", 3.0, "", None),
        ("U_MIA_1", "GE", 3.0, "", None),
        ("KKI_1", "Philips", 3.0, "Philips", 3.0),
        ("IP_1", "Philips", 1.5, "Philips", 1.5),
    ],
)
def test_what_is_remembered_can_be_forgotten(tmp_path, site, vendor, field_t, bare_vendor, bare_field_t):
    path = f"ABIDEII-{site}/39905/session_1/anat_1/anat.nii.gz"
    row = read(tmp_path / "with", [path]).records.iloc[0]
    assert (row["vendor"], row["field_strength_t"]) == (vendor, field_t)
    row = read(tmp_path / "without", [path], {"has_remembered_scanners": False}).records.iloc[0]
    assert row["vendor"] == bare_vendor
    assert row["field_strength_t"] == bare_field_t or (
        bare_field_t is None and row.isna()["field_strength_t"]
    )


def test_the_bids_release_has_coils_and_a_misspelt_table(tmp_path):
    stem = "ABIDEII-KKI_1/sub-39902/ses-1/anat/sub-39902_ses-1"
    paths = [f"{stem}_acq-RC{n}Chan_run-1_T1w.nii.gz" for n in (8, 32)]
    text = "participant_id\tdx_group\tage_at_scan \tsex\n39902\tControl\t9.5\tMale\n"
    records = read(tmp_path, paths, tables={"ABIDEII-KKI_1/particpiants.tsv": text}).records
    assert records["run"].tolist() == ["1", "2"]
    assert set(records[["age_years", "sex", "dx", "site"]].itertuples(index=False, name=None)) == {
        (9.5, "M", "HC", "ABIDEII-KKI_1")
    }


def test_the_tables_name_of_a_site_has_its_scanner(tmp_path):
    (row,) = read(tmp_path, ["ABIDEII-OILH_2/39905/session_1/anat_1/anat.nii.gz"]).records.to_dict("records")
    assert (row["site"], row["vendor"], row["field_strength_t"]) == ("ABIDEII-ONRC_2", "Siemens", 3.0)
