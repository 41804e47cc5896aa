"""Whether an inventory still stands: nothing that it was made from moved, and its files are as they were."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import braing3n
from braing3n.cohort import Walk
from braing3n.cohort import registry as cohorts
from braing3n.core.runtime import read_json, write_if_changed
from braing3n.inventory.files import digest_files

PACKAGE_DIR = Path(braing3n.__file__).parent
# The code that decides, beside the cohort's own file: which scans are found, and how their tables are read.
DECIDING = ("*.py", "inventory/*.py", "ingest/*.py")
KEPT = {"given": list, "listing": str, "skipped_dirs": list, "outputs": dict, "warnings": list}
N_LISTED_AT_ONCE = 2  # raw folders: a listing is nothing but waiting for the file system


class Record:
    """What a cohort's inventory was made from, kept beside it and never in the raw folder.

    The listing of the raw folder is made anew at each walk, one stat a file, so that a file replaced in
    place is seen; whatever else a walk does is done again only where something moved.

    Args:
        folder: of the inventory.
        given: what the walk knows beside the raw folder: the cohort's key and section of the configuration.
        kind: the cohort's file.
    """

    def __init__(self, folder: Path, raw_dir: Path, given: Iterable[str], kind: str):
        self.path, self.raw_dir = folder / ".walk.json", raw_dir
        # Now and not after the walk, so that what is edited meanwhile is seen the next time.
        file = cohorts.COHORTS_DIR / f"{kind}.py"
        self.given = [*given, raw_dir.as_posix(), sys.version, CODE, _digest([file] if file.exists() else [])]

    def is_whole(self) -> bool:
        """Whether the inventory is as it was written, and the walk would be given the same."""
        known = self._read()
        return known.get("given") == self.given and all(
            _stamp(Path(path)) == stamp for path, stamp in known["outputs"].items()
        )

    def is_listing_same(self) -> bool:
        """Whether no file of the raw folder came, went or moved."""
        known = self._read()
        return self.raw_dir.is_dir() and digest_files(self.raw_dir, known["skipped_dirs"]) == known["listing"]

    def read_warnings(self) -> list[str]:
        """What the walk reported that is to be reported each time."""
        return self._read()["warnings"]

    def write(self, walk: Walk, outputs: Iterable[Path], warnings: list[str]) -> None:
        """Keep what was walked and written; a cohort that lists its files in its own way is walked anew."""
        if not walk.listing:
            self.path.unlink(missing_ok=True)
            return
        known = {
            "given": self.given,
            "listing": walk.listing,
            "skipped_dirs": walk.skipped_dirs,
            "outputs": {path.as_posix(): _stamp(path) for path in outputs},
            "warnings": warnings,
        }
        write_if_changed(self.path, json.dumps(known))

    def _read(self) -> dict:
        """What was kept; nothing where there is none, or anything that we would not have written."""
        known = read_json(self.path)
        is_ours = all(isinstance(known.get(name), kind) for name, kind in KEPT.items())
        return known if is_ours else {}


def find_standing(records: Iterable[Record]) -> list[Record]:
    """The inventories that a walk would write just so; raw folders are listed side by side."""
    whole = [record for record in records if record.is_whole()]
    if len(whole) < 2:
        return [record for record in whole if record.is_listing_same()]
    with ProcessPoolExecutor(N_LISTED_AT_ONCE) as pool:
        is_same = pool.map(Record.is_listing_same, whole)
        return [record for record, same in zip(whole, is_same, strict=True) if same]


def _digest(paths: Iterable[Path]) -> str:
    """One digest of several files' names and bytes."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


# Of what was just imported.
CODE = _digest(path for pattern in DECIDING for path in sorted(PACKAGE_DIR.glob(pattern)))


def _stamp(path: Path) -> str:
    """Changes with a file's size or time; empty where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_size}-{stat.st_mtime_ns}"
