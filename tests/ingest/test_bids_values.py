"""Cells of BIDS tables: what is written in any usual way reads back, and what is not is None."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.ingest.bids_values import (
    DX_CODES,
    EDINBURGH_CUT,
    HAND_CODES,
    MISSING,
    OLDEST_YEARS,
    PADDING,
    SEX_CODES,
    UNITS,
    decode,
    decode_hand,
    is_missing,
    parse_age,
    spell_out,
)

CODES = st.sampled_from([*SEX_CODES.items(), *DX_CODES.items(), *HAND_CODES.items()])
ALL = SEX_CODES | DX_CODES | HAND_CODES
BLANKS = st.sampled_from(("{}", " {}", "{} ", "\t{} "))
CASES = st.sampled_from((str, str.upper, str.title))


@given(st.floats(0, OLDEST_YEARS), st.sampled_from(sorted(UNITS)), BLANKS, CASES)
def test_an_age_reads_back_with_its_unit_beside_it_or_above_it(years, unit, blanks, change):
    number = round(years / UNITS[unit], 3)
    expected = number * UNITS[unit] if number * UNITS[unit] <= OLDEST_YEARS else None
    for text in (f"{number:.3f}{unit}", f"{number:.3f} {unit}."):
        assert parse_age(blanks.format(change(text))) == expected
        assert parse_age(text, "months") == expected  # its own unit wins
    assert parse_age(f"{number:.3f}", change(blanks.format(unit))) == expected


TEXTS = st.integers(0, 9999).map(str) | st.text() | st.text(st.sampled_from("0123456789.,+-<> ymd"))


@given(TEXTS, st.sampled_from(("", "years", "months", "mm")))
def test_a_text_is_an_age_of_a_person_or_none(text, unit):
    years = parse_age(text, unit)
    assert years is None or 0 <= years <= OLDEST_YEARS
    assert years is None or not set(",+-<>") & set(text)


@given(CODES, BLANKS, CASES, st.sampled_from(" _-"))
def test_a_word_is_its_code_in_any_case_and_with_any_sign_between(code, blanks, change, sign):
    spelling, value = code
    text = blanks.format(change(spelling.replace(" ", sign)))
    assert decode(text, {}, ALL) == value


@given(CODES, st.sampled_from(sorted(PADDING)), st.booleans())
def test_words_around_a_code_do_not_hide_it(code, padding, is_before):
    spelling, value = code
    assert decode(f"{padding} {spelling}" if is_before else f"{spelling} {padding}", {}, ALL) == value


@given(CODES, st.integers(0, 99), st.sampled_from(("{}", "{}.0", " {}", "0{}")))
def test_the_meaning_of_a_level_is_read_however_its_number_is_written(code, number, form):
    spelling, value = code
    levels = {"x": "another", str(number): spelling.title()}
    assert spell_out(form.format(number), levels) == spelling.title()
    assert decode(form.format(number), levels, ALL) == value


@given(st.text())
def test_a_word_of_no_code_stays_as_it_stands_and_has_no_value(text):
    assert spell_out(text, {}) == text
    assert decode(text, {}, ALL) in {None, *ALL.values()}
    assert decode(f"{text} or not", {}, ALL) is None


@given(st.floats(4, 100), st.booleans())
def test_a_score_of_handedness_is_cut_alike_on_both_sides(score, is_left):
    hand = "A" if score < EDINBURGH_CUT else "L" if is_left else "R"
    assert decode_hand(f"{-score if is_left else score}", {}) == hand


@given(st.floats(-3.99, 3.99) | st.floats(100.01) | st.floats(max_value=-100.01))
def test_a_number_that_may_be_a_code_is_no_hand(number):
    assert decode_hand(str(number), {}) is None


@pytest.mark.parametrize("word", MISSING)
@given(BLANKS, CASES)
def test_a_word_for_nothing_is_one_in_any_case(word, blanks, change):
    assert is_missing(blanks.format(change(word)))
