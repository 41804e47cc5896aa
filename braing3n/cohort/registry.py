"""The registry of cohorts, which is the listing of `cohorts/`: one file each."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braing3n.cohort.language import Cohort
from braing3n.core.contracts import RECORD_COLUMNS
from braing3n.core.errors import ConfigurationError, require_checkout

if TYPE_CHECKING:
    from braing3n.cohort.settings import CohortSettings

COHORTS_DIR = Path(__file__).parents[2] / "cohorts"


def list_cohorts() -> list[str]:
    """The kinds of cohort there are: the files of `cohorts/`."""
    return sorted(path.stem for path in COHORTS_DIR.glob("*.py"))


@cache
def load_cohort(kind: str) -> Cohort:
    """The cohort that `cohorts/<kind>.py` declares.

    Raises:
        ConfigurationError: there is no such file, it is no declaration, or a field of it is misspelled.
    """
    path = COHORTS_DIR / f"{kind}.py"
    if not path.exists():
        require_checkout(f"cohorts/{kind}.py")
        close = difflib.get_close_matches(kind, list_cohorts(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(list_cohorts())}."
        raise ConfigurationError(f"cohorts: there is no cohorts/{kind}.py; {hint}")
    spec = importlib.util.spec_from_file_location(f"cohorts.{kind}", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        cohort = module.COHORT
    except (TypeError, NameError, AttributeError, SyntaxError, ImportError) as error:
        raise ConfigurationError(f"cohorts/{kind}.py: cannot be read ({error}).") from None
    _check_fields(kind, cohort)
    return cohort


def _check_fields(kind: str, cohort: Cohort) -> None:
    """A field of its own name is allowed; one that looks like a slip of a record's column is not.

    Raises:
        ConfigurationError: names the field and the column.
    """
    known = list(RECORD_COLUMNS)
    for name in sorted(cohort.fields.keys() - set(known)):
        close = [column for column in known if column.startswith(f"{name}_")]
        close += difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if close and close[0] not in cohort.fields:
            raise ConfigurationError(
                f"cohorts/{kind}.py: the records have no column '{name}'; did you mean '{close[0]}'?"
            )


def digest_cohort_file(kind: str) -> str:
    """The sha256 of `cohorts/<kind>.py`, so that an edited code is noticed; empty where there is no file."""
    path = COHORTS_DIR / f"{kind}.py"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def find_kind(key: str, settings: CohortSettings) -> str:
    """The cohort file that reads a configured cohort."""
    return settings.kind or key


def find_raw_dir(run: str, key: str, settings: CohortSettings) -> Path:
    """Where a cohort's raw files lie: the configured folder, or its miniature below `resources/`."""
    return Path(settings.raw_dir) if settings.raw_dir else Path("resources") / "miniatures" / run / key


def find_raw_dirs(run: str, cohorts: Mapping[str, CohortSettings]) -> dict[str, Path]:
    """Cohort -> where its raw files lie."""
    return {key: find_raw_dir(run, key, settings) for key, settings in cohorts.items()}


def settle_options(key: str, cohort: Cohort, given: Mapping[str, Any]) -> dict[str, Any]:
    """The cohort's switches: what is configured over the defaults.

    Raises:
        ConfigurationError: an unknown switch, or a value that it does not know.
    """
    for name, value in given.items():
        option = cohort.options.get(name)
        where = f"cohorts.{key}.options.{name}"
        if option is None:
            close = difflib.get_close_matches(name, cohort.options, n=1)
            known = (
                f"did you mean '{close[0]}'?" if close else f"known: {', '.join(cohort.options) or 'none'}."
            )
            raise ConfigurationError(f"{where}: there is no such option; {known}")
        if type(value) is not type(option.default):
            raise ConfigurationError(f"{where}: give a value such as {option.default!r}, not {value!r}.")
        unknown = [item for item in (value if isinstance(value, list) else [value]) if option.choices]
        unknown = [item for item in unknown if item not in option.choices]
        if unknown:
            raise ConfigurationError(f"{where}: {unknown[0]!r} is not one of {', '.join(option.choices)}.")
    return {name: option.default for name, option in cohort.options.items()} | dict(given)
