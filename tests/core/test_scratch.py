"""Scratch folders hold people's heads for a while: nothing stays, however a process ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from braing3n.core import scratch
from braing3n.core.runtime import write_atomically

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


WRITE = """
import sys, time
from braing3n.core.runtime import write_atomically
with write_atomically(sys.argv[1]) as beside:
    beside.write_text("half")
    print(beside, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def write(tmp_path):
    """A process that writes `shard-000.b2nd` and does not end: (process, its half-written file)."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "shard-000.b2nd")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.wait()


def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_else(write, tmp_path):
    process, half = write
    kept = [tmp_path / ".shard-000-mine.b2nd", tmp_path / f".shard-001{half.name.removeprefix('.shard-000')}"]
    elsewhere = half.with_name(half.name.replace(scratch._machine(), "ffffff"))
    for path in (*kept, elsewhere):
        path.write_text("x")
    with write_atomically(tmp_path / "shard-000.b2nd") as beside:
        beside.write_text("whole")
    assert half.exists(), "its process is alive"
    process.kill()
    process.wait()
    for _ in range(2):
        with write_atomically(tmp_path / "shard-000.b2nd") as beside:
            beside.write_text("whole")
        assert not half.exists()
        assert elsewhere.exists(), "a process of another machine may still write it"
    for hours in (23, 25):
        assert elsewhere.exists(), "a process of another machine may still write it"
        os.utime(elsewhere, (0, time.time() - hours * 3600))
        with write_atomically(tmp_path / "shard-000.b2nd") as beside:
            beside.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "shard-000.b2nd"])


def test_whatever_a_result_is_called_what_is_left_of_it_goes(write, tmp_path):
    process, _ = write
    process.kill()
    process.wait()
    for name in ("a b [1].npy", "new\nline.txt", "é'\".tar.gz", "plain"):
        own = scratch.name_half_written(tmp_path / name).name
        left = tmp_path / own.replace(f"{os.getpid():06x}", f"{process.pid:06x}")
        left.write_text("half")
        scratch.sweep_half_written(tmp_path / name)
        assert not left.exists()


def test_a_link_with_such_a_name_stays(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    link = scratch.name_half_written(tmp_path / "shard-000.b2nd")
    link = link.with_name(link.name.replace(f"{os.getpid():06x}", "3fffff"))
    link.symlink_to(target)
    scratch.sweep_half_written(tmp_path / "shard-000.b2nd")
    assert link.is_symlink()


def leave(path):
    """The name of what a process that is gone wrote beside `path`."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    beside = scratch.name_half_written(path)
    return beside.with_name(beside.name.replace(f"{os.getpid():06x}", f"{ended.pid:06x}"))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("raw", "raw-2"),
        ("run[1]", "run1"),
        ("sub-01.nii.gz", "sub-02.nii.gz"),
        ("what?*.npy", "whatever.npy"),
    ],
)
def test_a_folder_and_a_file_of_any_name_are_removed_and_nothing_of_another_name(tmp_path, name, other):
    folder, file, stays = (leave(tmp_path / one) for one in (name, name, other))
    (folder / "anat").mkdir(parents=True)
    (folder / "anat" / "head.nii").write_text("x")
    file.write_text("half")
    stays.write_text("of another file")
    scratch.sweep_half_written(tmp_path / name)
    assert list(tmp_path.iterdir()) == [stays]


def test_a_process_that_may_not_be_asked_is_alive(tmp_path, monkeypatch):
    """Another user's: the kernel refuses the question where the process is there."""
    half = leave(tmp_path / "shard-000.b2nd")
    half.write_text("half")

    def refuse(process, number):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(scratch.os, "kill", refuse)
        scratch.sweep_half_written(tmp_path / "shard-000.b2nd")
        assert half.exists()
    scratch.sweep_half_written(tmp_path / "shard-000.b2nd")
    assert not half.exists()


def test_another_users_scratch_folders_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    folder, user = tmp_path / f"braing3n-{scratch._host()}-999999999-abc", os.getuid()
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(scratch.os, "getuid", lambda: user + 1)
        assert scratch.sweep() == []
        assert folder.exists()
    assert scratch.sweep() == [folder]
