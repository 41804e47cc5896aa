"""How cohort files bring the ids of tables and folders together: any text has one name, which stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import list_cohorts, load_cohort
from braing3n.cohort.nitrc import count_session, pad_id

KINDS = [kind for kind in list_cohorts() if load_cohort(kind).miniature]
NORMALISE = {f"{kind}:{table.name}": table.normalise for kind in KINDS for table in load_cohort(kind).tables}
NAME = {f"{kind}:subject": load_cohort(kind).name_subject for kind in KINDS}
PARTS = ("sub-", "Sub", "_S1", "_Ses2", "901_S_0001", "007", ".0", "I", "/", "_part1", "Oulu", "-", ",")
PARTS = st.sampled_from(PARTS)
TEXTS = st.text() | st.lists(PARTS | st.integers(0, 10**5).map(str), max_size=4).map("".join)


@pytest.mark.parametrize("where", NORMALISE)
@given(TEXTS)
def test_an_id_of_a_table_does_not_depend_on_blanks_around_it(where, text):
    assert NORMALISE[where](f" {text}\t") == NORMALISE[where](text)


@pytest.mark.parametrize("where", NAME)
@given(PARTS, st.integers(1, 10**5), st.integers(1, 10**5))
def test_two_numbers_are_two_subjects_whose_names_stay(where, start, one, other):
    names = [NAME[where](f"{start}{number}") for number in (one, other)]
    assert (names[0] == names[1]) == (one == other)
    assert [NAME[where](name) for name in names] == names


@given(st.integers(0, 10**9), st.integers(1, 9))
def test_an_id_gets_its_zeros_back_and_keeps_its_number(number, n_digits):
    padded = pad_id(n_digits)(str(number))
    assert int(padded) == number
    assert len(padded) == max(n_digits, len(str(number)))


@given(st.integers(0, 98), st.sampled_from(("retest_{}", "FollowUp_{}", " Retest_{} ")))
def test_a_later_session_counts_one_on(number, form):
    assert count_session(form.format(number)) == str(number + 1)
    assert count_session(str(number)) == str(number)
    assert count_session("Baseline") == "1"
