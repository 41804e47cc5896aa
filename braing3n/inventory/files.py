"""The files below a raw folder, in a fixed order, one stat each, and one digest of all of that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.core.errors import CohortError

if TYPE_CHECKING:
    from braing3n.cohort import Walk

JUNK_DIRS = {"__MACOSX"}
# What stands in a listing for the stamp of what is no file.
DIR, DEAD_LINK, LOOP, BAD_NAME, CLOSED = "/", "?", "@", "~", "!"
FAULTS = {
    DEAD_LINK: "a link to nothing",
    LOOP: "a link to a folder that it lies in",
    BAD_NAME: "its name is no UTF-8; rename it",
}


def check_raw_dir(raw_dir: Path, key: str) -> None:
    """A cohort's raw folder is there.

    Raises:
        CohortError: it is not, or it is a file.
    """
    if not raw_dir.is_dir():
        fault = "is a file; name its folder as" if raw_dir.exists() else "does not exist; correct"
        raise CohortError(f"{key}: the raw folder '{raw_dir}' {fault} cohorts.{key}.raw_dir.")


def list_files(raw_dir: str | Path, skipped_dirs: Mapping[str, str], walk: Walk) -> Iterator[tuple[str, str]]:
    """Each file's path with a stamp of its size and time: those of a folder, by name, then its folders'.

    Hidden files and what macOS leaves behind are passed over in silence. Paths are text, since a download
    may hold millions.

    Args:
        skipped_dirs: names of folders that are not entered, with the reason.
        walk: gains what is not entered or read as unused, a warning for folders that cannot be listed, and
            at the end the listing.

    Raises:
        CohortError: the raw folder itself cannot be listed.
    """
    digest, dead = hashlib.sha256(), []
    for folder, lines in _descend(to_prefix(raw_dir), skipped_dirs, digest):
        for line in lines:
            name, _, stamp = line.partition("\0")
            path = folder + name
            if stamp == DIR:
                if name in skipped_dirs:
                    walk.unused[path] = skipped_dirs[name]
            elif stamp.startswith(CLOSED):
                walk.unused[show_path(path)] = f"cannot be listed ({stamp[1:]})"
                walk.warnings.append(f"the folder {show_path(path)} cannot be listed ({stamp[1:]}).")
            elif stamp in FAULTS:
                walk.unused[show_path(path)] = FAULTS[stamp]
                dead += [show_path(path)] if stamp == DEAD_LINK else []
            else:
                yield path, stamp
    if dead:
        walk.warnings.append(
            f"{len(dead)} files are links to nothing and are not read, such as {dead[0]}; in a DataLad "
            "dataset fetch their content first (`datalad get`)."
        )
    walk.listing, walk.skipped_dirs = digest.hexdigest(), tuple(skipped_dirs)


def show_path(path: str) -> str:
    """A path as text that can be written, its bytes that are no UTF-8 as `\\xe4`."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


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


def _descend(top: str, skipped_dirs: Collection[str], digest) -> Iterator[tuple[str, list[str]]]:
    """Each folder and its sorted lines `name NUL stamp`, all of which go into the digest.

    A link to a folder that it lies in is not followed. Folders wait in a list, so that no depth is too deep.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(top, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            lines, dirs, own = _scan(folder, above)
        except OSError as error:
            if folder == top:
                raise CohortError(
                    f"the raw folder '{folder.rstrip('/') or '.'}' cannot be read ({error.strerror}); ask "
                    "for permission to read it."
                ) from None
            parent, _, name = folder.rstrip("/").rpartition("/")
            lines, dirs, own = [f"{name}\0{CLOSED}{error.strerror}"], [], (0, 0)
            folder = f"{parent}/" if parent or top.startswith("/") else ""
        text = "\n".join([folder, *lines, ""])
        digest.update(text.encode(errors="surrogateescape"))
        yield folder, lines
        below = above | {own}
        waiting += [
            (f"{folder}{name}/", below) for name in sorted(dirs, reverse=True) if name not in skipped_dirs
        ]


def _scan(folder: str, above: Collection[tuple[int, int]]) -> tuple[list[str], list[str], tuple[int, int]]:
    """A folder's lines, sorted, the names of its folders, and what identifies the folder."""
    lines, dirs = [], []
    # From an open folder each file's stat is looked up by its name alone, not by its whole path.
    descriptor = os.open(folder or ".", os.O_RDONLY)
    try:
        itself = os.fstat(descriptor)
        own = itself.st_dev, itself.st_ino
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name[0] == "." or entry.name in JUNK_DIRS:
                    continue
                stamp = _stamp(entry, above, own)
                lines.append(f"{entry.name}\0{stamp}")
                if stamp == DIR:
                    dirs.append(entry.name)
    finally:
        os.close(descriptor)
    lines.sort()  # as by name, since nothing is before NUL
    return lines, dirs, own


def _stamp(entry: os.DirEntry, above: Collection[tuple[int, int]], own: tuple[int, int]) -> str:
    """What stands in a listing beside an entry's name."""
    if not entry.name.isascii() and not _is_text(entry.name):
        return BAD_NAME
    try:
        if entry.is_dir():
            if entry.is_symlink():
                stat = entry.stat()
                if (stat.st_dev, stat.st_ino) == own or (stat.st_dev, stat.st_ino) in above:
                    return LOOP
            return DIR
        stat = entry.stat()
    except OSError:
        return DEAD_LINK
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
