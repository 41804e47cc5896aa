"""What the Snakefile calls before there is a DAG: checks, the lock, inventories and settings files."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from braing3n.cohort import find_raw_dirs
from braing3n.config import Config, parse_config, read_yaml
from braing3n.config_fit import check_given
from braing3n.core.contracts import SPLITS
from braing3n.core.errors import BrainG3nError, ConfigurationError
from braing3n.core.runtime import set_permissions, write_if_changed
from braing3n.core.settings import Settings, split_section
from braing3n.inventory.build import build_inventories
from braing3n.inventory.checks import check_apart, check_cohorts, check_folder

# What Snakemake is asked where it executes nothing.
LOOKING = (
    "--dry-run",
    "--dryrun",
    "--unlock",
    "--lint",
    "--list-rules",
    "--list",
    "-l",
    "--list-target-rules",
    "--lt",
    "--report",
    "--summary",
    "-S",
    "--detailed-summary",
    "-D",
    "--dag",
    "--rulegraph",
    "--filegraph",
    "--d3dag",
)
BEFORE_SPLITS = ("inventory", "ingest", "preprocess", "volumes")  # targets that need no split
LOCK_PATIENCE_S = 20.0
_held: dict[Path, FileLock] = {}  # this process's locks, which end with it


def start_run(
    data: dict, is_main_process: bool, arguments: Sequence[str] = (), files: Sequence[str | Path] = ()
) -> Config:
    """Check the configuration and, in the main process, build all inventories.

    A fault is one sentence on the error stream and exit status 2, before there is a DAG.

    Args:
        arguments: Snakemake's command line, which says whether anything is to be executed.
        files: the configuration files that `data` was merged from.
    """
    from braing3n.ingest.bids_columns import check_columns
    from braing3n.manifest.quality.review import write_review
    from braing3n.manifest.withdrawn import report_strays

    try:
        check_folder()
        for path in files if is_main_process else ():
            read_yaml(path)
        config = parse_config(data)
        set_permissions(config.permissions)  # in the main process and, on a cluster, in each job's Snakemake
        if is_main_process:
            check_apart(config)
            lock = lock_run(config.run, plans_only(arguments))
            check_cohorts(config)
            check_given(config)
            if lock is not None:
                build_inventories(config)
                write_settings(config)
                write_summary(config)
                write_review(config)
                report_strays(Path("results") / config.run, config.cohorts)
                check_columns(config.probe.columns, find_raw_dirs(config.run, config.cohorts))
                if "sweep" in arguments and not config.sweep_arms:
                    sentence = "Table 5 is n/a: this run has no cohort of sweep.cohorts."
                    print(f"braing3n: {sentence}", file=sys.stderr)
                if not any(word.split("_")[0] in BEFORE_SPLITS for word in arguments):
                    check_splits(config)
                if plans_only(arguments):
                    lock.release()
    except BrainG3nError as error:
        print(f"braing3n: {error}", file=sys.stderr)
        sys.exit(2)
    return config


def plans_only(arguments: Sequence[str]) -> bool:
    """Whether Snakemake was asked to look and not to execute (`-n`, `-np`, `--dry-run`, `--unlock` ...)."""
    return any(word in LOOKING or re.fullmatch("-[a-z]*n[a-z]*", word) for word in arguments)


def lock_run(run: str, is_looking: bool, patience_s: float | None = None) -> FileLock | None:
    """Hold a run's inventories, so that no other process rewrites them while it is executed.

    The lock ends with the process; one that only looks lets go at once. Where another process executes the
    run, one that looks gets None and plans from the files that are there.

    Raises:
        BrainG3nError: another process executes this run, and this one would, too.
    """
    path = Path("results") / run / "inventory" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _held.setdefault(path.absolute(), FileLock(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if is_looking:
            print(
                f"braing3n: run '{run}' is being executed by another process; this plan is made from the "
                "inventories that are there.",
                file=sys.stderr,
            )
            return None
        try:
            print(f"braing3n: waiting for another process of run '{run}' ({path}) ...", file=sys.stderr)
            lock.acquire(timeout=LOCK_PATIENCE_S if patience_s is None else patience_s)
        except Timeout:
            raise BrainG3nError(
                f"run '{run}' is being executed by another process in this folder ({path} is held); wait for "
                "it, or give another name as `run`."
            ) from None
    return lock


def list_settings(config: Config) -> Iterator[tuple[str, str]]:
    """The settings files of a run, name and JSON text: one a section, and one for what stands apart in it."""
    for key, cohort in config.cohorts.items():
        yield from split_section(f"cohorts.{key}", cohort)
    for name in type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, Settings):
            yield from split_section(name, section)


def write_settings(config: Config) -> None:
    """Write the DAG's settings files, `results/<run>/settings/<section>.json`, each where it changed."""
    for name, text in list_settings(config):
        write_if_changed(Path("results") / config.run / "settings" / f"{name}.json", text + "\n")


def write_summary(config: Config) -> None:
    """Keep what the run is configured with, for its page, without where raw scans and weights lie."""
    places: dict[str, Any] = {
        "cohorts": {"__all__": {"raw_dir"}},
        "resources": True,
        "latents": {"foreign": {"weights"}},
    }
    content = config.model_dump(mode="json", exclude=places)
    path = Path("results") / config.run / "inventory" / "settings.json"
    write_if_changed(path, json.dumps(content, indent=1) + "\n")


def check_splits(config: Config) -> None:
    """Every split has people, as far as the inventories show (people may still be joined or excluded).

    Raises:
        ConfigurationError: names the empty split and the number of people.
    """
    from braing3n.manifest.people import assign_split

    folder = Path("results") / config.run / "inventory"
    groups: set[str] = set()
    for key in config.cohorts:
        with open(folder / key / "scans.tsv", encoding="utf-8", newline="") as file:
            groups |= {row["group_id"] for row in csv.DictReader(file, delimiter="\t")}
    found = {assign_split(group, config.manifest) for group in groups}
    empty = [split for split in SPLITS if split not in found]
    if empty:
        raise ConfigurationError(
            f"the {' and '.join(empty)} split has nobody: {len(groups)} people or families, of which "
            f"{config.manifest.train:g} train and {config.manifest.validation:g} validate; raise the share "
            "of the empty split (manifest.train, manifest.validation), or give another manifest.seed."
        )
