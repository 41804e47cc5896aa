"""A full disk, a read-only folder, a file that changes: no half result is taken for a whole one."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.config import ResourceSettings
from braing3n.core.errors import StorageError
from braing3n.core.runtime import write_atomically
from braing3n.preprocess import fit
from braing3n.preprocess.read import intake
from braing3n.preprocess.shard import read_visits, run_visit, run_visits
from braing3n.preprocess.visit import process_visit

from .brains import make_row, rotate, write_brain
from .test_shard import make_people, read_tree, write_inventory

ROOT = Path(__file__).parents[2]


def run_command(inventory, store, settings, atlas_path, threads=2, **options):
    """The shard's command in a process of its own, with its table in the store."""
    command = [sys.executable, "-m", "braing3n", "preprocess", "shard", "--threads", str(threads)]
    command += ["--inventory", str(inventory), "--store", str(store), "--table", str(store / "table.parquet")]
    command += ["--settings", settings.as_json()]
    command += ["--resources", ResourceSettings(paths={"sri24": str(atlas_path)}).as_json()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def check_stopped(done, *words):
    """One sentence that ends the log, status 2, and no scan blamed."""
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert last.startswith("braing3n: ")
    for word in words:
        assert word in last
    assert "excluded" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def mount(tmp_path):
    """Mount a small disk of memory; skipped where only an administrator may."""
    folder, mounted = tmp_path / "disk", []

    def go(*options):
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        mounted.append(folder)
        return folder

    yield go
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_or_read_only_disk_stops_the_job_in_a_sentence_and_the_rerun_finishes(
    tmp_path, settings, atlas_path, mount
):
    inventory = write_inventory(tmp_path / "shard-000.tsv", make_people(tmp_path / "raw", 1)[:1])
    disk = mount("size=60k")
    store = disk / "store"
    done = run_command(inventory, store, settings, atlas_path)
    check_stopped(done, str(store), "No space left on device", "free some space")
    assert not (store / "table.parquet").exists()
    assert [path for path in store.rglob(".sub-*") if path.is_file()] == []
    subprocess.run(["mount", "-o", "remount,ro,size=20m", str(disk)], check=True)
    done = run_command(inventory, store, settings, atlas_path)
    check_stopped(done, str(store), "Read-only file system", "another folder")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert run_command(inventory, store, settings, atlas_path).returncode == 0
    assert run_command(inventory, tmp_path / "whole", settings, atlas_path).returncode == 0
    assert read_tree(store / "invented") == read_tree(tmp_path / "whole" / "invented")


def test_a_limit_on_file_sizes_stops_the_job_in_a_sentence(tmp_path, settings, atlas_path):
    """Needs no administrator: a file may not grow beyond what the first volume needs."""
    inventory = write_inventory(tmp_path / "shard-000.tsv", make_people(tmp_path / "raw", 1)[:1])

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = run_command(inventory, tmp_path / "store", settings, atlas_path, 1, preexec_fn=limit)
    check_stopped(done, str(tmp_path / "store"), "File too large", "ulimit -f")
    for path in (tmp_path / "store").rglob("sub-*.json"):  # what was about to be written, and no result
        assert json.loads(path.read_text())["Key"] == ""
    assert not list((tmp_path / "store").rglob("*preproc*.nii.gz"))


def test_a_full_temporary_folder_is_no_scans_fault(tmp_path, tools, monkeypatch):
    path = write_brain(tmp_path / "a.nii.gz")

    def fill(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fit, "register_affine", fill)
    with pytest.raises(StorageError, match="No space left on device"):
        process_visit([make_row(path)], tools)


def test_want_of_memory_is_a_reason_that_is_tried_again(tmp_path, tools, monkeypatch):
    path = write_brain(tmp_path / "a.nii.gz")

    def fill(*args):
        raise MemoryError

    monkeypatch.setattr(fit, "register_affine", fill)
    result = process_visit([make_row(path)], tools)
    assert "memory ran out" in result.cells[0]["reason"]
    assert not result.is_final


def test_a_read_that_is_denied_while_writing_is_not_reported_as_a_fault_of_the_output(tmp_path):
    (tmp_path / "input").write_text("1")
    error = PermissionError(errno.EACCES, "denied", str(tmp_path / "input"))
    with pytest.raises(PermissionError), write_atomically(tmp_path / "output"):
        raise error
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("change", ["replaced", "shrunk", "gone"])
def test_a_file_that_changes_while_it_is_read_is_not_stored(tmp_path, job, monkeypatch, change):
    """The T1 changes between its digest and the end of the work; the T2 of the visit is kept without it."""
    one, other = (Path(write_brain(tmp_path / f"{name}.nii", modality=name)) for name in ("T1", "T2"))
    visit = [make_row(one, "01"), make_row(other, "01", "T2")]
    read = intake.read_scan

    def disturb(path, *arguments):
        if Path(path) == one and change == "replaced":
            write_brain(tmp_path / "new.nii", to_brain=rotate(8))
            (tmp_path / "new.nii").replace(one)
        scan = read(path, *arguments) if change != "shrunk" or Path(path) != one else None
        if Path(path) == one and change == "gone":
            one.unlink()
        if scan is None:
            os.truncate(one, 1000)
            scan = read(path, *arguments)
        return scan

    monkeypatch.setattr(intake, "read_scan", disturb)
    cells = {cell["modality"]: cell for cell in run_visit(visit, job)}
    assert cells["T1"]["status"] == "excluded"
    assert cells["T1"]["reason"].startswith("T1.nii: changed while it was read")
    assert cells["T1"]["raw_sha256"] == ""
    assert (cells["T2"]["status"], cells["T2"]["steps"]) == ("kept", "mask:nonzero;affine")
    monkeypatch.setattr(intake, "read_scan", read)
    write_brain(one, to_brain=rotate(8))
    cells = {cell["modality"]: cell for cell in run_visit(visit, job)}
    assert {cell["status"] for cell in cells.values()} == {"kept"}
    assert cells["T2"]["steps"] == "rigid:T1;mask:T1;affine"


def test_a_file_that_shrinks_under_the_reader_kills_nobody(tmp_path, monkeypatch):
    """A memory map of a file that shrinks is death by SIGBUS; what is read into memory is an error."""
    import nibabel as nib

    from braing3n.preprocess.read.formats import load_image

    path = Path(write_brain(tmp_path / "a.nii"))
    load = nib.load

    def load_and_shrink(*arguments, **options):
        image = load(*arguments, **options)
        os.truncate(path, 1000)
        return image

    monkeypatch.setattr(nib, "load", load_and_shrink)
    with pytest.raises(Exception, match=r"a.nii: cannot be read as an image \(OSError: Expected"):
        load_image(path)


def test_a_worker_that_is_killed_costs_nobody_elses_work(tmp_path, job, monkeypatch):
    """kill -9 of the process that works on one person; the others and the rerun give the usual bytes."""
    (tmp_path / "killing.py").write_text(
        "import os, signal\n"
        "from pathlib import Path\n"
        "from braing3n.preprocess.shard import run_visit as work\n"
        "def run_visit(visit, job):\n"
        "    if visit[0]['subject_id'] == '01' and Path(job.store_dir).name == 'store':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return work(visit, job)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import killing

    from braing3n.preprocess import shard

    visits_ = read_visits(write_inventory(tmp_path / "shard-000.tsv", make_people(tmp_path / "raw", 2)[:2]))
    with monkeypatch.context() as patch:
        patch.setattr(shard, "run_visit", killing.run_visit)
        done = dict(run_visits(visits_, job, 2))
    assert [done[index][0]["status"] for index in range(2)] == ["kept", "excluded"]
    assert "died" in done[1][0]["reason"]
    again = dict(run_visits(visits_, job, 2))
    assert [again[index][0]["status"] for index in range(2)] == ["kept", "kept"]
    assert again[0] == done[0]
