"""What must not outlive its process: scratch folders, and half-written results beside their final names.

Heads and headers of people lie in them for a while.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "braing3n"
# `.<name>-<machine><process><draw><suffixes>`, in hexadecimal.
HALF_WRITTEN = re.compile(r"(?s)\..+-(?P<machine>[0-9a-f]{6})(?P<process>[0-9a-f]{6})[0-9a-f]{4}(\..*)?")
ABANDONED_H = 24  # without a change: another machine's process, which cannot be asked for, is gone


@contextmanager
def open_scratch() -> Iterator[Path]:
    """A folder of this process below `$TMPDIR`, removed at the end; what killed processes left goes first."""
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{_host()}-{os.getpid()}-") as folder:
        yield Path(folder)


def sweep(is_own: bool = False) -> list[Path]:
    """Remove the scratch folders of this user's and machine's processes that are gone; returns them.

    is_own: this process's, too, which is about to end without unwinding.
    """
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}-{_host()}-*"):
        match = re.fullmatch(rf"{PREFIX}-{re.escape(_host())}-(\d+)-\w+", path.name)
        if match is None or path.is_symlink() or not path.is_dir():
            continue
        process = int(match[1])
        is_left = is_own if process == os.getpid() else not _is_alive(process)
        if is_left and path.stat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def name_half_written(path: Path) -> Path:
    """A name beside `path`, with its suffixes, for this process to write to and rename."""
    suffix = "".join(path.suffixes)
    draw = f"{_machine()}{os.getpid():06x}{secrets.token_hex(2)}"
    return path.with_name(f".{path.name.removesuffix(suffix)}-{draw}{suffix}")


def sweep_half_written(path: Path) -> None:
    """Remove what processes that are gone left of `path`, a file or a folder."""
    suffix = "".join(path.suffixes)
    stem = glob.escape(path.name.removesuffix(suffix))
    for left in path.parent.glob(f".{stem}-{'[0-9a-f]' * 16}{glob.escape(suffix)}"):
        if is_abandoned(left):
            remove_half_written(left)


def remove_half_written(path: Path) -> None:
    """Remove such a file or folder; one that is gone meanwhile, or that is another user's, is passed over."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def is_abandoned(path: Path) -> bool:
    """Whether a process that is gone left it half written; links are nobody's."""
    match = HALF_WRITTEN.fullmatch(path.name)
    if match is None or path.is_symlink():
        return False
    if match["machine"] == _machine():
        return not _is_alive(int(match["process"], 16))
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_H * 3600
    except OSError:
        return False


def unwind_on_sigterm() -> None:
    """Let SIGTERM end this process as an exit does, so that its scratch folders are removed.

    Training loops handle SIGTERM themselves meanwhile. Outside the main thread this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _host() -> str:
    return re.sub(r"[^0-9A-Za-z]", "", socket.gethostname()) or "host"


def _machine() -> str:
    return hashlib.sha256(_host().encode()).hexdigest()[:6]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
