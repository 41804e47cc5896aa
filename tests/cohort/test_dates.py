"""Dates as tables write them."""

from datetime import date

import pytest

from braing3n.cohort.dates import parse_date, years_between


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2011-03-10", date(2011, 3, 10)),
        ("2011-03-10_10_55_25.0", date(2011, 3, 10)),
        ("2019-01-10T09:00:00", date(2019, 1, 10)),
        ("20120314", date(2012, 3, 14)),
        ("3/10/2011", date(2011, 3, 10)),
        ("22May2026", date(2026, 5, 22)),
        ("10/1931", date(1931, 10, 15)),
        ("1931", None),
        ("9999-09-09_00_00_00.0", None),
        ("13/45/2011", None),
        ("", None),
    ],
)
def test_every_usual_form(text, day):
    assert parse_date(text) == day


def test_years_are_of_365_and_a_quarter_days():
    assert years_between(date(2000, 1, 1), date(2004, 1, 1)) == pytest.approx(4.0)
