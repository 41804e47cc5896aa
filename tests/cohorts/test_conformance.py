"""What every cohort of the folder promises, shown on its own miniature: a new file is covered as it is."""

import contextlib
import io
import os
import random
import re
import shutil
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from braing3n.cohort import Cell, list_cohorts, load_cohort, settle_options
from braing3n.cohort import records as records_module
from braing3n.cohort.records import DERIVED, NO_PHENOTYPE, CohortTables
from braing3n.core.accounting import check_accounting
from braing3n.core.errors import CohortError
from braing3n.ingest.cohort import build_records, read_facts, read_tsv
from braing3n.ingest.contracts import RECORDS
from braing3n.phantoms.formats import PLANTED

from .trees import list_miniature, run_ingest, write_tree

KINDS = [kind for kind in list_cohorts() if load_cohort(kind).miniature]
CODED = [
    (kind, field, cell)
    for kind in KINDS
    for field, sources in load_cohort(kind).fields.items()
    for cell in sources
    if isinstance(cell, Cell) and cell.codes is not None
]
ID = ["subject_id", "session_id", "run", "modality"]
OPENED: list[str] = []
UNKNOWN = "Q8"


@pytest.fixture(scope="module")
def open_case(tmp_path_factory):
    """kind -> the raw tree of its miniature and what the pipeline makes of it."""

    @cache
    def get(kind):
        miniature, root = load_cohort(kind).miniature, tmp_path_factory.mktemp(kind)
        write_tree(root / "raw", list_miniature(miniature), miniature.tables)
        return root / "raw", run_ingest(kind, root / "raw", root / "default")

    return get


@pytest.fixture(params=KINDS)
def case(request, open_case):
    """Each cohort in turn: its kind, its raw tree, the outcome."""
    return request.param, *open_case(request.param)


def read_again(kind, outcome):
    """The records of the same inventory, read anew from the tables."""
    cohort, folder = load_cohort(kind), outcome.inventory_dir
    paths = [Path(path) for path in read_tsv(folder / "tables.tsv")["path"]]
    options = settle_options(kind, cohort, {})
    with contextlib.redirect_stdout(io.StringIO()):
        return build_records(
            cohort,
            kind,
            *(read_tsv(folder / f"{name}.tsv") for name in ("scans", "left_out")),
            paths,
            options,
            Path(),
        )


def test_a_miniature_has_scans_labels_and_files_of_no_rule(case):
    kind, _, outcome = case
    assert len(outcome.records) >= 2
    assert outcome.records["age_years"].notna().any()
    assert (outcome.records["cohort"] == kind).all()


def test_each_record_tells_who_what_and_where_from(case):
    _, _, outcome = case
    records = outcome.records
    for column in (
        "cohort",
        "subject_id",
        "person_id",
        "group_id",
        "modality",
        "path",
        "source_format",
        "raw_space",
    ):
        assert (records[column] != "").all(), column
    assert set(RECORDS) <= set(records.columns)
    fields = {*DERIVED, *(name.removesuffix("_source") for name in records if name.endswith("_source"))}
    for column in sorted(fields):
        is_known = records[column].notna() if records[column].dtype == float else records[column] != ""
        assert (is_known == (records[f"{column}_source"] != "")).all(), f"{column} without its source"


def test_no_column_of_a_cohort_file_is_a_slip(case):
    assert "did you mean" not in case[2].printed


def test_nobody_is_named(case):
    """The DICOM headers of the tree hold planted names, ids and dates of birth: none is written or said."""
    _, _, outcome = case
    written = [path.read_bytes() for path in outcome.inventory_dir.rglob("*") if path.is_file()]
    text = outcome.printed + outcome.records.to_csv() + outcome.left_out.to_csv()
    text += b"".join(written).decode()
    assert not [name for name in PLANTED if name in text]


def test_kept_and_excluded_add_up_to_received(case):
    """Found = taken + left out + unused + tables, each file once."""
    _, raw_dir, outcome = case
    homes = {*outcome.records["path"], *outcome.left_out["path"]}
    assert len(homes) == len(outcome.records) + len(outcome.left_out)
    tables = set(read_tsv(outcome.inventory_dir / "tables.tsv")["path"])
    received = [path for path in sorted(raw_dir.rglob("*")) if path.is_file()]
    scans = [
        path.as_posix()
        for path in received
        if homes & {path.as_posix(), path.with_suffix(".hdr").as_posix()}
        or (path.parent.as_posix() in homes and path.as_posix() not in {*outcome.unused, *tables})
    ]
    names = [path.as_posix() for path in received]
    beside = [*outcome.unused, *outcome.segmentations, *tables]
    check_accounting(names, scans, beside, "files of the miniature")
    assert (outcome.left_out["reason"] != "").all()


def test_shuffled_file_order_gives_the_same_bytes(case, tmp_path, monkeypatch):
    kind, raw_dir, outcome = case
    scan_folder = os.scandir

    @contextlib.contextmanager
    def shuffle(path):
        with scan_folder(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name, reverse=True)
            random.Random(7).shuffle(found)
            yield iter(found)

    monkeypatch.setattr(os, "scandir", shuffle)
    again = run_ingest(kind, raw_dir, tmp_path)
    assert again.read_bytes() == outcome.read_bytes()


def test_each_deleted_phenotype_row_empties_fields_and_never_loses_a_volume(case, tmp_path, monkeypatch):
    kind, _, outcome = case
    read_file, before = records_module.read_table_file, outcome.records.set_index(ID)
    lost: dict = {}

    def read_without(path, table):
        rows = read_file(path, table)
        if rows and path == lost["path"]:
            lost["n_rows"] = max(lost["n_rows"], len(rows))
            return rows[: lost["number"]] + rows[lost["number"] + 1 :]
        return rows

    monkeypatch.setattr(records_module, "read_table_file", read_without)
    n_deleted = 0
    for path in map(Path, read_tsv(outcome.inventory_dir / "tables.tsv")["path"]):
        lost |= {"path": path, "number": 0, "n_rows": 1}
        while lost["number"] < lost["n_rows"]:
            after = read_again(kind, outcome).set_index(ID)
            assert list(after.index) == list(before.index)
            for volume in before.index:
                check_emptied(before.loc[volume], after.loc[volume])
            lost["number"] += 1
            n_deleted += 1
    assert n_deleted >= 2


def check_emptied(before, after):
    """Where all that tables held is gone, the record says so; what is still there has its source."""
    known_before, known_after = list_known(before), list_known(after)
    if known_before and not known_after:
        assert NO_PHENOTYPE in after["qc_flag"]
        assert {after[column] for column in known_before if isinstance(after[column], str)} <= {""}
    for column in known_before - known_after:
        assert after[column] in ("",) or after[column] != after[column] or after[f"{column}_source"]


def list_known(row):
    """The fields of a record that came from a table."""
    kinds = ("path:", "header:", "option:")
    sources = {
        name: row[name] for name in row.index if name.endswith("_source") and isinstance(row[name], str)
    }
    return {
        name.removesuffix("_source")
        for name, text in sources.items()
        if ":" in text and not text.startswith(kinds)
    }


def test_without_any_phenotype_all_volumes_stay_and_are_flagged(case, tmp_path, monkeypatch):
    """Through the whole walk, since a cohort may choose by its tables."""
    kind, raw_dir, outcome = case
    monkeypatch.setattr(records_module, "read_table_file", lambda path, table: [])
    bare = run_ingest(kind, raw_dir, tmp_path)
    volumes = set(outcome.records[ID].itertuples(index=False, name=None))
    assert volumes <= set(bare.records[ID].itertuples(index=False, name=None))
    assert bare.records["qc_flag"].str.contains(NO_PHENOTYPE).all()
    assert not any(list_known(row) for _, row in bare.records.iterrows())


@pytest.mark.parametrize(
    ("kind", "field", "cell"), CODED, ids=[f"{kind}-{field}-{cell.table}" for kind, field, cell in CODED]
)
def test_an_unmapped_code_is_one_sentence(kind, field, cell, open_case, monkeypatch):
    """Of any coded column, whether the miniature has it or not."""
    _, outcome = open_case(kind)
    cohort = replace(load_cohort(kind), fields={field: (cell,)})
    table = next(table for table in cohort.tables if table.name == cell.table)
    scans = [read_facts(row) for row in read_tsv(outcome.inventory_dir / "scans.tsv").to_dict("records")]
    facts = next(facts for facts in scans if all(facts.get(name) for name in table.key.values()))
    row = {column.split("|")[0].lower(): facts[name] for column, name in table.key.items()}
    row |= {table.date.lower(): facts.get("date", ""), cell.column.lower(): UNKNOWN}
    monkeypatch.setattr(records_module, "find_files", lambda table, paths: [Path("invented.csv")])
    monkeypatch.setattr(
        records_module, "read_table_file", lambda path, other: [dict(row)] if other.name == table.name else []
    )
    reader = CohortTables(cohort, [Path("invented.csv")], settle_options(kind, cohort, {}))
    reader.read(facts)
    with pytest.raises(CohortError) as error:
        reader.check_codes(kind)
    sentence = str(error.value)
    assert "\n" not in sentence
    for word in ("invented.csv", cell.column.lower(), repr(UNKNOWN), kind):
        assert word in sentence.lower() or word in sentence


def test_a_file_of_no_rule_is_reported_and_not_read(case, tmp_path):
    kind, raw_dir, outcome = case
    shutil.copytree(raw_dir, tmp_path / "raw")
    stranger = tmp_path / "raw" / "notes" / "of mine.docx"
    stranger.parent.mkdir()
    stranger.write_bytes(b"nothing of yours")
    _listen()
    OPENED.clear()
    again = run_ingest(kind, tmp_path / "raw", tmp_path)
    opened = set(OPENED)
    assert stranger.as_posix() in again.unused
    assert stranger.as_posix() in again.printed or "unused.tsv" in again.printed
    assert str(tmp_path / "inventory" / "scans.tsv") in opened  # the listener listens
    assert not opened & set(again.unused)
    assert again.records[ID].equals(outcome.records[ID])


@cache
def _listen():
    """Note each file that Python opens from now on."""

    def note(event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            OPENED.append(arguments[0])

    sys.addaudithook(note)


def test_a_second_copy_of_the_download_changes_nothing_but_a_warning(case, tmp_path):
    kind, raw_dir, _ = case
    raw = tmp_path / "raw"
    shutil.copytree(raw_dir, raw)
    once = run_ingest(kind, raw, tmp_path / "run")
    content = once.read_bytes()
    shutil.copytree(raw_dir, raw / "copy of it")
    twice = run_ingest(kind, raw, tmp_path / "run")
    assert twice.read_bytes() == content
    # A download may hold copies itself, as BGSP's archive of retests does.
    assert _count_copies(twice.printed) >= _count_copies(once.printed) + len(once.records)
    assert len(twice.records) == len(once.records)


def _count_copies(printed):
    warning = re.search(r"(\d+) scans are there twice", printed)
    return int(warning.group(1)) if warning else 0
