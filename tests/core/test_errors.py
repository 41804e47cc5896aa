"""What is printed of a file's name or header: nothing in it that a terminal obeys."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.core.errors import ScanError, show_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sub-01_T1w.nii.gz", "sub-01_T1w.nii.gz"),
        ("Zürich, 脳, 90°\n\tx", "Zürich, 脳, 90°\n\tx"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\rb\x08c\x7f\x9b1m", r"a\rb\x08c\x7f\x9b1m"),
        ("gpj.\u202e", r"gpj.\u202e"),  # turns the direction of writing
        ("\udce4", r"\udce4"),  # a byte of a name that is no UTF-8
    ],
)
def test_control_characters_are_spelled_out(text, shown):
    assert show_text(text) == shown
    assert str(ScanError(text)) == shown


@given(st.text())
def test_of_any_text_nothing_is_left_that_a_terminal_obeys(text):
    shown = show_text(text)
    assert not [sign for sign in shown if unicodedata.category(sign)[0] == "C" and sign not in "\n\t"]
    assert show_text(shown) == shown
