"""The files below a raw folder, in a fixed order, one stat each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

JUNK_DIRS = {"__MACOSX"}


def list_files(
    raw_dir: str | Path, skipped_dirs: dict[str, str], unused: dict[str, str]
) -> Iterator[tuple[Path, str]]:
    """Each file with a stamp of its size and time, sorted by name within a folder.

    Hidden files and what macOS leaves behind are passed over in silence.

    Args:
        skipped_dirs: names of folders that are not entered, with the reason.
        unused: gains the skipped folders and the links to nothing, path -> reason.
    """
    with os.scandir(raw_dir) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") or entry.name in JUNK_DIRS:
            continue
        if entry.is_dir():
            if entry.name in skipped_dirs:
                unused[entry.path] = skipped_dirs[entry.name]
            else:
                yield from list_files(entry.path, skipped_dirs, unused)
            continue
        try:
            stat = entry.stat()
        except OSError:
            unused[entry.path] = "a link to nothing"
            continue
        yield Path(entry.path), f"{stat.st_size}-{stat.st_mtime_ns}"
