"""A checkout whose folder Snakemake would take for a wildcard is refused in one sentence."""

import pytest

from braing3n.core.errors import ConfigurationError
from braing3n.inventory.checks import check_folder


def test_braces_in_the_folders_name_are_one_sentence(tmp_path):
    check_folder(tmp_path / "checkout" / "braing3n")
    with pytest.raises(ConfigurationError, match="has braces in its name; rename it"):
        check_folder(tmp_path / "a{b}c" / "braing3n")
