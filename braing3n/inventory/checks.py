"""What the main process checks before there is a DAG, beside the inventories themselves."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from braing3n.config import Config
from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import overlap


def check_folder(package_dir: Path = Path(__file__).parents[1]) -> None:
    """Snakemake takes braces in the checkout's path for names of its own.

    Raises:
        ConfigurationError: there are some.
    """
    if re.search(r"[{}]", str(package_dir)):
        raise ConfigurationError(f"the folder '{package_dir.parent}' has braces in its name; rename it.")


def check_cohorts(config: Config) -> None:
    """A run needs scans.

    Raises:
        ConfigurationError: no cohort is configured.
    """
    if not config.cohorts:
        raise ConfigurationError(
            "no cohort is configured; give a file with `cohorts:` as --configfile (config/README.md "
            "shows how; config/demo.yaml runs at once)."
        )


def check_apart(config: Config) -> None:
    """What a run writes lies neither among raw scans nor around them.

    Raises:
        ConfigurationError: names the cohort and both folders.
    """
    for key, settings in config.cohorts.items():
        for name in ("results", "logs", "benchmarks", "resources"):
            out_dir = Path(name) if name == "resources" else Path(name) / config.run
            if settings.raw_dir and overlap(out_dir, Path(settings.raw_dir)):
                raise ConfigurationError(
                    f"cohorts.{key}.raw_dir: '{settings.raw_dir}' overlaps with '{out_dir}', which this run "
                    "writes; start the run in another folder, or move the raw scans."
                )


def check_splits(config: Config) -> None:
    """Every split has people, as far as the inventories tell (people may still be joined or excluded).

    Raises:
        ConfigurationError: names the empty split and the number of people.
    """
    from braing3n.core.contracts import SPLITS
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
