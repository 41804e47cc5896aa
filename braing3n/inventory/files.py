"""The files below a raw folder, in a fixed order, one stat each, and one digest of all of that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braing3n.cohort import Walk

JUNK_DIRS = {"__MACOSX"}
# What stands in a listing for the stamp of what is no file.
DIR, DEAD_LINK = "/", "?"


def list_files(raw_dir: str | Path, skipped_dirs: Mapping[str, str], walk: Walk) -> Iterator[tuple[str, str]]:
    """Each file's path with a stamp of its size and time: those of a folder, by name, then its folders'.

    Hidden files and what macOS leaves behind are passed over in silence. Paths are text, since a download
    may hold millions.

    Args:
        skipped_dirs: names of folders that are not entered, with the reason.
        walk: gains the skipped folders and the links to nothing as unused, and at the end the listing.
    """
    digest = hashlib.sha256()
    for folder, lines in _descend(to_prefix(raw_dir), skipped_dirs, digest):
        for line in lines:
            name, _, stamp = line.partition("\0")
            if stamp == DIR:
                if name in skipped_dirs:
                    walk.unused[folder + name] = skipped_dirs[name]
            elif stamp == DEAD_LINK:
                walk.unused[folder + name] = "a link to nothing"
            else:
                yield folder + name, stamp
    walk.listing, walk.skipped_dirs = digest.hexdigest(), tuple(skipped_dirs)


def digest_files(raw_dir: str | Path, skipped_dirs: Collection[str]) -> str:
    """What `Walk.listing` is after `list_files`: another where any file came, went or moved."""
    digest = hashlib.sha256()
    for _ in _descend(to_prefix(raw_dir), skipped_dirs, digest):
        pass
    return digest.hexdigest()


def to_prefix(folder: str | Path) -> str:
    """A folder as the beginning of the paths below it, spelled as `Path` spells them."""
    text = Path(folder).as_posix()
    return "" if text == "." else text.rstrip("/") + "/"


def _descend(folder: str, skipped_dirs: Collection[str], digest) -> Iterator[tuple[str, list[str]]]:
    """Each folder and its sorted lines `name NUL stamp`, all of which go into the digest."""
    lines, dirs = _scan(folder)
    text = "\n".join([folder, *lines, ""])
    digest.update(text.encode(errors="surrogateescape"))
    yield folder, lines
    for name in sorted(dirs):
        if name not in skipped_dirs:
            yield from _descend(f"{folder}{name}/", skipped_dirs, digest)


def _scan(folder: str) -> tuple[list[str], list[str]]:
    """A folder's lines, sorted, and the names of its folders."""
    lines, dirs = [], []
    # From an open folder each file's stat is looked up by its name alone, not by its whole path.
    descriptor = os.open(folder or ".", os.O_RDONLY)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name in JUNK_DIRS:
                    continue
                if entry.is_dir():
                    dirs.append(name)
                    lines.append(f"{name}\0{DIR}")
                    continue
                try:
                    stat = entry.stat()
                except OSError:
                    lines.append(f"{name}\0{DEAD_LINK}")
                else:
                    lines.append(f"{name}\0{stat.st_size}-{stat.st_mtime_ns}")
    finally:
        os.close(descriptor)
    lines.sort()  # as by name, since nothing is before NUL
    return lines, dirs
