"""The page of codes says what the code does, of every coded column, and where each key is published."""

from pathlib import Path

import pytest

from braing3n.cohort import list_cohorts, load_cohort

from .codes import list_codes, print_row

PAGE = Path(__file__).parents[2] / "docs" / "codes.md"
KINDS = [kind for kind in list_cohorts() if load_cohort(kind).fields]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_codes_is_what_the_code_does(kind):
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {kind} |")]
    keys = [line.removesuffix(" |").rpartition(" | ")[2] for line in lines]
    expected = list_codes(kind)
    rows = [print_row(kind, coded, key) for coded, key in zip(expected, keys, strict=False)]
    missing = [print_row(kind, coded, "?") for coded in expected[len(keys) :]]
    assert lines == rows + missing
    assert all(key.strip(" ?") for key in keys), "where is the key published? else: no public key"


def test_every_declared_cohort_has_coded_columns():
    assert len(KINDS) >= 18  # the paper's; another file adds one
    assert all(list_codes(kind) for kind in KINDS)
