"""The stage lock: code that moved without a version is seen, comments are not."""

import pytest

from braing3n.core.stages import _strip, find_unlocked


def test_no_stage_moved_without_a_version_or_a_relock():
    assert not find_unlocked(), "\n".join(find_unlocked())


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ('"""Other words."""\ndef f(x):\n    """Doc."""\n    return x + 1  # why\n', True),
        ('"""Doc."""\ndef f(x):\n    return x + 2\n', False),
    ],
)
def test_comments_and_docstrings_do_not_count(changed, is_same):
    source = '"""Doc."""\ndef f(x):\n    return x + 1\n'
    assert (_strip(source, False) == _strip(changed, False)) is is_same


def test_the_version_itself_is_not_part_of_the_digest():
    assert _strip("STAGE_VERSION = 1\nA = 1\n", True) == _strip("STAGE_VERSION = 2\nA = 1\n", True)
