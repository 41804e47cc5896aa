"""What `docs/adding_a_cohort.md` shows works as it stands."""

import re

import pytest

from braing3n.cohort import COHORTS_DIR, load_cohort

from .trees import list_miniature, run_ingest, write_tree

PAGE = COHORTS_DIR.parent / "docs" / "adding_a_cohort.md"


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """The page's cohort as the only file of a folder of cohorts."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) < 80
    (tmp_path / "cohorts").mkdir()
    (tmp_path / "cohorts" / "lake.py").write_text(code)
    monkeypatch.setattr("braing3n.cohort.registry.COHORTS_DIR", tmp_path / "cohorts")
    load_cohort.cache_clear()
    yield tmp_path
    load_cohort.cache_clear()


def test_the_pages_cohort_is_found_and_read(lake):
    miniature = load_cohort("lake").miniature
    write_tree(lake / "raw", list_miniature(miniature), miniature.tables)
    outcome = run_ingest("lake", lake / "raw", lake / "work")
    known = outcome.records.set_index("volume_id")
    assert list(known.index) == [
        "lake_sub-L01_ses-20190502_T1",
        "lake_sub-L02_ses-20190611_FLAIR",
        "lake_sub-L02_ses-20190611_T1",
    ]
    assert known["age_years"].tolist() == [71, 66, 66]
    assert known["dx"].tolist() == ["HC", "AD", "AD"]
    assert list(outcome.unused.values()) == ["diffusion"]
    assert "did you mean" not in outcome.printed


def test_a_column_with_a_slip_is_named_with_the_one_that_was_meant(lake):
    path = lake / "cohorts" / "lake.py"
    path.write_text(path.read_text().replace('"people", "diagnosis"', '"people", "diagnoiss"'))
    miniature = load_cohort("lake").miniature
    write_tree(lake / "raw", list_miniature(miniature), miniature.tables)
    outcome = run_ingest("lake", lake / "raw", lake / "work")
    assert outcome.records["dx"].tolist() == ["", "", ""]
    sentence = "the table 'people' has no column 'diagnoiss', as the cohort's file says; did you mean"
    assert f"lake: {sentence} 'diagnosis'?" in outcome.printed
