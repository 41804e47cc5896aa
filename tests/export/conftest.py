"""Copies of the invented run that a test may change."""

import shutil

import pytest

from .invented_run import export


@pytest.fixture
def source(made, tmp_path):
    """A copy of the run's files that a test may change."""
    shutil.copytree(made[0].parent, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    return tmp_path / "run"


@pytest.fixture
def export_again(made, tmp_path):
    """Write the model folder of the run again, elsewhere."""

    def write():
        export(made[0].parent, tmp_path / "again")
        return tmp_path / "again"

    return write
