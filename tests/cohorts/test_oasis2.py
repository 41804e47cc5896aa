"""OASIS-2's other rule of diagnosis, its repeats, and pairs whose header tells no orientation."""

from pathlib import Path

from .trees import run_ingest


def test_the_group_of_the_person_is_the_other_rule(open_case, tmp_path):
    kind, _, root, outcome = open_case("oasis2")
    records = run_ingest(kind, root / "raw", tmp_path, {"dx_rule": "group"}).records
    assert records["dx"].tolist() == ["HC", "HC", "MCI", "MCI", "AD"]
    assert outcome.records["dx_by_group"].tolist() == records["dx"].tolist()
    assert records["dx_by_cdr"].tolist() == outcome.records["dx"].tolist()


def test_all_repeats_have_run_numbers(open_case, tmp_path):
    kind, fixture, root, _ = open_case("oasis2")
    records = run_ingest(kind, root / "raw", tmp_path, {"all_repeats": True}).records
    assert len(records) == sum("/mpr-" in file.path and file.path.endswith(".hdr") for file in fixture.files)
    session = records[(records["subject_id"] == "OAS2_9001") & (records["session_id"] == "MR1")]
    runs = {run: Path(path).name for run, path in zip(session["run"], session["path"], strict=True)}
    assert runs == {str(number): f"mpr-{number}.nifti.hdr" for number in range(1, 5)}


def test_the_header_is_not_believed(open_case):
    _, _, _, outcome = open_case("oasis2")
    lines = (outcome.inventory_dir / "shard-000.tsv").read_text().splitlines()
    assert len(lines) == 6
    assert all("\tNIfTI pair\tASL\t" in line for line in lines[1:])
    assert set(outcome.records["raw_space"]) == {"native"}
