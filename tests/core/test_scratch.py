"""Scratch folders hold people's heads for a while: nothing stays, however a process ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.core import scratch

ROOT = Path(__file__).parents[2]
HOLD = """
import os, sys, time
from braing3n.core.scratch import open_scratch, unwind_on_sigterm
unwind_on_sigterm()
with open_scratch() as folder:
    (folder / "head.json").write_text("InstitutionName")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """A process with a scratch folder: (process, folder)."""
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env=environment
    )
    folder = Path(process.stdout.readline().strip())
    assert (folder / "head.json").exists()
    yield process, folder
    process.kill()
    process.wait()


def test_sigterm_removes_the_folder(hold):
    process, folder = hold
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert not folder.exists()


def test_the_next_process_removes_what_a_killed_one_left_and_nothing_else(hold, tmp_path):
    process, folder = hold
    (tmp_path / "braing3n-notes").mkdir()
    foreign = tmp_path / f"braing3n-{scratch._host()}-notanumber-x"
    foreign.mkdir()
    assert scratch.sweep() == [], "its process is alive"
    process.kill()
    process.wait()
    assert folder.exists()
    with scratch.open_scratch() as own:
        assert not folder.exists()
        assert own.exists()
        assert scratch.sweep() == []
    assert (tmp_path / "braing3n-notes").exists()
    assert foreign.exists()


def test_a_link_of_a_scratch_folders_name_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter").write_text("x")
    (tmp_path / f"braing3n-{scratch._host()}-999999999-abc").symlink_to(thesis)
    scratch.sweep()
    assert (thesis / "chapter").exists()


def test_own_folders_are_removed_by_a_process_that_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"braing3n-{scratch._host()}-{os.getpid()}-abc"
    folder.mkdir()
    assert scratch.sweep() == []
    assert scratch.sweep(is_own=True) == [folder]
