"""The tables of a BIDS dataset: rows by person and visit, and what their descriptions say of the columns."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from braing3n.cohort.tables import (
    ID_COLUMNS,
    decode_text,
    describe_dead_link,
    find_column,
    normalise_column,
    read_rows,
)
from braing3n.core.errors import CohortError
from braing3n.ingest.bids_values import is_missing

# What a spreadsheet makes of ids such as `1-3` and `1e5`: a date, and a number with an exponent.
CHANGED_ID = re.compile(r"\d{1,2}-[a-z]{3}|[a-z]{3}-\d{1,2}|\d(\.\d+)?e\+?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """A cell, and where it stood; `rivals` are its values where rows of one person contradict each other."""

    text: str = ""
    source: str = ""
    column: str = ""
    rivals: tuple[str, ...] = ()


@dataclass
class LabelTable:
    """One TSV: its rows by person, by visit where it has a column for that, and its description.

    Attributes:
        rows: participant (without `sub-`) -> rows; of a table of visits, '' -> rows.
        faults: sentences about what could not be read, for each scan that the table is about.
    """

    name: str
    rows: dict[str, list[Mapping[str, str]]] = field(default_factory=dict)
    has_visits: bool = False
    units: dict[str, str] = field(default_factory=dict)
    levels: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()

    def note_unread(self, what: str, read: Iterable[str]) -> None:
        """A fault where columns with a word in their name are there, but none of those that are read."""
        odd = [name for name in self.columns if what in name.split("_")]
        if odd and not set(read) & set(self.columns):
            self.faults.append(f"{self.name}: the column '{odd[0]}' is not read as {what}")

    def explain_no_row(self, label: str) -> str:
        """The flag of a person without a row, with an id that a spreadsheet may have changed."""
        changed = [name for name in self.rows if CHANGED_ID.fullmatch(name)]
        hint = (
            f"; a spreadsheet may have changed the id {changed[0]!r} (of {len(changed)})" if changed else ""
        )
        return f"{self.name}: no row of sub-{label}{hint}"

    def match(self, label: str, labels: Iterable[str]) -> tuple[str, str]:
        """The table's id of a BIDS label ('' where it has none), and a remark where the two differ.

        A spreadsheet takes the zeros off `001`. Such an id counts where no other label and no other row
        would read the same.
        """
        if label in self.rows:
            return label, ""
        loose = _loosen(label)
        rows = [name for name in self.rows if _loosen(name) == loose]
        if len(rows) == 1 and sum(_loosen(other) == loose for other in labels) == 1:
            return rows[0], f"{self.name}: the row '{rows[0]}' is taken for sub-{label}"
        return "", ""


def read_label_table(path: Path, prefix: str) -> LabelTable:
    """A participants or sessions table with its JSON; empty where there is no file.

    prefix: `sub-` where rows are of people, `ses-` where they are of one person's visits.
    """
    table = LabelTable(path.name)
    if not path.exists():
        table.faults += filter(None, [describe_dead_link(path)])
        return table
    header, rows, faults = read_rows(path)
    table.faults += faults
    table.columns = tuple(map(normalise_column, header))
    id_column = find_column(header, ID_COLUMNS[prefix])
    if not id_column:
        if header:
            raise CohortError(
                f"{path}: has no column '{ID_COLUMNS[prefix][0]}'; rename the column with the ids."
            )
        table.faults.append(f"{path.name} is empty")
        return table
    if not rows:
        table.faults.append(f"{path.name} has a header and no rows")
    session = find_column(header, ID_COLUMNS["ses-"])
    table.has_visits = bool(session)
    found: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        row = normalise_row(row)
        if session:
            row["session_id"] = _strip_prefix(row[normalise_column(session)], "ses-")
        key = _strip_prefix(row[normalise_column(id_column)], "sub-") if prefix == "sub-" else ""
        found[key].append(row)
    nobody = len(found.pop("", ())) if prefix == "sub-" else 0
    if nobody:
        table.faults.append(f"{path.name}: {nobody} rows name nobody and are not read")
    table.rows = dict(found)
    _read_description(path.with_suffix(".json"), table)
    return table


def select_visit(rows: list[Mapping[str, str]], session_id: str) -> list[Mapping[str, str]]:
    """The rows of one visit; those that name no visit are of every one."""
    sessions = [row.get("session_id", "") for row in rows]
    if session_id in sessions:
        wanted = {session_id}
    else:
        loose = {name for name in sessions if name and _loosen(name) == _loosen(session_id)}
        wanted = loose if len(loose) == 1 else set()
    return [row for row in rows if row.get("session_id", "") in wanted] or [
        row for row in rows if is_missing(row.get("session_id", ""))
    ]


def find_cell(table: LabelTable, rows: list[Mapping[str, str]], names: Iterable[str]) -> Answer:
    """The first of the columns that says something in these rows.

    Where rows contradict each other there is no text, and `rivals` holds what they say.
    """
    for name in names:
        texts = Counter(row.get(name, "").strip() for row in rows)
        known = [text for text in texts if not is_missing(text)]
        if known:
            where = f"{table.name.split('_')[-1]}:{name}"
            return Answer(known[0], where, name) if len(known) == 1 else Answer("", where, name, tuple(known))
    return Answer()


def normalise_row(row: Mapping[str, str]) -> dict[str, str]:
    """A row by normalised columns; of two columns of one name the first that is not empty counts."""
    plain: dict[str, str] = {}
    for name, text in row.items():
        plain[normalise_column(name)] = plain.get(normalise_column(name)) or text
    return plain


def _strip_prefix(text: str, prefix: str) -> str:
    text = text.strip().strip('"').strip()  # quotes that nothing closes stay in the cells
    return text[len(prefix) :].strip() if text.lower().startswith(prefix) else text


def _loosen(name: str) -> str:
    """An id without case, leading zeros and a spreadsheet's `.0`."""
    name = re.sub(r"^(\d+)\.0$", r"\1", name.strip().casefold())
    return name.lstrip("0") or "0"


def _read_description(path: Path, table: LabelTable) -> None:
    """`Units` and `Levels` of each column, from the JSON beside a table."""
    if not path.exists():
        table.faults += filter(None, [describe_dead_link(path)])
        return
    try:
        described = json.loads(decode_text(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        table.faults.append(f"{path.name} is not valid JSON; its units and levels are not read")
        return
    for name, item in described.items() if isinstance(described, dict) else ():
        if not isinstance(item, dict):
            continue
        column = normalise_column(str(name))
        if isinstance(item.get("Units"), str):
            table.units[column] = item["Units"]
        if isinstance(item.get("Levels"), dict):
            levels = item["Levels"].items()
            table.levels[column] = {str(code): _describe(meaning) for code, meaning in levels}


def _describe(meaning: object) -> str:
    """A level's meaning: its text, or of an object its description."""
    return str(meaning.get("Description", "")) if isinstance(meaning, dict) else str(meaning)
