"""Threads yield, and are never more than a process may use."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from braing3n.cli import main
from braing3n.core.errors import StorageError
from braing3n.core.runtime import (
    count_cpus,
    limit_threads,
    make_folder,
    work_side_by_side,
    write_atomically,
)

ROOT = Path(__file__).parents[2]
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SET = "from braing3n.core.runtime import set_threads; set_threads({})"


def run(code, **settings):
    """The output and the errors of Python code in a process that inherits no setting of threads."""
    clean = {name: value for name, value in os.environ.items() if name not in WAITING}
    environment = clean | {"PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_openmp_that_torch_loads_does_not_spin_for_long():
    _, said = run("import braing3n, torch", OMP_DISPLAY_ENV="VERBOSE")  # OpenMP says what it has read
    spins, blocks = (re.search(rf"{name} ?= ?'(\d+)", said) for name in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME"))
    assert int(spins[1]) <= 10_000 if spins else int(blocks[1]) == 0  # libgomp's word, or libomp's


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "7")])
def test_what_a_user_set_of_waiting_stays(name, value):
    printed, _ = run(
        f"import os, braing3n; print({{n: os.environ.get(n) for n in {WAITING}}})", **{name: value}
    )
    assert eval(printed) == dict.fromkeys(WAITING) | {name: value}


def test_a_process_bound_to_one_cpu_gets_one_thread_and_says_so():
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        f"{SET.format(3)}\n"
        "import torch; print(torch.get_num_threads(), os.environ['OPENBLAS_NUM_THREADS'])"
    )
    printed, said = run(code)
    assert printed.split() == ["1", "1"]
    assert said == "braing3n: 3 threads are asked for; this process may use 1.\n"


def test_threads_that_are_set_after_torch_is_loaded_count():
    printed, _ = run(f"import torch\n{SET.format(1)}\nprint(torch.get_num_threads())")
    assert printed.strip() == "1"


def test_processes_under_torchrun_share_a_nodes_threads():
    printed, _ = run(
        f"{SET.format(2)}\nimport os; print(os.environ['OMP_NUM_THREADS'])", LOCAL_WORLD_SIZE="2"
    )
    assert printed.strip() == "1"


def test_a_command_without_threads_has_one(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    main(["resources", "list"])
    assert os.environ["OMP_NUM_THREADS"] == "1"


# ---- quotas of control groups -------------------------------------------------------------------

V2 = "0::/slice/job\n"
V1 = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("listing", "files", "share"),
    [
        (V2, {"slice/job/cpu.max": "{half} 100000\n"}, "half"),
        (V2, {"slice/job/cpu.max": "max 100000\n", "slice/cpu.max": "{half} 100000\n"}, "half"),
        (V2, {"cpu.max": "{half} 100000\n"}, "half"),  # a container sees its own group as the top
        (V2, {"slice/job/cpu.max": "max 100000\n"}, "all"),
        (V2, {"slice/job/cpu.max": "20000 100000\n"}, "one"),  # a fifth of a CPU is one thread
        (
            V1,
            {"cpu/docker/abc/cpu.cfs_quota_us": "{half}\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"},
            "half",
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "{half}\n", "cpu/cpu.cfs_period_us": "100000\n"}, "half"),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "all"),
        (V1, {"memory/docker/abc/cpu.max": "1000 100000\n"}, "all"),  # no controller of CPUs
        ("", {}, "all"),
    ],
)
def test_cpus_are_counted_by_the_quota_too(listing, files, share, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for name, text in files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(half=450_000))  # 4.5 CPUs
    if listing:
        (tmp_path / "proc" / "self").mkdir(parents=True)
        (tmp_path / "proc" / "self" / "cgroup").write_text(listing)
    assert count_cpus(tmp_path) == {"half": 4, "all": 8, "one": 1}[share]


def test_threads_are_limited_from_both_sides(capsys):
    assert limit_threads(0) == 1
    assert limit_threads(1) == 1
    assert not capsys.readouterr().err
    assert limit_threads(10**6) == count_cpus()


def test_a_process_that_waits_for_a_lock_says_for_which(tmp_path, capsys):
    import time
    from threading import Event, Thread

    from filelock import FileLock

    from braing3n.core.runtime import acquire_lock

    path, is_held = tmp_path / ".shard-000.lock", Event()

    def hold():
        with FileLock(path):
            is_held.set()
            time.sleep(0.5)

    Thread(target=hold).start()
    is_held.wait()
    with acquire_lock(path):
        assert f"waiting for another process that holds {path}" in capsys.readouterr().err
    with acquire_lock(path):
        assert capsys.readouterr().err == ""


def test_the_first_step_is_said_at_once(capsys):
    from braing3n.core.runtime import track

    steps = track(range(1000), "steps")
    next(steps), next(steps)
    assert capsys.readouterr().err.startswith("steps: 1/1000 in ")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_is_written_obeys_the_umask(tmp_path, umask):
    """As any other program's file, so that a group's setting is kept: not a temporary file's 0600."""
    before = os.umask(umask)
    try:
        with write_atomically(tmp_path / "weights") as beside:
            beside.write_text("x")
        (tmp_path / "plain").write_text("x")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["weights"] == modes["plain"] == 0o666 & ~umask


def occupy(folder):
    """(what the sentence says, a place that no result can have)."""
    (folder / "taken.npy").mkdir()
    (folder / "file").write_text("mine")
    (folder / "loop").symlink_to(folder / "loop")
    in_the_way = "a file stands where a folder should"
    return [
        ("a folder has that name", folder / "taken.npy"),
        (in_the_way, folder / "file" / "vector.npy"),
        (in_the_way, folder / "file" / "below" / "vector.npy"),
        (in_the_way, folder / "loop" / "vector.npy"),
        ("give a shorter name", folder / ("x" * 250 + ".npy")),
    ]


def test_a_place_that_is_taken_is_one_sentence_and_stays(tmp_path):
    for said, path in occupy(tmp_path):
        with pytest.raises(StorageError, match=said), write_atomically(path) as beside:
            beside.write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop", "taken.npy"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_fault_of_what_is_read_meanwhile_is_no_fault_of_the_output(tmp_path):
    with pytest.raises(IsADirectoryError), write_atomically(tmp_path / "out.npy"):
        tmp_path.read_bytes()


class OtherError(Exception):
    """As safetensors and blosc2 have one, whatever went wrong with the file."""


@pytest.mark.parametrize(
    ("name", "answer", "error", "said"),
    [
        ("shutil.disk_usage", shutil._ntuple_diskusage(10, 10, 0), StorageError, "No space left on device"),
        ("os.access", False, StorageError, "Permission denied"),
        ("os.access", True, OtherError, "of a library"),
    ],
)
def test_a_full_disk_is_distinguished_from_a_librarys_own_error(
    tmp_path, monkeypatch, name, answer, error, said
):
    def save(path):
        path.write_text("half")
        raise OtherError("of a library")

    monkeypatch.setattr(name, lambda *given: answer)
    with pytest.raises(error, match=said), write_atomically(tmp_path / "w.safetensors") as beside:
        save(beside)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_or_refused_before_the_work(tmp_path):
    make_folder(tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []
    occupy(tmp_path)
    for path in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "loop", Path("/proc/out")):
        with pytest.raises(StorageError, match="nothing can be written there"):
            make_folder(path)


def test_items_are_worked_on_side_by_side_each_on_one_thread_of_blas():
    code = (
        "import threading, time\n"
        "from braing3n.core.runtime import set_threads, work_side_by_side\n"
        "set_threads(2)\n"
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "def count(): return {i['num_threads'] for i in threadpool_info() if i['user_api'] == 'blas'}\n"
        "both = threading.Barrier(count().pop(), timeout=60)\n"
        "def work(k): return k, both.wait() >= 0, time.sleep(k / 10), count()\n"
        "print(work_side_by_side(work, [4, 3]), count())\n"
        "try: work_side_by_side(lambda k: 1 // k, [0, 1])\n"
        "except ZeroDivisionError: print(count())\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n = min(2, count_cpus())
    done = "[(4, True, None, {1}), (3, True, None, {1})]"  # the first ends last
    assert found.stdout.splitlines() == [f"{done} {{{n}}}", f"{{{n}}}"]


def test_a_fault_in_work_side_by_side_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        work_side_by_side(lambda k: 1 // k, [1, 0, 2])
