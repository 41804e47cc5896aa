"""Any table that a cohort ships, as rows of text: its encoding, separator and header are detected."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from braing3n.cohort import Table
from braing3n.cohort.dates import parse_date, settle_dates
from braing3n.core.errors import CohortError

SEPARATORS = ("\t", ",", ";", "|")
N_HEADER_LINES = 8  # the header stands among these; what is above it is a title
N_HEADER_BYTES = 2**16
DATE_IN_NAME = re.compile(r"(\d{1,2}[A-Za-z]{3}\d{4}|\d{8})")
# The columns of a BIDS table that may hold participants and visits, by their prefix.
ID_COLUMNS = {
    "sub-": ("participant_id", "subject_id", "subject", "participant"),
    "ses-": ("session_id", "session", "ses", "visit_id", "visit"),
}

Row = dict[str, str]


def find_files(table: Table, paths: Iterable[Path]) -> list[Path]:
    """The files of one table, by their names; of exports of several days the newest alone."""
    found = [path for path in paths if re.fullmatch(table.files, path.name, re.IGNORECASE)]
    if not table.is_newest_only or len(found) < 2:
        return found
    newest = max(_date_name(path) for path in found)
    return [path for path in found if _date_name(path) == newest]


def _date_name(path: Path) -> str:
    """The date in a file's name, in a form that sorts; empty where there is none."""
    days = [parse_date(text) for text in DATE_IN_NAME.findall(path.stem)]
    return max((day.isoformat() for day in days if day), default="")


def is_table(path: Path, table: Table) -> bool:
    """Whether a file has the table's name and, where text gives them quickly, its columns.

    A file of the right name without its key stays the table, so that reading it says what is missing.
    """
    if not re.fullmatch(table.files, path.name, re.IGNORECASE):
        return False
    if table.read is not None or not table.needs or path.suffix.lower() in (".xls", ".xlsx"):
        return True
    with open(path, "rb") as file:
        head = file.read(N_HEADER_BYTES)
    return any(_has_columns(line, (*table.key, *table.needs)) for line in _split_cells(head)[:N_HEADER_LINES])


def _has_columns(line: list[str], columns: Iterable[str]) -> bool:
    header = {cell.strip().lower() for cell in line}
    return all(any(name.strip().lower() in header for name in names.split("|")) for names in columns)


def find_key(row: Row, names: str) -> str:
    """The cell of a key's column, or of the first of its names (`PTID|RID`) that says something."""
    return next(filter(None, (row.get(name.strip().lower(), "") for name in names.split("|"))), "")


def read_table_file(path: Path, table: Table) -> list[Row] | None:
    """The rows of one file, cells stripped, columns in lower case; None where it is another table.

    Raises:
        CohortError: the file cannot be read, or has the table's name but not its key column.
    """
    if table.read is not None:
        return table.read(path)
    lines = _read_cells(path, table.sheet)
    for number, line in enumerate(lines[:N_HEADER_LINES]):
        if _has_columns(line, table.key):
            if not _has_columns(line, table.needs):
                return None
            header = [cell.strip().lower() for cell in line]
            rows = [_to_row(header, cells) for cells in lines[number + 1 :] if any(map(str.strip, cells))]
            return settle_dates(rows)
    if table.needs:
        return None
    key = " or ".join(map(repr, next(iter(table.key)).split("|")))
    first = ", ".join(cell.strip() for cell in (lines[0] if lines else [])[:12])
    raise CohortError(
        f"{path}: has no column {key} (its first line: {first}); give the table as it was downloaded."
    )


def read_rows(path: Path) -> tuple[list[str], list[Row], list[str]]:
    """A table whose first line is its header: the header, the rows, and sentences about odd lines.

    Cells that stand beyond the header's last column are reported, unless they are empty; so are rows that end
    before it.
    """
    lines = _read_cells(path, "")
    if not lines:
        return [], [], []
    header = [cell.strip() for cell in lines[0]]
    rows, long, short = [], [], []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(map(str.strip, cells)):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            long.append(number)
        if len(cells) < len(header):
            short.append(number)
        padded = [*cells, *[""] * (len(header) - len(cells))]
        rows.append(_to_row(header, padded))
    faults = [
        f"{path.name}: row {numbers[0]}{f' (and {len(numbers) - 1} more)' if numbers[1:] else ''} has {what}"
        for numbers, what in (
            (long, "more cells than the header; the last are not read"),
            (short, "fewer cells than the header"),
        )
        if numbers
    ]
    return header, rows, faults


def _to_row(header: list[str], cells: list[str]) -> Row:
    """Cells by column; of two columns of one name the first that is not empty counts."""
    row: Row = {}
    for name, cell in zip(header, cells, strict=False):
        row[name] = row.get(name) or cell.strip()
    return row


def _read_cells(path: Path, sheet: str) -> list[list[str]]:
    if path.suffix.lower() in (".xls", ".xlsx"):
        return _read_workbook(path, sheet)
    return _split_cells(path.read_bytes())


def _split_cells(content: bytes) -> list[list[str]]:
    text = decode_text(content)
    separator = _find_separator(text.split("\n", N_HEADER_LINES)[:N_HEADER_LINES])
    lines = [line for line in _read_csv(text, separator) if line]
    width = max(map(len, lines[:N_HEADER_LINES]), default=0)
    if not any("\n" in cell and len(line) < width for line in lines for cell in line):
        return lines
    # A quote that nothing closes took the lines after it along: then each line is read on its own.
    return [line for row in text.split("\n") for line in _read_csv(row, separator) if line]


def _find_separator(lines: list[str]) -> str:
    """What separates the most of the first lines, by preference into equally many cells.

    The extension lies often enough (tabs under .csv), and a cell may hold more commas than its line has tabs.
    """

    def rank(separator: str) -> tuple[int, int, int]:
        widths = [len(next(_read_csv(line, separator), ())) for line in lines]
        known = Counter(width for width in widths if width > 1)
        n_equal, width = max(((n, width) for width, n in known.items()), default=(0, 0))
        return known.total(), n_equal, width

    return max(SEPARATORS, key=rank)


def _read_csv(text: str, separator: str) -> Iterator[list[str]]:
    csv.field_size_limit(2**27)  # a cell may hold what an open quote took along
    if "\n" not in text and text.count('"') % 2:  # one line with an open quote, which is then a letter
        return csv.reader(io.StringIO(text), delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(io.StringIO(text), delimiter=separator)


def describe_dead_link(path: Path) -> str:
    """A sentence where a table or sidecar is a link to nothing, as git-annex leaves them; else empty."""
    is_dead = path.is_symlink() and not path.exists()
    return f"{path.name} is a link to nothing and is not read" if is_dead else ""


def decode_text(content: bytes) -> str:
    """Text with plain line ends: UTF-8 with or without a mark, UTF-16 by its mark, else Windows' Latin."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", errors="replace")  # a transfer that broke off ends within a letter
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _read_workbook(path: Path, sheet: str) -> list[list[str]]:
    import pandas as pd

    try:
        with pd.ExcelFile(path) as book:
            names = [name for name in book.sheet_names if name.lower() == sheet.lower()] if sheet else []
            frame = book.parse(names[0] if names else 0, header=None, dtype=object)
    except Exception as error:
        raise CohortError(f"{path}: cannot be read as a workbook ({type(error).__name__}).") from None
    return [[_to_text(cell) for cell in line] for line in frame.itertuples(index=False)]


def _to_text(cell: object) -> str:
    """A workbook's cell as a table of text would have it."""
    if cell is None or cell != cell:
        return ""
    if hasattr(cell, "isoformat"):
        return cell.isoformat().removesuffix("T00:00:00")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def normalise_column(name: str) -> str:
    """A column's name without case and punctuation: `Age (years)` is `age_years`."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def find_column(header: list[str], names: Iterable[str]) -> str:
    """A table's name of the first of these columns that it has; empty: none."""
    plain = {normalise_column(name): name for name in header}
    return next((plain[name] for name in names if name in plain), "")
