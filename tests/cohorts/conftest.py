"""The printed fixtures, each made and read once."""

from functools import cache

import pytest

from .fixtures import SPECIFICATIONS, find_kind, read_fixture
from .trees import run_ingest, write_tree


@pytest.fixture(scope="session")
def open_case(tmp_path_factory):
    """name -> the cohort, its printed fixture, the raw tree of it, and what the pipeline makes of that."""
    if not SPECIFICATIONS.is_dir():
        pytest.skip("../shared/cohorts is not beside this checkout")

    @cache
    def get(name):
        fixture, root, kind = read_fixture(name), tmp_path_factory.mktemp(name), find_kind(name)
        write_tree(root / "raw", fixture.files, fixture.tables)
        return kind, fixture, root, run_ingest(kind, root / "raw", root / "default")

    return get
