"""Write the inventories, the DAG's leaf inputs, each only where its content changed."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path

from braing3n.bids import label
from braing3n.cohort import Scan, Walk, find_kind, find_raw_dir, load_cohort
from braing3n.config import CohortSettings, Config, parse_config
from braing3n.errors import BrainG3nError, CohortError
from braing3n.ledger import assign_shard
from braing3n.runtime import digest_file, write_if_changed

IDENTITY = ("cohort", "subject_id", "session_id", "run", "modality", "path", "person_id", "group_id")
STATE = ("is_bias_corrected", "is_defaced", "is_stripped", "raw_space")
COLUMNS = (*IDENTITY[:6], "stamp", *STATE, *IDENTITY[6:])


def start_run(data: dict, is_main_process: bool) -> Config:
    """Check the configuration and, in the main process, build all inventories.

    A fault is one sentence on the error stream and exit status 2, before there is a DAG.
    """
    try:
        config = parse_config(data)
        if is_main_process:
            build_inventories(config)
    except BrainG3nError as error:
        print(f"braing3n: {error}", file=sys.stderr)
        sys.exit(2)
    return config


def build_inventories(config: Config) -> None:
    """Walk every cohort's raw folder and write its inventory."""
    for key, settings in config.cohorts.items():
        cohort = load_cohort(find_kind(key, settings))
        raw_dir = find_raw_dir(config.run, key, settings)
        if settings.miniature:
            if cohort.write_miniature is None:
                raise CohortError(
                    f"{key}: cohorts/{find_kind(key, settings)}.py has no miniature; give raw_dir."
                )
            cohort.write_miniature(raw_dir, dict(settings.miniature), config.resources)
        walk = cohort.find_scans(raw_dir, key)
        _check_labels(key, walk.scans)
        write_inventory(key, settings, walk, Path("results") / config.run / "inventory" / key)


def write_inventory(key: str, settings: CohortSettings, walk: Walk, folder: Path) -> None:
    """Write shards, the scans without their stamps, the tables' digests and the unused files.

    `shard-*.tsv` feed preprocess and change with any raw file; `scans.tsv` and `tables.tsv` feed
    ingest, and do not change when a raw file is replaced.
    """
    rows = [_row(key, scan) for scan in walk.scans]
    shards: list[list[dict]] = [[] for _ in range(settings.n_shards)]
    for row in rows:
        shards[assign_shard(key, row["subject_id"], settings.n_shards)].append(row)
    for number, shard in enumerate(shards):
        write_if_changed(folder / f"shard-{number:03d}.tsv", _to_tsv(COLUMNS, shard))
    for stale in folder.glob("shard-*.tsv"):
        if int(stale.stem.removeprefix("shard-")) >= settings.n_shards:
            stale.unlink()
    write_if_changed(folder / "scans.tsv", _to_tsv(IDENTITY, rows))
    write_if_changed(folder / "tables.tsv", _to_tsv(("path", "sha256"), _digest_tables(walk.tables, folder)))
    unused = [{"path": path, "reason": reason} for path, reason in sorted(walk.unused.items())]
    if write_if_changed(folder / "unused.tsv", _to_tsv(("path", "reason"), unused)) and unused:
        first = unused[0]
        print(
            f"{key}: {len(unused)} files belong to no rule and are not read, such as {first['path']} "
            f"({first['reason']}); all stand in {folder / 'unused.tsv'}.",
            file=sys.stderr,
        )


def _row(key: str, scan: Scan) -> dict:
    row = {"cohort": key, **asdict(scan)}
    return {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}


def _to_tsv(columns: tuple[str, ...], rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _digest_tables(tables: list[Path], folder: Path) -> list[dict]:
    """The digest of each table, taken again only where its size or time moved."""
    cache_path = folder / ".digests.json"
    cache = json.loads(cache_path.read_text()) if cache_path.exists() else {}
    fresh = {}
    for path in tables:
        stat = path.stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        known = cache.get(path.as_posix(), ["", ""])
        fresh[path.as_posix()] = [stamp, known[1] if known[0] == stamp else digest_file(path)]
    write_if_changed(cache_path, json.dumps(fresh))
    return [{"path": path, "sha256": digest} for path, (_, digest) in sorted(fresh.items())]


def _check_labels(key: str, scans: list[Scan]) -> None:
    """Two ids that would share a BIDS label are an error, since one would overwrite the other."""
    seen: dict[str, str] = {}
    for scan in scans:
        other = seen.setdefault(label(scan.subject_id), scan.subject_id)
        if other != scan.subject_id:
            raise CohortError(
                f"{key}: the ids {other!r} and {scan.subject_id!r} give one BIDS label; rename one."
            )
