"""What is wrong with a run is reported before there is a DAG."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.launch import start_run

ROOT = Path(__file__).parents[2]


def write_people(folder, n):
    for i in range(n):
        path = folder / f"raw/sub-{i:02d}/anat/sub-{i:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"scan")
    return {"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}}}


def start(data, *words):
    """Status and sentence of a start."""
    with pytest.raises(SystemExit) as caught:
        start_run(data, True, words)
    return caught.value.code


def test_a_run_without_cohorts_says_what_is_to_be_configured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start({"run": "x"}, "all") == 2
    assert "no cohort is configured; give a file with `cohorts:`" in capsys.readouterr().err


def test_an_empty_split_is_found_where_a_split_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = write_people(tmp_path, 6)
    data["manifest"] = {"train": 0.98, "validation": 0.01}
    assert start(data, "all") == 2
    assert "split has nobody: 6 people or families, of which 0.98 train" in capsys.readouterr().err
    start_run(data, True, ["preprocess"])
    start_run(data, True, ["volumes"])
    start_run(data, True, ["ingest_mine"])
    start_run(data | {"manifest": {"train": 0.4, "validation": 0.3}}, True, ["all"])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"diffusion": {"width": 1000, "n_heads": 16}},
            "diffusion.width must be divisible by",
        ),
        ({"pretrain": {"n_heads": 7}}, "pretrain.width: 1152 must be divisible by 6 and by its 7 heads"),
        ({"manifest": {"train": 0.9, "validation": 0.1}}, "must leave a share for the test split"),
    ],
)
def test_settings_that_do_not_fit_together(section, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start({"run": "x", **section}, "all") == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def umask():
    """The umask of most machines; restored after the test."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("permissions", "file_mode", "dir_mode"),
    [(None, 0o644, 0o755), ("umask", 0o644, 0o755), ("group", 0o640, 0o750), ("private", 0o600, 0o700)],
)
@pytest.mark.parametrize("is_main_process", [True, False])
def test_results_are_readable_as_configured(
    tmp_path, monkeypatch, umask, permissions, file_mode, dir_mode, is_main_process
):
    """By whom the run says: of what the main process writes, and of what each job's command does."""
    monkeypatch.chdir(tmp_path)
    data = write_people(tmp_path, 2) | ({"permissions": permissions} if permissions else {})
    start_run(data, is_main_process, ["preprocess", "-n"])
    code = "from braing3n.core.runtime import write_atomically as w\nwith w('results/job/x') as b: b.touch()"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    written = [path for path in tmp_path.rglob("results/**/*") if path.name != ".lock"]
    assert len(written) > (8 if is_main_process else 1)
    for path in written:
        assert path.stat().st_mode & 0o777 == (dir_mode if path.is_dir() else file_mode), path
