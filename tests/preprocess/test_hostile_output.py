"""Output folders that hold somebody else's files: each test plants a canary, which must live."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.apply.preprocess import check_apart
from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.shard import run_visit
from braing3n.preprocess.store import describe_dataset

from .brains import make_row, write_brain

ROOT = Path(__file__).parents[2]
STATE = {"is_bias_corrected": 1, "is_stripped": 1}


@pytest.fixture
def visit(tmp_path):
    """A visit of one scan."""
    return [make_row(write_brain(tmp_path / "raw" / "scan.nii.gz"), "01", **STATE)]


def find_anat(job):
    return job.store_dir / "invented" / "sub-01" / "anat"


def test_a_sidecar_names_no_file_to_remove(tmp_path, job, visit):
    (row,) = run_visit(visit, job)
    assert row["status"] == "kept"
    sidecar_path = find_anat(job) / "sub-01_space-SRI24_desc-preproc.json"
    canaries = [tmp_path / "thesis.txt", find_anat(job).parent / "notes.txt", find_anat(job) / "mine.nii.gz"]
    for canary in canaries:
        canary.write_text("three years of work")
    raw = Path(visit[0]["path"])
    for name in (canaries[0].as_posix(), "../notes.txt", "mine.nii.gz", raw.as_posix()):
        sidecar = {"Key": "", "Files": {name: "0" * 64}, "Volumes": []}
        sidecar_path.write_text(json.dumps(sidecar))
        (row,) = run_visit(visit, job)
        assert row["status"] == "excluded"
        assert "braing3n did not write it" in row["reason"]
        assert all(canary.exists() for canary in (*canaries, raw))


@pytest.mark.parametrize("content", ["[]", "null", "3", '{"Key": null, "Files": 3}', "{", '{"Files": {}}'])
def test_a_sidecar_of_any_content_is_no_crash(job, visit, content):
    sidecar_path = find_anat(job) / "sub-01_space-SRI24_desc-preproc.json"
    sidecar_path.parent.mkdir(parents=True)
    sidecar_path.write_text(content)
    (row,) = run_visit(visit, job)
    assert row["status"] == "excluded"
    assert sidecar_path.read_text() == content


def test_only_what_this_program_half_wrote_is_removed(job, visit):
    folder = find_anat(job)
    folder.mkdir(parents=True)
    mine, ours = folder / ".sub-01_mybackup.nii.gz", folder / ".sub-01_T1w-0123456789abcdef.nii.gz"
    for path in (mine, ours):
        path.write_text("x")
    assert run_visit(visit, job)[0]["status"] == "kept"
    assert mine.exists()
    assert not ours.exists()


def test_the_derivative_of_another_tool_is_not_replaced(job, visit):
    path = find_anat(job) / "sub-01_space-SRI24_desc-preproc_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_text("another tool's")
    (row,) = run_visit(visit, job)
    assert (row["status"], path.read_text()) == ("excluded", "another tool's")
    from dataclasses import replace

    (row,) = run_visit(visit, replace(job, may_overwrite=True))
    assert row["status"] == "kept"
    assert path.read_bytes()[:2] == b"\x1f\x8b"


def test_a_run_that_was_killed_between_two_files_goes_on(job, visit, monkeypatch):
    from braing3n.preprocess import store

    written = []

    class Killed(BaseException):
        pass

    def write_one(path):
        if written:
            raise Killed
        written.append(path)
        return write_atomically(path)

    write_atomically = store.write_atomically
    monkeypatch.setattr(store, "write_atomically", write_one)
    with pytest.raises(Killed):
        run_visit(visit, job)
    monkeypatch.setattr(store, "write_atomically", write_atomically)
    assert written[0].exists()
    assert run_visit(visit, job)[0]["status"] == "kept"


def test_another_dataset_is_not_described_anew(tmp_path):
    path = tmp_path / "raw" / "dataset_description.json"
    path.parent.mkdir()
    for content in ('{"Name": "mine", "BIDSVersion": "1.8.0"}', "[]", '{"GeneratedBy": [{"Name": "other"}]}'):
        path.write_text(content)
        with pytest.raises(BrainG3nError, match="braing3n did not write"):
            describe_dataset(tmp_path, "raw")
        assert path.read_text() == content


def test_raw_scans_and_results_lie_apart(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for out in (raw, raw / "out", tmp_path):
        with pytest.raises(BrainG3nError, match="overlaps with the raw scans"):
            check_apart(out, [raw])
    for out in (tmp_path / "out", raw / "derivatives" / "braing3n"):
        check_apart(out, [raw])
    scan = raw / "scan.nii.gz"
    scan.write_text("x")
    check_apart(tmp_path / "out", [scan])
    check_apart(raw, [scan])


def test_a_hostile_output_folder_runs_nothing_and_loses_nothing(tmp_path, atlas_path, settings):
    """Results go into the working folder, which holds a thesis and Python files of our libraries' names."""
    scan = write_brain(tmp_path / "raw" / "scan.nii.gz")
    config = {"preprocess": settings.model_dump(mode="json"), "volumes": {"spacing_mm": 4.0}}
    config["resources"] = {"paths": {"sri24": str(atlas_path)}}
    (tmp_path / "small.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    anat = out / "sub-scan" / "anat"
    anat.mkdir(parents=True)
    canary, program = out / "thesis.txt", f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    canary.write_text("three years of work")
    for name in ("pandas.py", "ants.py", "multiprocessing.py", "sitecustomize.py", "sub-scan/anat/json.py"):
        (out / name).write_text(program)
    sidecar = {"Key": "", "Files": {"../../thesis.txt": "0" * 64, str(canary): "0" * 64}, "Volumes": []}
    (anat / "sub-other_space-SRI24_desc-preproc.json").write_text(json.dumps(sidecar))
    planted = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    command = [sys.executable, "-m", "braing3n", "preprocess", "-o", ".", "--config", "../small.json"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*command, "--t1", scan, "--stripped", "--bias-corrected"],
        cwd=out, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()
    assert {path: path.read_bytes() for path in planted} == planted
