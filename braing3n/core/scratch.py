"""Scratch folders that do not outlive their process: heads and headers of people lie in them for a while."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "braing3n"


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


def unwind_on_sigterm() -> None:
    """Let SIGTERM end this process as an exit does, so that its scratch folders are removed.

    Training loops handle SIGTERM themselves meanwhile. Outside the main thread this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _host() -> str:
    return re.sub(r"[^0-9A-Za-z]", "", socket.gethostname()) or "host"


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
