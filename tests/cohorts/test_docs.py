"""What `docs/adding_a_cohort.md` shows works as it stands."""

import re
import shutil

import pytest

from braing3n.cohort import COHORTS_DIR, load_cohort
from braing3n.core.errors import BrainG3nError
from braing3n.inventory.build import walk_cohort

from .fixtures import RawFile
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
    outcome = read(lake)
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


def change(lake, old, new):
    """Edit the cohort's file."""
    path = lake / "cohorts" / "lake.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def read(lake, files=(), without=()):
    """Ingest a download of the miniature's files and some more."""
    miniature = load_cohort("lake").miniature
    tables = {name: text for name, text in miniature.tables.items() if name not in without}
    write_tree(lake / "raw", [*list_miniature(miniature), *(RawFile(path) for path in files)], tables)
    return run_ingest("lake", lake / "raw", lake / "work")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (r"(?P<subject>L\d+)_(?P<date>", r"(?P<subject>L\d+_(?P<date>", "is no regular expression"),
        (r"(?P<subject>L\d+)", r"L\d+", r"add a group \(\?P<subject>"),
        ("(?P<modality>T1|FLAIR)", "T1", "does not say what the scan is; give `modality`"),
        (r'\.nii\.gz"),', r'\.nii\.gz", "T1w"),', "has modality 'T1w'; give one of T1, T1c, T2, FLAIR"),
        (r'r"people\.csv"', 'r"people[.csv"', "the table 'people' has files 'people\\[.csv' is no regular"),
        ('{"id": "subject"}', '{"subject": "id"}', "column -> fact of the scan; 'id' is no such fact"),
        ('Cell("people", "age")', 'Cell("peple", "age")', "a table 'peple' that is not declared; did you"),
        ('{"f": "F", "m"', '{"f": "female", "m"', "'sex' has codes for 'female', which is none of F, M"),
        ('"age_years"', '"age_year"', "the records have no column 'age_year'; did you mean 'age_years'"),
    ],
)
def test_a_slip_of_the_file_is_one_sentence_that_names_it(lake, old, new, sentence):
    change(lake, old, new)
    with pytest.raises(BrainG3nError, match=rf"^cohorts/lake\.py: .*{sentence}"):
        load_cohort("lake")


def test_a_value_that_no_field_has_is_named_whatever_its_source(lake):
    change(lake, 'Cell("people", "sex", {"f": "F", "m": "M"})', 'Fixed("female")')
    with pytest.raises(BrainG3nError, match="file makes sex 'female', which is none of F, M; correct its"):
        read(lake)


def test_a_scan_of_another_modality_is_left_out_and_the_pattern_named(lake):
    change(lake, "T1|FLAIR)", "T1|FLAIR|PD)")
    outcome = read(lake, ["scans/L01_2019-05-02_PD.nii.gz", "scans/L03_2019-05-02_t1.nii.gz"])
    assert outcome.records["volume_id"].tolist()[-1] == "lake_sub-L03_ses-20190502_T1"
    assert len(outcome.records) == 4
    reason = "its modality is none of T1, T1c, T2, FLAIR ('PD')"
    assert outcome.left_out["reason"].tolist() == [reason]
    (warning,) = walk_cohort("lake", load_cohort("lake"), lake / "raw", {}, lake / "again").warnings
    assert "left out for their modality: 1, such as " in warning
    assert f"L01_2019-05-02_PD.nii.gz: {reason}" in warning


@pytest.mark.parametrize("kind", ["lake", "bids"])
def test_a_raw_folder_that_is_a_file_or_absent_says_which(lake, kind):
    if kind == "bids":
        shutil.copy(PAGE.parents[1] / "cohorts" / "bids.py", lake / "cohorts")
    (lake / "file").touch()
    for name, fault in (("file", "is a file; name its folder as"), ("none", "does not exist; correct")):
        with pytest.raises(BrainG3nError, match=f"{name}' {fault} cohorts.mine.raw_dir"):
            walk_cohort("mine", load_cohort(kind), lake / name, {}, lake / "work")


def test_a_declared_table_that_no_file_is_is_named(lake):
    outcome = read(lake, without=["people.csv"])
    assert set(outcome.records["qc_flag"]) == {"no_phenotype"}
    assert (
        r"lake: no file is one of the tables 'people' (people\.csv); fields of theirs stay" in outcome.printed
    )
    assert "no file is one of the tables" not in read(lake).printed


def test_a_column_with_a_slip_is_named_with_the_one_that_was_meant(lake):
    change(lake, '"people", "diagnosis"', '"people", "diagnoiss"')
    outcome = read(lake)
    assert outcome.records["dx"].tolist() == ["", "", ""]
    sentence = "the table 'people' has no column 'diagnoiss', as the cohort's file says; did you mean"
    assert f"lake: {sentence} 'diagnosis'?" in outcome.printed
