"""The coded columns of a cohort's tables and their codes, as its fields' sources ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from braing3n.cohort import Cohort, Found, load_cohort, settle_options

FACTS = {"session": "2", "date": "2010-01-01", "folder": "folder", "image": "1", "site": "Taipei"}
FACTS |= {"package": "preprocessed", "layout": "stripped"}
UNKNOWN = "Q8"


class Facts(dict):
    """Facts of which each has a value."""

    def __missing__(self, name):
        return ""


class Row(dict):
    """A row in which each column says 1."""

    def __missing__(self, name):
        return "1"

    def get(self, name, default=None):
        return "1"


class Spy:
    """A visit whose one column holds an unknown code; it notes which codes a source then compares it with."""

    def __init__(self, kind: str, cohort: Cohort, only: tuple[str, str] | None = None):
        self.facts, self.options = Facts(FACTS), settle_options(kind, cohort, {})
        self.only, self.asked, self.codes = only, set(), {}

    def find(self, table, column, missing=()):
        self.asked.add((table, column))
        is_asked = self.only in (None, (table, column))
        return Found(UNKNOWN, f"{table}:{column}") if is_asked else None

    def decode(self, table, found, codes):
        self.codes[found.source.lower()] = dict(codes)
        return Found("", found.source)

    def rows(self, table):
        return [Row()]

    def ask(self, field):
        return ""

    def flag(self, text):
        pass


@dataclass(frozen=True)
class Coded:
    """One coded column: the field that it fills, its tables, and code -> value; an empty value is unknown."""

    field: str
    column: str
    tables: tuple[str, ...]
    codes: Mapping[str, str]


def list_codes(kind: str) -> list[Coded]:
    """The coded columns of a cohort; what is read as a number, a date or alleles has no codes."""
    cohort = load_cohort(kind)
    tables: dict[tuple, list[str]] = {}
    for field, sources in cohort.fields.items():
        for source in sources:
            first = Spy(kind, cohort)
            source(first)
            for only in [None, *sorted(first.asked)]:
                spy = Spy(kind, cohort, only)
                source(spy)
                for name, codes in spy.codes.items():
                    table, _, column = name.partition(":")
                    key = field, column, tuple(codes.items())
                    if codes and table not in tables.setdefault(key, []):
                        tables[key].append(table)
    return [
        Coded(field, column, tuple(tables[key]), dict(codes))
        for key in tables
        for field, column, codes in [key]
    ]


def print_row(kind: str, coded: Coded, key: str) -> str:
    """A line of the page: cohort, field, column, codes with their values, codes that are empty, the key."""
    by_value: dict[str, list[str]] = {}
    for code, value in coded.codes.items():
        by_value.setdefault(value, []).append(code)
    empty = ", ".join(by_value.pop("", []))
    values = "; ".join(
        value if [value] == codes else f"{', '.join(codes)} → {value}" for value, codes in by_value.items()
    )
    cells = (kind, coded.field, f"{', '.join(coded.tables)}: {coded.column}", values, empty, key)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
