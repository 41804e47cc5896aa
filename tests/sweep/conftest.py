"""The made-up corpus of the probes' tests, whose arms are the sweep's here."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("made_up", Path(__file__).parents[1] / "probe" / "conftest.py")
made_up = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made_up)


@pytest.fixture(scope="session")
def corpus():
    return made_up.make_corpus()
