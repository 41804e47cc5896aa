"""Write the inventories, the DAG's leaf inputs, each only where its content changed."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braing3n.cohort import (
    Cohort,
    Scan,
    Walk,
    find_kind,
    find_raw_dir,
    load_cohort,
    settle_options,
)
from braing3n.cohort.settings import CohortSettings
from braing3n.core.accounting import assign_shard
from braing3n.core.bids import label
from braing3n.core.errors import CohortError, show_text
from braing3n.core.runtime import digest_file, read_json, write_if_changed
from braing3n.inventory.cache import Record, find_standing
from braing3n.inventory.scans import SECOND_COPY, find_scans

if TYPE_CHECKING:
    from braing3n.config import Config

VOLUME = ("cohort", "subject_id", "session_id", "run", "modality", "path")
PERSON = ("person_id", "group_id")
STATE = ("is_bias_corrected", "is_defaced", "is_stripped", "raw_space")
SERIES = ("path", "stamp", "source_format", "axes", *STATE)  # what reading one series needs
COLUMNS = (*VOLUME, *SERIES[1:], *PERSON, "segmentations", "spares")  # of a shard
SCAN_COLUMNS = (*VOLUME, "source_format", *STATE, *PERSON, "facts")  # of scans.tsv
LEFT_OUT_COLUMNS = (*VOLUME, "facts", "reason")
# Facts that the path repeats, and facts that move with a file's bytes.
UNSTORED_FACTS = ("name", "folder", "n_files", "n_bytes")


def build_inventories(config: Config) -> None:
    """Walk every cohort's raw folder and write its inventory; what nothing moved of stands."""
    results = Path("results") / config.run
    records = {key: _open_record(key, config, results / "inventory" / key) for key in config.cohorts}
    for key, settings in config.cohorts.items():  # a wrong option is reported before anything is walked
        cohort = load_cohort(find_kind(key, settings))
        settle_options(key, cohort, settings.options)
        if settings.miniature:
            _write_miniature(key, cohort, records[key].raw_dir, settings, config)
    standing = find_standing(records.values())
    for key, settings in config.cohorts.items():
        if records[key] in standing:
            _print_warnings(key, records[key].read_warnings())
        else:
            _build_inventory(key, settings, records[key], results)


def _open_record(key: str, config: Config, folder: Path) -> Record:
    settings = config.cohorts[key]
    raw_dir = find_raw_dir(config.run, key, settings)
    return Record(folder, raw_dir, [key, settings.as_json()], find_kind(key, settings))


def _build_inventory(key: str, settings: CohortSettings, record: Record, results: Path) -> None:
    folder, derivative = results / "inventory" / key, results / "preprocess" / key
    cohort = load_cohort(find_kind(key, settings))
    options = settle_options(key, cohort, settings.options)
    walk = walk_cohort(key, cohort, record.raw_dir, options, folder)
    _check_found(key, cohort, record.raw_dir, walk)
    write_inventory(key, settings, walk, folder)
    write_participants(walk, derivative)
    record.write(walk, [*folder.glob("*.tsv"), derivative / "participants.tsv"], _list_warnings(walk, folder))


def walk_cohort(key: str, cohort: Cohort, raw_dir: Path, options: Mapping[str, Any], folder: Path) -> Walk:
    """What a cohort's raw folder holds; `folder` keeps what need not be read again.

    Raises:
        CohortError: the folder or a table is not as it must be, or two ids would share a BIDS label.
    """
    if cohort.find_scans is not None:
        walk = cohort.find_scans(raw_dir, key, options)
    else:
        headers = HeaderCache(folder / ".headers.json")
        walk = find_scans(cohort, raw_dir, key, options, headers.read)
        headers.save()
    _check_labels(key, walk.scans)
    return walk


def _check_found(key: str, cohort: Cohort, raw_dir: Path, walk: Walk) -> None:
    """A raw folder in which nothing is recognised is a mistake, found before there is a DAG.

    Raises:
        CohortError: what was found, and what the known layouts look like.
    """
    if walk.scans or walk.left_out:
        return
    files = sorted(walk.unused)
    found = f"its {len(files)} files belong to no rule, such as {files[0]}" if files else "it holds no image"
    found = "; ".join([found, *(warning.rstrip(".") for warning in walk.warnings)])
    examples = [*(cohort.miniature.list_examples() if cohort.miniature else ()), *cohort.layouts.split()]
    known = ", ".join(examples or ["sub-01/anat/sub-01_T1w.nii.gz (BIDS)"])
    raise CohortError(
        f"{key}: no scan is recognised in '{raw_dir}' ({found}); layouts that are known: {known}. "
        f"Give the folder as it was downloaded as cohorts.{key}.raw_dir."
    )


def _write_miniature(
    key: str, cohort: Cohort, raw_dir: Path, settings: CohortSettings, config: Config
) -> None:
    """Phantoms in the cohort's own layout, where they are not there yet."""
    if cohort.write_miniature is not None:
        cohort.write_miniature(raw_dir, dict(settings.miniature), config.resources)
    elif cohort.miniature is not None:
        from braing3n.inventory.miniature import write_raw_tree

        write_raw_tree(raw_dir, key, cohort, dict(settings.miniature), config.resources)
    else:
        raise CohortError(f"{key}: cohorts/{find_kind(key, settings)}.py has no miniature; give raw_dir.")


class HeaderCache:
    """The facts of DICOM headers, read again only where a series' files moved."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, dict[str, str]] = read_json(path)
        self.used: dict[str, dict[str, str]] = {}

    def read(self, paths: list[str], stamp: str) -> Mapping[str, str]:
        """The facts of one series."""
        from braing3n.cohort.headers import read_header

        name = f"{Path(paths[0]).parent.as_posix()} {stamp}"
        known = self.known.get(name)
        self.used[name] = known if isinstance(known, dict) else read_header(paths)
        return self.used[name]

    def save(self) -> None:
        """Keep what was used, for the next walk."""
        if self.used:
            write_if_changed(self.path, json.dumps(self.used))


def write_inventory(key: str, settings: CohortSettings, walk: Walk, folder: Path) -> None:
    """Write shards, the scans without their stamps, the tables' digests, and what is not taken.

    `shard-*.tsv` feed preprocess and change with any raw file; `scans.tsv`, `left_out.tsv` and
    `tables.tsv` feed ingest, and do not change when a raw file is replaced.
    """
    rows = [to_row(key, scan) for scan in walk.scans]
    shards: list[list[dict]] = [[] for _ in range(settings.n_shards)]
    for row in rows:
        shards[assign_shard(key, row["subject_id"], settings.n_shards)].append(row)
    for number, shard in enumerate(shards):
        write_if_changed(folder / f"shard-{number:03d}.tsv", _to_tsv(COLUMNS, shard))
    for stale in folder.glob("shard-*.tsv"):
        if int(stale.stem.removeprefix("shard-")) >= settings.n_shards:
            stale.unlink()
    write_if_changed(folder / "scans.tsv", _to_tsv(SCAN_COLUMNS, rows))
    left_out = [to_row(key, scan) | {"reason": reason} for scan, reason in walk.left_out]
    write_if_changed(folder / "left_out.tsv", _to_tsv(LEFT_OUT_COLUMNS, left_out))
    tables = _drop_copies(_digest_tables(walk.tables, folder), walk)
    write_if_changed(folder / "tables.tsv", _to_tsv(("path", "sha256"), tables))
    unused = [{"path": _defuse(path), "reason": reason} for path, reason in sorted(walk.unused.items())]
    is_new = write_if_changed(folder / "unused.tsv", _to_tsv(("path", "reason"), unused))
    _warn(key, walk, folder, is_new)


def write_participants(walk: Walk, folder: Path) -> None:
    """Write the derivative's `participants.tsv`: which id of the download each BIDS label stands for.

    Here and not in a shard, since the shards of a cohort run side by side.
    """
    people = sorted({(f"sub-{label(scan.subject_id)}", scan.subject_id) for scan in walk.scans})
    rows = [{"participant_id": name, "subject_id": subject_id} for name, subject_id in people]
    write_if_changed(folder / "participants.tsv", _to_tsv(("participant_id", "subject_id"), rows))


def _list_warnings(walk: Walk, folder: Path) -> list[str]:
    """What is reported each time: that scans or tables are there twice."""
    copies = [scan.path for scan, reason in walk.left_out if reason.startswith(SECOND_COPY)]
    described = (
        f"{len(copies)} scans are there twice, such as {copies[0]}; the copies are left out "
        f"(see {folder / 'left_out.tsv'})."
        if copies
        else ""
    )
    return [*filter(None, [described]), *walk.warnings]


def _print_warnings(key: str, warnings: list[str]) -> None:
    for warning in warnings:
        print(show_text(f"{key}: {warning}"), file=sys.stderr)


def _warn(key: str, walk: Walk, folder: Path, is_new: bool) -> None:
    """Say once what is not read, and each time what is there twice."""
    _print_warnings(key, _list_warnings(walk, folder))
    if is_new and walk.unused:
        path, reason = sorted(walk.unused.items())[0]
        sentence = (
            f"{key}: {len(walk.unused)} files belong to no rule and are not read, such as {path} "
            f"({reason}); all stand in {folder / 'unused.tsv'}."
        )
        print(show_text(sentence), file=sys.stderr)


def _defuse(path: str) -> str:
    """A path that no spreadsheet takes for a formula."""
    return f"./{path}" if path.startswith(("=", "+", "-", "@")) else path


def _drop_copies(tables: list[dict], walk: Walk) -> list[dict]:
    """Of tables with one name and one content the one nearest to the top stays."""
    kept: dict[tuple[str, str], str] = {}
    for table in sorted(tables, key=lambda item: (item["path"].count("/"), item["path"])):
        name = Path(table["path"]).name, table["sha256"]
        if kept.setdefault(name, table["path"]) != table["path"]:
            walk.warnings.append(f"{table['path']} is a second copy of {kept[name]} and is not read.")
    taken = set(kept.values())
    return [table for table in tables if table["path"] in taken]


def to_row(key: str, scan: Scan) -> dict:
    """A scan as a row of an inventory; what has parts is JSON."""
    row = {"cohort": key, **vars(scan)}  # asdict copies deeply, and that for every scan
    facts = {name: text for name, text in scan.facts.items() if text and name not in UNSTORED_FACTS}
    row["facts"] = json.dumps(facts, sort_keys=True) if facts else "{}"
    row["segmentations"] = json.dumps(dict(scan.segmentations), sort_keys=True) if scan.segmentations else ""
    row["spares"] = json.dumps([_describe_series(spare) for spare in scan.spares]) if scan.spares else ""
    return {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}


def _describe_series(scan: Scan) -> dict:
    return {name: getattr(scan, name) for name in SERIES}


def _to_tsv(columns: tuple[str, ...], rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _digest_tables(tables: list[Path], folder: Path) -> list[dict]:
    """The digest of each table, taken again only where its size or time moved."""
    cache_path = folder / ".digests.json"
    cache = read_json(cache_path)
    fresh = {}
    for path in tables:
        stat = path.stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        known = cache.get(path.as_posix(), [])
        stands = isinstance(known, list) and len(known) == 2 and known[0] == stamp
        fresh[path.as_posix()] = [stamp, known[1] if stands else digest_file(path)]
    write_if_changed(cache_path, json.dumps(fresh))
    return [{"path": path, "sha256": digest} for path, (_, digest) in sorted(fresh.items())]


def _check_labels(key: str, scans: list[Scan]) -> None:
    """Two ids that would share a BIDS label are an error, since one would overwrite the other."""
    seen: dict[tuple[str, ...], str] = {}
    for scan in scans:
        where: tuple[str, ...] = ()
        for name in (scan.subject_id, scan.session_id, scan.run):
            labels = (*where, label(name) if name else "")
            other = seen.setdefault(labels, name)
            if other != name:
                of = f" of {scan.subject_id}" if where else ""
                raise CohortError(
                    f"{key}: the ids {other!r} and {name!r}{of} give one BIDS label; rename one."
                )
            where = labels
