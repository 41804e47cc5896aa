"""The registry of cohorts, which is the listing of `cohorts/`: one file each."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from braing3n.cohort.language import Cell, Cohort, Pattern, Table, check_types
from braing3n.core.contracts import MODALITIES, RECORD_COLUMNS
from braing3n.core.errors import ConfigurationError, require_checkout

if TYPE_CHECKING:
    from braing3n.cohort.settings import CohortSettings

COHORTS_DIR = Path(__file__).parents[2] / "cohorts"
IDS = ("subject", "session", "run", "modality", "name", "folder")  # facts that every scan has


def list_cohorts() -> list[str]:
    """The kinds of cohort there are: the files of `cohorts/`."""
    return sorted(path.stem for path in COHORTS_DIR.glob("*.py"))


@cache
def load_cohort(kind: str) -> Cohort:
    """The cohort that `cohorts/<kind>.py` declares.

    Raises:
        ConfigurationError: there is no such file, it is no declaration, or it has a slip.
    """
    path = COHORTS_DIR / f"{kind}.py"
    if not path.exists():
        require_checkout(f"cohorts/{kind}.py")
        close = difflib.get_close_matches(kind, list_cohorts(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(list_cohorts())}."
        raise ConfigurationError(
            f"cohorts: there is no cohorts/{kind}.py; {hint} Write `kind: bids` for a BIDS folder; "
            "docs/adding_a_cohort.md shows how to add a cohort."
        )
    spec = importlib.util.spec_from_file_location(f"cohorts.{kind}", path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the file does
        lines = [
            f", line {step.lineno}" for step in extract_tb(error.__traceback__) if step.filename == str(path)
        ]
        fault = f"{type(error).__name__}: {error}{''.join(lines[-1:])}"
        raise ConfigurationError(f"cohorts/{kind}.py: cannot be read ({fault}).") from None
    cohort = getattr(module, "COHORT", None)
    if not isinstance(cohort, Cohort):
        raise ConfigurationError(f"cohorts/{kind}.py: declares no cohort; write COHORT = Cohort(...).")
    _check_declaration(kind, cohort)
    return cohort


def _check_declaration(kind: str, cohort: Cohort) -> None:
    """Check the patterns, tables and fields of a cohort file.

    Raises:
        ConfigurationError: names the file, the slip and its correction.
    """
    try:
        check_types(cohort)
        facts = set(IDS)
        for pattern in cohort.patterns:
            facts |= _check_pattern(pattern, has_classify=cohort.classify is not None)
        for table in cohort.tables:
            _check_table(table, facts, is_open=cohort.has_header_facts)
        _check_fields(cohort)
    except ValueError as error:
        raise ConfigurationError(f"cohorts/{kind}.py: {error}") from None


def _list_groups(expression: str, what: str) -> set[str]:
    try:
        return set(re.compile(expression).groupindex)
    except re.error as error:
        raise ValueError(f"{what} '{expression}' is no regular expression ({error}).") from None


def _check_pattern(pattern: Pattern, has_classify: bool) -> set[str]:
    """The facts that a pattern gives."""
    facts = _list_groups(pattern.path, "the pattern") | set(pattern.facts)
    if pattern.reason:
        return facts
    where = f"the pattern '{pattern.path}'"
    if "subject" not in facts:
        raise ValueError(f"{where} does not say whose the scan is; add a group (?P<subject>...).")
    if pattern.modality and pattern.modality not in MODALITIES:
        raise ValueError(f"{where} has modality '{pattern.modality}'; give one of {', '.join(MODALITIES)}.")
    if not (pattern.label or pattern.modality or has_classify or "modality" in facts):
        raise ValueError(
            f"{where} does not say what the scan is; give `modality`, a group (?P<modality>...), or a "
            "function as the cohort's `classify`."
        )
    return facts


def _check_table(table: Table, facts: set[str], is_open: bool) -> None:
    """is_open: headers give further facts, whose names nobody declares."""
    _list_groups(table.files, f"the table '{table.name}' has files")
    unknown = [fact for fact in table.key.values() if fact not in facts]
    if unknown and not is_open:
        raise ValueError(
            f"the table '{table.name}' has the key {dict(table.key)}, which is column -> fact of the scan; "
            f"'{unknown[0]}' is no such fact. There are {', '.join(sorted(facts))}."
        )


def _check_fields(cohort: Cohort) -> None:
    """A field of its own name is allowed; one that looks like a slip of a record's column is not."""
    known, tables = list(RECORD_COLUMNS), [table.name for table in cohort.tables]
    for name in sorted(cohort.fields):
        close = [column for column in known if column.startswith(f"{name}_")]
        close += difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name not in known and close and close[0] not in cohort.fields:
            raise ValueError(f"the records have no column '{name}'; did you mean '{close[0]}'?")
        for source in cohort.fields[name]:
            if isinstance(source, Cell):
                _check_cell(name, source, tables)


def _check_cell(field: str, cell: Cell, tables: list[str]) -> None:
    """A cell is of a table that is declared, and its codes stand for values that the field may have.

    Raises:
        ValueError: says which, without the file.
    """
    if cell.table not in tables:
        close = difflib.get_close_matches(cell.table, tables, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(tables) or 'none'}."
        raise ValueError(f"the field '{field}' asks for a table '{cell.table}' that is not declared; {hint}")
    _, allowed = RECORD_COLUMNS.get(field, (str, None))
    if cell.codes and isinstance(allowed, tuple) and isinstance(allowed[0], str):
        odd = [value for value in cell.codes.values() if value not in allowed]
        if odd:
            shown = ", ".join(filter(None, allowed))
            raise ValueError(f"the field '{field}' has codes for '{odd[0]}', which is none of {shown}.")


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
