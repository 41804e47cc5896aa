"""Values of the command line: codes of directions, and whatever else one may type."""

from itertools import permutations, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from braing3n.apply.command import check_axes
from braing3n.cli import TOOLS, main
from braing3n.core.errors import BrainG3nError

AXES = {"".join(code) for pair in product("LR", "AP", "SI") for code in permutations(pair)}


@given(st.sampled_from(sorted(AXES)), st.booleans())
def test_each_of_the_48_codes_of_directions_is_read_in_any_case(code, is_lower):
    assert len(AXES) == 48
    assert check_axes(code.lower() if is_lower else code) == code


@given(st.text(min_size=1, max_size=4) | st.text(st.sampled_from("LRAPSI"), min_size=1, max_size=4))
def test_another_code_is_one_sentence(text):
    assume(text.upper() not in AXES)
    with pytest.raises(BrainG3nError, match="is no code of three directions"):
        check_axes(text)


OPTIONS = st.sampled_from(
    [
        "--spacing-mm",
        "--threads",
        "--space",
        "--striped",
        "--axes",
        "--t1=",
        "-q",
        "--",
        "-",
        "=",
        "1",
        "x.nii.gz",
    ]
)
WORDS = st.text(min_size=1).filter(lambda text: not text.startswith(("-", "@")))


@settings(max_examples=40)
@given(st.lists(OPTIONS | WORDS, max_size=5))
def test_without_an_output_any_command_line_is_a_sentence(arguments):
    assert main(["preprocess", "x.nii.gz", *arguments]) == 2


@given(st.text(min_size=1).filter(lambda text: text not in (*TOOLS, "-h")), st.lists(st.text()))
def test_a_word_that_is_none_is_a_sentence(word, arguments):
    assert main([f"{word}?", *arguments]) == 2
