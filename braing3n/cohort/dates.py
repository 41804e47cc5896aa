"""Dates as tables write them, and the years between two."""

from __future__ import annotations

import re
from datetime import date

DAYS_PER_YEAR = 365.25
MID_MONTH = 15  # the day where only month and year are known
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Month before day, as in tables from the United States.
FORMS = (
    r"(?P<y>\d{4})[-_/](?P<m>\d{1,2})[-_/](?P<d>\d{1,2})(?:[T _].*)?",
    r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:T.*)?",
    r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})(?: .*)?",
    r"(?P<d>\d{1,2})[- ]?(?P<name>[A-Za-z]{3})[a-z]*[- ]?(?P<y>\d{4})",
    r"(?P<m>\d{1,2})/(?P<y>\d{4})",
    r"(?P<y>\d{4})-(?P<m>\d{2})",
)


# Parts that two numbers of at most two digits may be the day and the month of.
NUMERIC = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4})((?:[T _].*)?)")
SHORTEST = len("1-1-2006")


def settle_dates(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Dates of numbers alone (`13-03-2006`) as ISO dates, where their column says which is the day.

    A number above 12 says it for its whole column. Where none does, the month is first between slashes, as in
    tables from the United States, and the day first between hyphens and dots. A column that says both stays.

    >>> settle_dates([{"seen": "13-03-2006"}, {"seen": "01-04-2006"}])
    [{'seen': '2006-03-13'}, {'seen': '2006-04-01'}]
    """
    # All cells are looked at: a column may begin with a word for nothing. Most are too short for a date.
    cells = (cell for row in rows for cell in row.items() if len(cell[1]) >= SHORTEST)
    for column in {name for name, text in cells if NUMERIC.fullmatch(text)}:
        _settle_column(rows, column)
    return rows


def _settle_column(rows: list[dict[str, str]], column: str) -> None:
    found = [(row, match) for row in rows if (match := NUMERIC.fullmatch(row.get(column, "")))]
    is_day = {place for _, match in found for place in (1, 3) if int(match[place]) > 12}
    if len(is_day) == 2:
        return
    for row, match in found:
        day = min(is_day, default=3 if match[2] == "/" else 1)
        row[column] = f"{match[4]}-{match[4 - day]:>02}-{match[day]:>02}{match[5]}"


def parse_date(text: str) -> date | None:
    """The day that a cell gives; day 15 where it gives month and year; None where it is no date.

    Years before 1800 and after 2200 are masks (`9999-09-09`), not dates.
    """
    for form in FORMS:
        match = re.fullmatch(form, str(text).strip())
        if match is None:
            continue
        parts = match.groupdict()
        month = _count_month(parts["name"]) if parts.get("name") else int(parts["m"])
        try:
            day = date(int(parts["y"]), month, int(parts.get("d") or MID_MONTH))
        except ValueError:
            return None
        return day if 1800 <= day.year <= 2200 else None
    return None


def _count_month(name: str) -> int:
    """1 to 12; 0 where it is no month."""
    return MONTHS.index(name.lower()) + 1 if name.lower() in MONTHS else 0


def years_between(start: date, end: date) -> float:
    """Years of 365.25 days from `start` to `end`."""
    return (end - start).days / DAYS_PER_YEAR
