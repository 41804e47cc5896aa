"""The language that a cohort file speaks: scans, patterns, tables and the sources of fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_type_hints

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.core.settings import ResourceSettings

Format = Literal["NIfTI", "NIfTI pair", "Analyze", "DICOM"]


@dataclass(frozen=True)
class Scan:
    """One raw scan and the four facts of its state; paths are relative to the working directory.

    axes: where the header gives no orientation (Analyze): the directions in which the array's axes grow,
        such as LAS; its origin is the volume's centre. Empty: the header is believed.
    facts: what the path and the header give beside the ids: date, image, site, vendor ...
    segmentations: label -> path of what was delineated on one of the visit's scans; they stand with the
        visit's first scan.
    spares: other series of the visit and modality, tried in this order where this one is refused.
    """

    subject_id: str
    session_id: str
    run: str
    modality: str
    path: str
    stamp: str
    source_format: Format = "NIfTI"
    axes: str = ""
    is_bias_corrected: bool = False
    is_defaced: bool = False
    is_stripped: bool = False
    raw_space: str = "native"
    person_id: str = ""
    group_id: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    segmentations: Mapping[str, str] = field(default_factory=dict)
    spares: tuple[Scan, ...] = ()


@dataclass
class Walk:
    """What a raw folder holds.

    left_out: scans that a rule of the cohort leaves out, each with the reason. unused: files that belong to
    no rule, path -> why. tables: the files that hold labels. warnings: sentences for the user. listing: the
    digest of all files with their sizes and times, without what lies in folders of the names skipped_dirs.
    """

    scans: list[Scan] = field(default_factory=list)
    left_out: list[tuple[Scan, str]] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    tables: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    listing: str = ""
    skipped_dirs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pattern:
    """Files that are scans, known by the end of their path, however deep they lie.

    path: a regular expression for the end of the path below the raw folder, from a folder's or the file's
        beginning; case does not matter. Its named groups are the scan's facts; `subject`, `session`, `run`,
        `modality` and `date` (any usual form) have a meaning, the rest is the cohort's own.
    modality: what all these files are; empty: the group `modality`, or `Cohort.classify`, decides.
    facts: facts that hold for all these files, beside the groups.
    label: what such files delineate (tumour, lesion); they are then no scans, and go to SRI24 with their
        visit. Of several with one label, that of the earlier pattern is taken.
    reason: why such files are left alone; they are then no scans.
    """

    path: str
    modality: str = ""
    source_format: Format = "NIfTI"
    axes: str = ""
    is_bias_corrected: bool = False
    is_defaced: bool = False
    is_stripped: bool = False
    raw_space: str = "native"
    facts: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Preference:
    """Of two scans of one visit and modality the one with the smaller `rank` is taken.

    reason: of the exclusion of the other; rank: (facts, options) -> something that compares.
    """

    reason: str
    rank: Callable[[Mapping[str, str], Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Table:
    """One table of labels, in any usual form: CSV, TSV, .xls, .xlsx, or what `read` reads.

    files: a regular expression for the file's name; case does not matter.
    key: column -> the fact of the scan that it must equal (`subject`, `session`, `image` ...); of a column
        with several names, `PTID|RID`, the first that says something.
    needs: further columns without which a file of that name is another table.
    date: column with the row's date; the row nearest to the scan's `date` comes first.
    within_days: rows farther away do not count.
    order: column by whose value rows are ranked, the first in order first; `-column`: the last first.
    missing: what stands for nothing in this table, beside empty cells, NA, N/A, n/a and nan.
    normalise: makes a key's cell and the scan's fact comparable (a zero-padded id and a number).
    is_newest_only: of several such files (exports of several days), only the one whose name has the
        latest date is read; otherwise all are.
    read: (path) -> rows, for what is no table (XML).
    """

    name: str
    files: str
    key: Mapping[str, str]
    needs: tuple[str, ...] = ()
    date: str = ""
    within_days: float = float("inf")
    order: str = ""
    sheet: str = ""
    missing: tuple[str, ...] = ()
    normalise: Callable[[str], str] = str.strip
    is_newest_only: bool = True
    read: Callable[[Path], list[dict[str, str]]] | None = None


@dataclass(frozen=True)
class Found:
    """A value, where it stood, and how many days after the scan it was taken (before: negative)."""

    value: str
    source: str
    lag_days: float = float("nan")


class Visit(Protocol):
    """What a source of a field may ask about one scan; see `braing3n.cohort.records`."""

    facts: Mapping[str, str]
    options: Mapping[str, Any]

    def rows(self, table: str) -> Sequence[Mapping[str, str]]:
        """The scan's rows of a table, the best first; columns by their name in lower case."""
        ...

    def find(self, table: str, column: str, missing: tuple[str, ...] = ()) -> Found | None:
        """The first cell of those rows that is not missing."""
        ...

    def decode(self, table: str, found: Found, codes: Mapping[str, str]) -> Found:
        """A coded value spelled out; a code that is not known stops the cohort's ingest."""
        ...

    def ask(self, field: str) -> str:
        """A field's value from the first of its sources that knows it."""
        ...

    def flag(self, text: str) -> None:
        """Note something in `qc_flag`."""
        ...


# A source of a field: the value, or None where the next source is asked. An empty value ends the search.
Source = Callable[[Visit], Found | None]


@dataclass(frozen=True)
class Cell:
    """A source: one column of a table, its codes spelled out (`code -> value`; an empty value is unknown)."""

    table: str
    column: str
    codes: Mapping[str, str] | None = None
    missing: tuple[str, ...] = ()

    def __call__(self, visit: Visit) -> Found | None:
        found = visit.find(self.table, self.column, self.missing)
        return found if found is None or self.codes is None else visit.decode(self.table, found, self.codes)


@dataclass(frozen=True)
class Fact:
    """A source: a fact of the scan's path or header, through `codes` where given; unknown there: no value."""

    name: str
    codes: Mapping[str, str] | None = None
    source: str = ""

    def __call__(self, visit: Visit) -> Found | None:
        value = visit.facts.get(self.name, "")
        value = value if self.codes is None else self.codes.get(value, "")
        return Found(value, self.source or f"path:{self.name}") if value else None


@dataclass(frozen=True)
class Fixed:
    """A source: the same for all scans of the cohort."""

    value: str
    source: str = "cohort"

    def __call__(self, visit: Visit) -> Found | None:
        return Found(self.value, self.source)


@dataclass(frozen=True)
class Option:
    """A switch of the cohort, set under `cohorts.<key>.options`; `choices` of a list are its elements'."""

    default: bool | str | list[str]
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Miniature:
    """A small raw download of phantoms, in the layout, formats and tables of the real one.

    files: one path a line; `{a,b}` expands; after two spaces a note, of which these words count: `3 mm`
        (slice spacing), `dual echo`, `one file` (multi-frame), `axial`, `coronal` and `sagittal` (DICOM),
        `axes RAS` (NIfTI, any six-direction code).
    tables: file name -> its text; comma-separated text under .xls and .xlsx becomes a workbook.
    """

    files: str
    tables: Mapping[str, str] = field(default_factory=dict)

    def list_examples(self, n: int = 4) -> list[str]:
        """The first path of each of up to `n` layouts, paths that differ in digits alone counting as one."""
        paths = [line.split("  ")[0].strip() for line in self.files.splitlines() if line.strip()]
        layouts = {re.sub(r"\d+", "0", path.partition("/")[2]): path for path in reversed(paths)}
        return list(layouts.values())[::-1][:n]


@dataclass(frozen=True)
class Cohort:
    """One cohort: where it comes from, how its scans are found and how its tables are read.

    access: how one gets it (open, an agreement, a restricted table); empty: its specification does not say.
    patterns: tried in order; the first that fits a file decides about it.
    classify: (facts, options) -> modality, or `-reason` for a series that is no scan of ours.
    prefer: which of several scans of a visit and modality is taken.
    keep: (visit) -> why a scan is left out for what the tables say; empty keeps it. Only the tables that it
        asks for are opened, since that is before the DAG.
    name_subject, name_session: the path's subject or session -> its id, where layouts write one in several
        ways.
    person: subject_id -> person_id, where the same people are in another cohort; default `<key>/<subject>`.
    family: a source of the family's id, settled in the inventory.
    has_header_facts: one header a DICOM series is read for the inventory (spacing, vendor, age ...).
    fields: column of the records -> sources, asked in turn.
    options: the switches; `all_repeats`, where declared, keeps every candidate with a run number.
    layouts: a path of each layout that the miniature does not show, one a line.
    find_scans, read_records, write_miniature: for a kind of dataset that is no declaration (generic BIDS).
    """

    title: str
    source: str
    licence: str
    citation: str
    access: str = ""
    n_volumes: int = 0
    n_people: int = 0
    patterns: tuple[Pattern, ...] = ()
    classify: Callable[[Mapping[str, str], Mapping[str, Any]], str] | None = None
    prefer: tuple[Preference, ...] = ()
    keep: Callable[[Visit], str] | None = None
    name_subject: Callable[[str], str] = str
    name_session: Callable[[str], str] = str
    person: Callable[[str], str] | None = None
    family: Source | None = None
    has_header_facts: bool = False
    tables: tuple[Table, ...] = ()
    fields: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    layouts: str = ""
    miniature: Miniature | None = None
    find_scans: Callable[[Path, str, Mapping[str, Any]], Walk] | None = None
    read_records: Callable[[Path, str, pd.DataFrame], pd.DataFrame] | None = None
    write_miniature: Callable[[Path, dict, ResourceSettings], None] | None = None


PARTS = (Pattern, Preference, Table, Cell, Fact, Fixed, Option, Miniature, Cohort)
ADVICE = {
    "tuple_type": "give a tuple; of one part it ends in a comma, as in ('-9',)",
    "string_type": "give a text, in quotation marks",
    "mapping_type": "give a mapping, as in {'M': 'male'}",
    "dict_type": "give a mapping, as in {'M': 'male'}",
    "callable_type": "give a function",
}


def check_types(part: object) -> None:
    """Check a declaration, and all parts within it, against what their fields are declared to hold.

    A text in place of a tuple of texts, the slip of a forgotten comma, is else read letter by letter.

    Raises:
        ValueError: says which field of which part holds what, and what it should.
    """
    from pydantic import ValidationError

    kind = type(part)
    name = next((text for text in (getattr(part, "name", ""), getattr(part, "path", "")) if text), "")
    for item in fields(part):  # type: ignore[arg-type]  # one of PARTS
        value = getattr(part, item.name)
        try:
            _read_types(kind)[item.name].validate_python(value)  # type: ignore[arg-type]  # classes are hashable
        except ValidationError as error:
            first = error.errors()[0]
            place = item.name + "".join(f"[{step!r}]" for step in first["loc"])
            given = repr(first["input"])
            given = given if len(given) <= 60 else f"{given[:57]}..."
            advice = ADVICE.get(first["type"], first["msg"].replace("Input", "it"))
            owner = f"{kind.__name__}({name!r})" if name else kind.__name__
            raise ValueError(f"{owner} has {place} = {given}; {advice}.") from None
        for inner in _list_parts(value):
            check_types(inner)


def _list_parts(value: object) -> list[object]:
    """The parts of a declaration within a field's value."""
    if isinstance(value, PARTS):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return [part for item in inner for part in _list_parts(item)]


@cache
def _read_types(kind: type) -> dict[str, Any]:
    """What checks each field's value. No module imports the two names that annotations alone need."""
    from pydantic import ConfigDict, TypeAdapter

    unread = {"pd": SimpleNamespace(DataFrame=Any), "ResourceSettings": Any}
    hints = get_type_hints(kind, localns=unread)
    strict = ConfigDict(strict=True, arbitrary_types_allowed=True)
    return {name: TypeAdapter(hint, config=strict) for name, hint in hints.items()}
