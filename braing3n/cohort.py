"""What a cohort file declares, and the registry, which is the listing of `cohorts/`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.config import CohortSettings, ResourceSettings

COHORTS_DIR = Path(__file__).parents[1] / "cohorts"


@dataclass(frozen=True)
class Scan:
    """One raw scan and the four facts of its state; paths are relative to the working directory."""

    subject_id: str
    session_id: str
    run: str
    modality: str
    path: str
    stamp: str
    is_bias_corrected: bool = False
    is_defaced: bool = False
    is_stripped: bool = False
    raw_space: str = "native"
    person_id: str = ""
    group_id: str = ""


@dataclass
class Walk:
    """What a raw folder holds: scans, files no rule wants (path -> why), and tables that tell labels."""

    scans: list[Scan] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Cohort:
    """One cohort: where it comes from, how its scans are found and how its tables are read.

    find_scans: (raw_dir, cohort key) -> Walk; one stat a file, no file opened unless the choice needs it.
    read_records: (raw_dir, cohort key, scans) -> one row a scan, columns of the contract `records`.
    write_miniature: (raw_dir, options, resources) writes a raw tree of phantoms; None where there is none.
    """

    title: str
    source: str
    licence: str
    citation: str
    find_scans: Callable[[Path, str], Walk]
    read_records: Callable[[Path, str, pd.DataFrame], pd.DataFrame]
    write_miniature: Callable[[Path, dict, ResourceSettings], None] | None = None


def list_cohorts() -> list[str]:
    """The kinds of cohort there are: the files of `cohorts/`."""
    return sorted(path.stem for path in COHORTS_DIR.glob("*.py"))


@cache
def load_cohort(kind: str) -> Cohort:
    """The cohort that `cohorts/<kind>.py` declares.

    Raises:
        ConfigurationError: there is no such file.
    """
    path = COHORTS_DIR / f"{kind}.py"
    if not path.exists():
        close = difflib.get_close_matches(kind, list_cohorts(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(list_cohorts())}."
        raise ConfigurationError(f"cohorts: there is no cohorts/{kind}.py; {hint}")
    spec = importlib.util.spec_from_file_location(f"cohorts.{kind}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.COHORT


def find_kind(key: str, settings: CohortSettings) -> str:
    """The cohort file that reads a configured cohort."""
    return settings.kind or key


def find_raw_dir(run: str, key: str, settings: CohortSettings) -> Path:
    """Where a cohort's raw files lie: the configured folder, or its miniature below `resources/`."""
    return Path(settings.raw_dir) if settings.raw_dir else Path("resources") / "miniatures" / run / key
