"""What every stage needs of the machine: threads, progress bars, atomic files, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from braing3n.core.errors import BrainG3nError, StorageError
from braing3n.core.scratch import name_half_written, sweep_half_written

S = TypeVar("S")
T = TypeVar("T")

# What a write can meet that no other file would escape: errno -> what to do.
STORAGE_FAULTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or ask for more quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "mount it writable or give another folder",
    errno.EACCES: "ask for write permission or give another folder",
    errno.EPERM: "ask for write permission or give another folder",
}
# What is wrong with the place of one output.
PLACE_FAULTS = {
    errno.EISDIR: "a folder has that name: give another",
    errno.ENOTDIR: "a file stands where a folder should: give another place",
    errno.EEXIST: "a file stands where a folder should: give another place",
    errno.ENAMETOOLONG: "give a shorter name",
}
BFLOAT16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}  # of Intel and AMD, of Intel, of Arm
MIN_FREE_MB = 1.0  # less is a full disk, for a tool that does not say why it failed


_listener: Callable[[str], None] | None = None  # to steps, in this process


def listen_to_steps(listener: Callable[[str], None] | None) -> None:
    """From now on hand each text of `report_step` to `listener`."""
    global _listener
    _listener = listener


def report_step(text: str) -> None:
    """Say what is begun within a unit of work, to whoever listens; nobody does in the DAG."""
    if _listener is not None:
        _listener(text)


def count_cpus(root: Path = Path("/")) -> int:
    """The CPUs that this process may use: those of its affinity, or fewer where a cgroup's quota says so.

    root: where `proc` and `sys` lie. Of a quota of 2.5 CPUs two are used; one always is.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, int(min([n_cpus, *_read_quotas(root)])))


def _read_quotas(root: Path) -> Iterator[float]:
    """The CPUs that this process's cgroup grants, and each one above it, of version 1 or 2."""
    groups = root / "proc" / "self" / "cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else []:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys" / "fs" / "cgroup" / ("cpu" if controllers else "")
        names = [name for name in group.split("/") if name]
        for depth in range(len(names) + 1):  # a container sees the top alone, whatever its path
            yield from _read_quota(top.joinpath(*names[:depth]))


def _read_quota(folder: Path) -> Iterator[float]:
    """The CPUs that one cgroup grants; nothing where it has no limit."""
    names = ["cpu.max"] if (folder / "cpu.max").exists() else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    if all((folder / name).exists() for name in names):
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        if quota.isdigit():  # "max" and -1 are none
            yield int(quota) / int(period)


def has_bfloat16(root: Path = Path("/")) -> bool:
    """Whether the processor has instructions for bfloat16; True where the system does not say."""
    features = _read_cpuinfo("flags|Features", root)
    return not features or not BFLOAT16_UNITS.isdisjoint(features.split())


def has_matrix_units(root: Path = Path("/")) -> bool:
    """Whether the processor multiplies whole tiles in bfloat16 (AMX), which makes it faster than float32.

    With vector instructions for bfloat16 alone a step of a small network takes twice float32's time.
    """
    return "amx_bf16" in _read_cpuinfo("flags", root).split()


def is_intel(root: Path = Path("/")) -> bool:
    """Whether the processor is Intel's, for which MKL's kernels are written."""
    return _read_cpuinfo("vendor_id", root) == "GenuineIntel"


def _read_cpuinfo(key: str, root: Path) -> str:
    """A line of /proc/cpuinfo, of the first processor that has it; empty where the system does not say."""
    path = root / "proc" / "cpuinfo"
    text = path.read_text() if path.exists() else ""
    found = re.search(rf"^(?:{key})\s*:(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def limit_threads(n_threads: int) -> int:
    """As many threads as are asked for, or as this process may use; where that is fewer, a line says so."""
    n_cpus = count_cpus()
    if n_threads > n_cpus:
        print(f"braing3n: {n_threads} threads are asked for; this process may use {n_cpus}.", file=sys.stderr)
    return max(1, min(n_threads, n_cpus))


THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def set_thread_variables(n_threads: int) -> None:
    """Limit what this process imports from now on, and the processes that it starts, to `n_threads`."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(n_threads)
    # Blosc2 takes this over its own arguments, and several threads pack in the order in which they finish.
    os.environ["BLOSC_NTHREADS"] = "1"
    # Large tensors of PyTorch on pages of 2 MB: on small ones the kernel takes a third of a training step.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def set_threads(n_threads: int) -> None:
    """Limit this process to `n_threads`; call before the numerical libraries are imported.

    Never more than the process may use; under torchrun each process of a node takes its share.
    """
    n_threads = max(1, limit_threads(n_threads) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    set_thread_variables(n_threads)
    if "torch" in sys.modules:  # which else reads the environment
        sys.modules["torch"].set_num_threads(n_threads)


def work_side_by_side(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Results of a function of each item, in order: as many at once as BLAS has threads, each on one of them.

    For linear algebra, which runs without Python's lock. Threads of BLAS share a matrix and wait for each
    other by spinning: beside a busy process a factorisation of 12 ms took 800. These share nothing.
    """
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas")
    n_threads = max((library.num_threads for library in blas.lib_controllers), default=1)
    with blas.limit(limits=1), ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(function, items))


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar that shows the time left.

    Away from a terminal (a job's log) one line is printed for about every tenth of the work.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not console.is_terminal:
        yield from _track_in_log(iterable, description, total)
        return
    times = TimeElapsedColumn(), TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times
    with Progress(*columns, console=console) as progress:
        yield from progress.track(iterable, total=total, description=description)


def _track_in_log(iterable: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    import time

    start, step = time.monotonic(), max(1, (total or 1000) // 10)
    for n_done, item in enumerate(iterable, start=1):
        yield item
        if n_done == 1 or n_done % step == 0 or n_done == total:
            spent = time.monotonic() - start
            left = f", {spent / n_done * (total - n_done):.0f} s left" if total else ""
            print(
                f"{description}: {n_done}/{total or '?'} in {spent:.0f} s{left}", file=sys.stderr, flush=True
            )


def acquire_lock(path: Path):
    """Hold a file lock until the result's context ends; a line says where another process is waited for."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"braing3n: waiting for another process that holds {path} ...", file=sys.stderr, flush=True)
        return lock.acquire()


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` with the same suffixes; renamed on success, removed on failure.

    What a killed process left of it is removed first.
    """
    path = Path(path)
    beside = name_half_written(path)
    with explain_storage_fault(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_half_written(path)
        try:
            yield beside
            open_to_umask(beside)
            os.replace(beside, path)
        except (OSError, BrainG3nError):
            raise
        except Exception:  # of safetensors or blosc2, which have errors of their own
            check_free_space(path.parent)
            if not os.access(path.parent, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent)) from None
            raise
        finally:
            beside.unlink(missing_ok=True)


UMASKS = {"group": 0o027, "private": 0o077}


def set_permissions(permissions: str) -> None:
    """Who may read what this process and those started from it write from now on.

    Args:
        permissions: `group` (the user writes, the group reads, nobody else), `private` (the user alone), or
            `umask`, as the user's shell has it.
    """
    if permissions in UMASKS:
        os.umask(UMASKS[permissions])


def open_to_umask(path: Path) -> None:
    """The permissions of any new file: libraries that write by way of a temporary one leave it private."""
    umask = os.umask(0)
    os.umask(umask)
    if path.is_file():
        path.chmod(0o666 & ~umask)


@contextmanager
def explain_storage_fault(path: str | Path) -> Iterator[None]:
    """Writing to `path`: a full disk, a quota, a read-only folder or a place that is taken is one sentence.

    Raises:
        StorageError: in place of the `OSError`; not where another file could not be read meanwhile.
    """
    try:
        yield
    except OSError as error:
        name = Path(error.filename or "").name
        where = error.filename if name and not name.startswith(".") else path  # a file beside its final name
        is_denied_read = isinstance(error, PermissionError) and os.path.isfile(where)
        above = () if error.errno == errno.EISDIR else Path(path).parents
        is_own = Path(where) in (Path(path), *above)
        advice = (STORAGE_FAULTS | PLACE_FAULTS if is_own else STORAGE_FAULTS).get(error.errno or 0)
        if advice is None or is_denied_read:
            raise
        raise StorageError(
            f"{where}: cannot be written ({os.strerror(error.errno or 0)}); {advice} and run again: what is "
            "finished is kept."
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder of results, and see that files can be written there, before work begins.

    Raises:
        StorageError: they cannot; says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"{folder}: nothing can be written there ({error.strerror}); give another folder."
        ) from None


def check_free_space(folder: str | Path) -> None:
    """Distinguish a tool that failed for want of space from one that failed by itself.

    Raises:
        StorageError: `folder` lies on a disk that is full.
    """
    usage = shutil.disk_usage(folder)
    if usage.free < MIN_FREE_MB * 2**20:
        with explain_storage_fault(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def overlap(out_dir: Path, raw: Path) -> bool:
    """Whether an output folder lies in a folder of raw scans or around it; raw may be one file.

    A folder `derivatives` inside a raw dataset is where BIDS wants results, and lies apart.
    """
    out, folder = out_dir.resolve(), raw.resolve()
    if not folder.is_dir():
        return False
    if out == folder or folder in out.parents:
        return "derivatives" not in out.relative_to(folder).parts
    return out in folder.parents


def write_if_changed(path: str | Path, text: str) -> bool:
    """Write `text` only where the file does not hold it yet; True where something was written."""
    path = Path(path)
    if path.exists() and path.read_text() == text:
        return False
    with write_atomically(path) as beside:
        beside.write_text(text)
    return True


def read_json(path: Path) -> dict:
    """The object in a JSON file; empty where it is missing, no JSON or no object."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def digest_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_text(text: str) -> str:
    """The sha256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
