"""Two processes on one run: a running run's inventories are never rewritten by another."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from braing3n.core.errors import BrainG3nError
from braing3n.launch import lock_run, plans_only, start_run

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from braing3n.launch import lock_run
lock_run("x", False)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "raw/sub-01/anat/sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"scan")
    return {"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw", "n_shards": 2}}}


def list_shards(tmp_path):
    return sorted(path.name for path in tmp_path.glob("results/x/inventory/mine/shard-*.tsv"))


@pytest.fixture
def running(raw, tmp_path):
    """Another process that executes the run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_a_refused_run_and_a_dry_run_leave_a_running_runs_inventories(
    raw, running, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("braing3n.launch.LOCK_PATIENCE_S", 0.1)
    folder, review = tmp_path / "results/x/inventory/mine", tmp_path / "results/x/manifest/review.tsv"
    folder.mkdir()
    review.parent.mkdir()
    for path in (*(folder / f"shard-{n:03d}.tsv" for n in range(5)), review):
        path.write_text("of the running run\n")
    start_run(raw, True, ["-np", "all"])
    assert "executed by another process; this plan is made from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start_run(raw, True, ["all", "--cores", "2"])
    assert "is being executed by another process in this folder" in capsys.readouterr().err
    assert len(list_shards(tmp_path)) == 5
    assert {path.read_text() for path in (*folder.iterdir(), review)} == {"of the running run\n"}


def test_another_run_in_the_folder_leaves_the_running_runs_lock(raw, running, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("braing3n.launch.LOCK_PATIENCE_S", 0.1)
    start_run(raw | {"run": "y"}, True, ["preprocess"])
    start_run(raw | {"run": "y"}, True, ["preprocess", "--unlock"])
    assert "another process" not in capsys.readouterr().err
    with pytest.raises(SystemExit):
        start_run(raw, True, ["preprocess"])
    assert "run 'x' is being executed by another process" in capsys.readouterr().err


def test_a_killed_run_leaves_no_lock(raw, running, tmp_path):
    running.kill()
    running.wait()
    start_run(raw, True, ["preprocess"])
    assert list_shards(tmp_path) == ["shard-000.tsv", "shard-001.tsv"]


def test_a_dry_run_lets_go_at_once(raw, tmp_path):
    start_run(raw, True, ["preprocess", "--dry-run"])
    with FileLock(tmp_path / "results/x/inventory/.lock", timeout=0):
        pass


def test_a_job_needs_no_lock(raw, running):
    start_run(raw, False, [])


def test_the_lock_is_refused_in_one_sentence(raw, running):
    with pytest.raises(BrainG3nError, match="wait for it, or give another name as `run`"):
        lock_run("x", False, 0.1)


@pytest.mark.parametrize(
    ("words", "is_looking"),
    [
        (["-n"], True),
        (["-np", "all"], True),
        (["all", "--dry-run"], True),
        (["--unlock"], True),
        (["all", "--cores", "2"], False),
        (["--nolock", "all"], False),
        (["-j", "2", "preprocess"], False),
    ],
)
def test_what_only_looks(words, is_looking):
    assert plans_only(words) == is_looking
