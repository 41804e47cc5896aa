"""NKI-RS 2's rules that its printed fixture does not show: which T1 is taken, whose age counts."""

from pathlib import Path

import pytest

from .fixtures import RawFile
from .reading import read_record
from .trees import run_ingest, write_tree

FACTS = {"subject": "A00099901", "visit": "MRI1", "image": "sub-A00099901_ses-MRI1_T1w"}
OLD = {"nki_rs_participants.tsv": "participant_id\tage\tsex\thandedness\nA00099901\t31.0\tFEMALE\tRIGHT\n"}


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("_acq-mp2_T1w", "_run-2_T1w", "_run-1_T1w"), "_run-1_T1w"),
        (("_T1w", "_rec-norm_T1w"), "_rec-norm_T1w"),
        (("_part-mag_T1w", "_part-phase_T1w"), "_part-mag_T1w"),
        (("_echo-1_T1w", "_echo-2_T1w", "_T1w"), "_T1w"),
        (("_echo-1_T1w", "_echo-2_T1w"), ""),
    ],
)
def test_one_t1_of_a_session(tmp_path, names, taken):
    folder = "sub-A00099951/ses-MRI1/anat/sub-A00099951_ses-MRI1"
    files = ["sub-A00099952/anat/sub-A00099952_T1w.nii.gz", *(f"{folder}{name}.nii.gz" for name in names)]
    write_tree(tmp_path / "raw", [RawFile(file) for file in files], {})
    outcome = run_ingest("nki_rs2", tmp_path / "raw", tmp_path)
    paths = [Path(path).name for path in outcome.records["path"]]
    assert paths == [f"sub-A00099951_ses-MRI1{taken}.nii.gz"] * bool(taken) + ["sub-A00099952_T1w.nii.gz"]
    if not taken:
        assert outcome.left_out["reason"].str.contains("multiecho_uncombined").all()


def test_the_first_session_in_natural_order_unless_all_are_wanted(tmp_path):
    files = [
        RawFile(f"sub-A00099951/ses-MRI{number}/anat/sub-A00099951_ses-MRI{number}_T1w.nii.gz")
        for number in (10, 2)
    ]
    write_tree(tmp_path / "raw", files, {})
    assert run_ingest("nki_rs2", tmp_path / "raw", tmp_path / "one").records["event"].tolist() == ["MRI2"]
    records = run_ingest("nki_rs2", tmp_path / "raw", tmp_path / "all", {"all_repeats": True}).records
    assert dict(zip(records["run"], records["event"], strict=True)) == {"1": "MRI2", "2": "MRI10"}


def test_the_age_in_nki_rs_is_taken_only_where_it_is_wanted(tmp_path):
    record = read_record("nki_rs2", tmp_path, OLD, FACTS)
    assert record["age_years"] != record["age_years"]
    assert "NKI-RS" in record["qc_flag"]
    wanted = read_record("nki_rs2", tmp_path, OLD, FACTS, takes_nki_rs_age=True)
    assert (wanted["age_years"], wanted["qc_flag"]) == (31.0, "age_source=nki1_backfill")


def test_its_own_tables_come_first(tmp_path):
    own = {
        "participants.tsv": "participant_id\tage\tsex\nsub-A00099901\t38\tF\n",
        "sub-A00099901_sessions.tsv": "session_id\tage\nses-MRI1\t38.6\nses-MRI2\t39.9\n",
    }
    record = read_record("nki_rs2", tmp_path, OLD | own, FACTS)
    assert (record["age_years"], record["age_years_source"]) == (38.6, "sessions:age")
    assert (record["sex_source"], record["handedness_source"]) == ("participants:sex", "nki_rs:handedness")
    later = read_record("nki_rs2", tmp_path, OLD | own, FACTS | {"visit": "MRI3"})
    assert (later["age_years"], later["qc_flag"]) == (38.0, "")
