"""From a cohort's declared tables and fields to records, one a scan."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from braing3n.cohort import Cohort, Fact, Found, Table
from braing3n.cohort.dates import parse_date
from braing3n.cohort.tables import Row, find_files, find_key, read_table_file
from braing3n.core.contracts import RECORD_COLUMNS, TASK_COLUMNS
from braing3n.core.errors import CohortError

MISSING = ("", "n/a", "na", "nan", "not available", "not applicable", "unknown")
NO_PHENOTYPE = "no_phenotype"
NUMBERS = {name for name, (kind, _) in RECORD_COLUMNS.items() if kind is float}
BOUNDS: dict[str, tuple[float, float]] = {
    name: rule for name, (kind, rule) in RECORD_COLUMNS.items() if kind is float and rule
}
BOUNDS["age_years"] = (0, 120)
# What is derived, and so has its source beside it: the labels, and further fields of a cohort.
DERIVED = (
    *("scan_date", "age_years", "sex", "dx", "dx_detail", "site", "vendor", "field_strength_t"),
    *TASK_COLUMNS,
)
# Asked where a cohort's file says nothing about a field.
DEFAULTS = {"scan_date": (Fact("date"),)}
# A column that no file has may be that of another export; a slip is one that a file has nearly so.
MIN_LIKENESS = 0.75  # of `difflib`: `altre` for `alter` has .8


class OpenTable:
    """One table's rows, found by the key of a scan."""

    def __init__(self, table: Table, paths: list[Path]):
        self.table = table
        self.paths = find_files(table, paths)
        self.used: set[tuple[str, ...]] = set()
        self.asked: set[str] = set()  # columns

    @cached_property
    def rows(self) -> dict[tuple[str, ...], list[Row]]:
        """Rows by key, in the order in which they are asked; two copies of a file are one."""
        rows: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        seen: set[tuple] = set()
        for path in self.paths:
            for row in read_table_file(path, self.table) or []:
                key = tuple(self.table.normalise(find_key(row, names)) for names in self.table.key)
                if not all(key) or (content := tuple(sorted(row.items()))) in seen:
                    continue
                seen.add(content)
                rows[key].append(row | {"": path.as_posix()})
        for key in rows:
            rows[key] = self._sort(rows[key])
        return dict(rows)

    def _sort(self, rows: list[Row]) -> list[Row]:
        column = self.table.order.removeprefix("-").lower()
        if not column:
            return rows

        def rank(row: Row) -> tuple:
            day = parse_date(row.get(column, ""))
            number = to_number(row.get(column, ""))
            return (
                day.isoformat() if day else "",
                math.inf if number is None else number,
                row.get(column, ""),
            )

        return sorted(rows, key=rank, reverse=self.table.order.startswith("-"))

    def find(self, facts: Mapping[str, str]) -> list[tuple[Row, float]]:
        """A scan's rows, the best first, each with its lag in days (nan where undated)."""
        key = tuple(self.table.normalise(facts.get(name, "")) for name in self.table.key.values())
        found = self.rows.get(key, []) if all(key) else []
        if found:
            self.used.add(key)
        if not self.table.date:
            return [(row, math.nan) for row in found]
        scan_day = parse_date(facts.get("date", ""))
        dated = []
        for row in found:
            day = parse_date(row.get(self.table.date.lower(), ""))
            if day and scan_day and abs((day - scan_day).days) <= self.table.within_days:
                dated.append((row, float((day - scan_day).days)))
        return sorted(dated, key=lambda item: abs(item[1]))

    def explain_undated(self, facts: Mapping[str, str]) -> list[str]:
        """Why a scan's rows do not count: their dates cannot be read, or none has one."""
        column = self.table.date.lower()
        key = tuple(self.table.normalise(facts.get(name, "")) for name in self.table.key.values())
        texts = [row.get(column, "") for row in self.rows.get(key, [])] if column and all(key) else []
        dated = [text for text in texts if text.lower() not in MISSING and text not in self.table.missing]
        odd = [text for text in dated if parse_date(text) is None and not text.startswith("9999")]
        where = f"{self.table.name}:{column}"
        if texts and not dated:
            return [f"{where}: none of {len(texts)} rows has a date"]
        return [f"{where}: {text!r} is no date" for text in dict.fromkeys(odd)]

    def guess_columns(self) -> dict[str, str]:
        """Columns that a field asks for and no row has -> the unused column that is probably meant."""
        header = {name for rows in self.rows.values() for row in rows for name in row}
        known = {name.strip().lower() for names in self.table.key for name in names.split("|")} | self.asked
        free = sorted(header - known)
        guesses = {
            name: difflib.get_close_matches(name, free, 1, MIN_LIKENESS)
            for name in sorted(self.asked - header)
        }
        return {name: close[0] for name, close in guesses.items() if close}

    def list_unused(self) -> list[str]:
        """The keys of rows that no scan asked for."""
        return [" ".join(key) for key in self.rows if key not in self.used]


class OpenVisit:
    """One scan among the tables: what the sources of a field ask (`braing3n.cohort.Visit`)."""

    def __init__(self, reader: CohortTables, facts: Mapping[str, str]):
        self.facts, self.options, self.reader = facts, reader.options, reader
        self.flags: list[str] = []
        self._rows: dict[str, list[tuple[Row, float]]] = {}
        self._paths: dict[str, str] = {}  # source -> the file it was found in

    def _find_rows(self, table: str) -> list[tuple[Row, float]]:
        if table not in self._rows:
            self._rows[table] = self.reader.tables[table].find(self.facts)
            for sentence in self.reader.tables[table].explain_undated(self.facts):
                self.flag(sentence)
        return self._rows[table]

    def rows(self, table: str) -> list[Row]:
        """The scan's rows of a table, the best first."""
        return [row for row, _ in self._find_rows(table)]

    def find(self, table: str, column: str, missing: tuple[str, ...] = ()) -> Found | None:
        """The first cell of those rows that is not missing."""
        self.reader.tables[table].asked.add(column.lower())
        nothing = {*self.reader.tables[table].table.missing, *missing}
        for row, lag_days in self._find_rows(table):
            text = row.get(column.lower(), "")
            if text.lower() not in MISSING and text not in nothing:
                self._paths[f"{table}:{column}"] = row[""]
                return Found(text, f"{table}:{column}", lag_days)
        return None

    def decode(self, table: str, found: Found, codes: Mapping[str, str]) -> Found:
        """A coded value spelled out; an unknown one is kept for the sentence that stops the ingest."""
        number = to_number(found.value)
        plain = str(int(number)) if number is not None and number.is_integer() else found.value
        for name in (found.value, plain, found.value.lower()):
            if name in codes:
                return Found(codes[name], found.source, found.lag_days)
        path = self._paths.get(found.source, table)
        self.reader.unknown[path, found.source.split(":", 1)[1]].add(found.value)
        return Found("", found.source, found.lag_days)

    def flag(self, text: str) -> None:
        """Note something in `qc_flag`."""
        if text not in self.flags:
            self.flags.append(text)

    def ask(self, field: str) -> str:
        """A field's value from the first of its sources that knows it."""
        return self.reader.ask(self, field).value

    @property
    def has_phenotype(self) -> bool:
        """Whether any table has a row for this scan."""
        # Each table is asked, so that a row nobody needs is no row without a scan.
        found = [table.find(self.facts) for table in self.reader.tables.values()]
        return any(found)


class CohortTables:
    """A cohort's tables, opened once, and the records read from them.

    Args:
        cohort: the declaration.
        paths: the files that may be tables.
        options: the cohort's settled switches.
    """

    def __init__(self, cohort: Cohort, paths: list[Path], options: Mapping[str, Any]):
        self.cohort, self.options = cohort, options
        self.tables = {table.name: OpenTable(table, paths) for table in cohort.tables}
        self.unknown: dict[tuple[str, str], set[str]] = defaultdict(set)

    def open_visit(self, facts: Mapping[str, str]) -> OpenVisit:
        """One scan among the tables; `facts` holds its ids, too."""
        return OpenVisit(self, facts)

    def read(self, facts: Mapping[str, str]) -> dict[str, Any]:
        """One record: each field from the first source that knows it, and where that was."""
        visit = self.open_visit(facts)
        record: dict[str, Any] = {}
        lags: dict[str, float] = {}
        for name in [*DERIVED, *(name for name in self.cohort.fields if name not in DERIVED)]:
            found = self.ask(visit, name)
            record[name] = self._convert(name, found, visit)
            record[f"{name}_source"] = found.source if record[name] not in ("", None) else ""
            lags[name] = found.lag_days
            if isinstance(record[name], float) and math.isnan(record[name]):
                record[f"{name}_source"] = ""
        dated = [lags["dx"], *(lags[name] for name in TASK_COLUMNS)]
        record["clinical_lag_days"] = next((lag for lag in dated if not math.isnan(lag)), math.nan)
        if not visit.has_phenotype and self.tables:
            visit.flag(NO_PHENOTYPE)
        return record | {"qc_flag": "; ".join(visit.flags)}

    def ask(self, visit: OpenVisit, name: str) -> Found:
        """What the first of a field's sources that knows it says; an empty value where none does."""
        answers = (source(visit) for source in self.cohort.fields.get(name, DEFAULTS.get(name, ())))
        return next((found for found in answers if found is not None), Found("", ""))

    def _convert(self, name: str, found: Found, visit: OpenVisit) -> Any:
        if name not in NUMBERS:
            return found.value
        number = to_number(found.value)
        if number is None and found.value:
            visit.flag(f"{name}: {found.value!r} is no number")
        low, high = BOUNDS.get(name, (-math.inf, math.inf))
        if number is not None and not low <= number <= high:
            visit.flag(f"{name}: {number:g} is not between {low:g} and {high:g}")
            number = None
        return math.nan if number is None else number

    def check_codes(self, key: str) -> None:
        """Stop where a code is not spelled out.

        Raises:
            CohortError: one sentence with every such file, column and value.
        """
        if self.unknown:
            cases = [
                f"{path}, column '{column}': {', '.join(map(repr, sorted(values)))}"
                for (path, column), values in sorted(self.unknown.items())
            ]
            raise CohortError(
                f"{key}: codes that the cohort file does not spell out: {'; '.join(cases)}; "
                "correct the table, or add them to the codes in the cohort's file."
            )

    def use_rows(self, facts: Mapping[str, str]) -> None:
        """Rows of a scan that a rule leaves out are not without a scan."""
        for table in self.tables.values():
            table.find(facts)

    def list_slips(self) -> list[str]:
        """A sentence for each column that the cohort's file names and a table has under nearly that name."""
        return [
            f"the table '{name}' has no column '{column}', as the cohort's file says; did you mean '{close}'?"
            for name, table in self.tables.items()
            for column, close in table.guess_columns().items()
        ]

    def list_absent(self) -> list[str]:
        """The declared tables that no file is: name and the expression of the file's name."""
        return [f"'{name}' ({open_.table.files})" for name, open_ in self.tables.items() if not open_.paths]

    def list_unused_rows(self) -> dict[str, list[str]]:
        """Rows of no scan, by table."""
        return {name: keys for name, table in self.tables.items() if (keys := table.list_unused())}


def to_number(text: str) -> float | None:
    """A cell as a finite decimal number; None where it is none, such as `1_000`, which Python reads."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None
