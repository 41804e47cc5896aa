"""What the main process checks before there is a DAG, beside the inventories themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import overlap

if TYPE_CHECKING:
    from braing3n.config import Config


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
