"""Dates as tables write them."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort.dates import MONTHS, parse_date, settle_dates, years_between

DAYS = st.dates(date(1800, 1, 1), date(2200, 12, 31))
NAMES = [name.capitalize() for name in MONTHS]
TIMES = st.sampled_from(("", "T09:00:00", " 9:00", "_10_55_25.0"))


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


@given(DAYS, TIMES, st.booleans(), st.sampled_from(" \t"))
def test_a_day_reads_back_from_every_form_that_says_which_number_it_is(day, time, is_padded, blank):
    month, number = (f"{n:02d}" if is_padded else str(n) for n in (day.month, day.day))
    texts = [f"{day.year}{sign}{month}{sign}{number}{time}" for sign in "-/_"]
    texts += [f"{day:%Y%m%d}", f"{month}/{number}/{day.year}"]
    for name in (NAMES[day.month - 1], NAMES[day.month - 1].upper(), f"{day:%B}"):
        texts += [f"{number}{sign}{name}{sign}{day.year}" for sign in ("", "-", " ")]
    for text in texts:
        assert parse_date(blank + text + blank) == day, text
    for text in (f"{month}/{day.year}", f"{day:%Y-%m}"):
        assert parse_date(text) == day.replace(day=15), text


@given(st.text() | st.from_regex(r"\A[0-9]{1,4}[-/_. ]?[0-9A-Za-z]{1,5}[-/_. ]?[0-9]{0,4}([T _].*)?\Z"))
def test_a_text_is_a_date_with_its_own_year_or_none(text):
    day = parse_date(text)
    assert day is None or (1800 <= day.year <= 2200 and str(day.year) in text)


@given(st.lists(DAYS, min_size=1), st.sampled_from("-./"), st.data())
def test_where_one_number_can_only_be_a_day_its_whole_column_reads_back(days, sign, data):
    is_day_first = data.draw(st.booleans())
    form = f"%d{sign}%m{sign}%Y" if is_day_first else f"%m{sign}%d{sign}%Y"
    days = [*days, data.draw(DAYS.filter(lambda day: day.day > 12))]
    cells = [(day.strftime(form), day) for day in days]
    cells += [(word, None) for word in data.draw(st.lists(st.sampled_from(("", "n/a", "-4", "unknown"))))]
    cells = data.draw(st.permutations(cells))
    rows = settle_dates([{"id": str(n), "seen": text} for n, (text, _) in enumerate(cells)])
    assert [parse_date(row["seen"]) for row in rows] == [day for _, day in cells]
    assert settle_dates([dict(row) for row in rows]) == rows


@pytest.mark.parametrize("first", [{"id": "1", "seen": "n/a"}, {"id": "1"}], ids=["a word", "a short row"])
def test_a_first_row_without_a_date_does_not_keep_days_and_months_apart(first):
    rows = [first, {"id": "2", "seen": "13/03/2006"}, {"id": "3", "seen": "01/04/2006"}]
    assert [row["seen"] for row in settle_dates(rows)[1:]] == ["2006-03-13", "2006-04-01"]


@given(st.lists(DAYS, min_size=1), st.lists(DAYS, min_size=1), st.sampled_from("-./"))
def test_a_column_whose_numbers_contradict_each_other_stays(days, others, sign):
    texts = [day.strftime(f"%d{sign}%m{sign}%Y") for day in [*days, date(2006, 3, 13)]]
    texts += [day.strftime(f"%m{sign}%d{sign}%Y") for day in [*others, date(2006, 3, 13)]]
    assert [row["seen"] for row in settle_dates([{"seen": text} for text in texts])] == texts


@given(DAYS, st.integers(0, 60_000))
def test_years_between_grow_with_the_days(day, n_days):
    later = min(day + timedelta(n_days), date(2200, 12, 31))
    assert years_between(day, later) * 365.25 == pytest.approx((later - day).days)
    assert years_between(later, day) == -years_between(day, later)
