"""The specifications' fixtures give exactly the rows that the specifications print."""

import math
import re
from pathlib import Path

import pytest

from braing3n.cohort import load_cohort
from braing3n.core.accounting import check_accounting
from braing3n.core.errors import CohortError

from .fixtures import (
    NOTED,
    PRINTED,
    find_key_words,
    find_kind,
    load_printed,
    read_chapter,
)
from .trees import copy_tree, list_miniature, run_ingest, write_table, write_tree

VOLUME = ["subject_id", "session_id", "run", "modality"]


@pytest.fixture(params=PRINTED)
def case(request, open_case):
    """Each fixture in turn."""
    return open_case(request.param)


def write_number(value, like):
    """A number with as many digits as are printed."""
    return "" if math.isnan(value) else f"{value:.{len(like.partition('.')[2])}f}"


def check_volume(records, expected):
    """The one record of an expected volume, compared column by column."""
    keys = (expected.subject, expected.session, expected.run, expected.modality)
    rows = records[(records[VOLUME] == keys).all(axis=1)]
    assert len(rows) == 1, f"{keys} has {len(rows)} records"
    row = rows.iloc[0]
    files = [row["path"], *(path.as_posix() for path in sorted(Path(row["path"]).glob("*")))]
    assert any(expected.image in name for name in files), keys
    for column, text in expected.values.items():
        value = row[column]
        found = write_number(value, text) if isinstance(value, float) else str(value)
        is_right = text in found if column == "qc_flag" and text else found == text
        assert is_right, f"{keys}: {column} is {found!r}, not {text!r}"
        assert bool(row.get(f"{column}_source", text)) == bool(text), f"{keys} {column}_source"
    for column, word in expected.sources.items():
        assert word in row[f"{column}_source"].lower(), f"{keys} {column}_source"
    if expected.lag_days is not None:
        assert row["clinical_lag_days"] == expected.lag_days


def test_the_volumes_are_the_printed_ones(case):
    _, fixture, _, outcome = case
    found = set(outcome.records[["subject_id", "session_id", "modality"]].itertuples(index=False, name=None))
    assert found == {(item.subject, item.session, item.modality) for item in fixture.volumes}
    assert len(outcome.records) == len(fixture.volumes) == fixture.n_volumes
    assert outcome.records["subject_id"].nunique() == fixture.n_subjects


def test_each_record_holds_the_printed_values(case):
    _, fixture, _, outcome = case
    for expected in fixture.volumes:
        check_volume(outcome.records, expected)
    printed = {(item.subject, item.session) for item in fixture.volumes if "no_phenotype" in str(item.values)}
    flagged = outcome.records[outcome.records["qc_flag"].str.contains("no_phenotype")]
    assert set(flagged[["subject_id", "session_id"]].itertuples(index=False, name=None)) == printed


def test_what_stays_out_is_reported_with_the_printed_reason(case):
    _, fixture, _, outcome = case
    assert all(any(image in path for image in fixture.out) for path in outcome.left_out["path"])
    reported = dict(zip(outcome.left_out["path"], outcome.left_out["reason"], strict=True)) | outcome.unused
    reported |= {path: f"a label: {name}" for path, name in outcome.segmentations.items()}
    for image, reason in fixture.out.items():
        reasons = [text for path, text in reported.items() if image in path]
        assert reasons, f"{image} is not reported"
        if reason not in NOTED:
            assert all(find_key_words(reason) & find_key_words(text) for text in reasons), (reason, reasons)


def test_each_file_is_read_or_reported(case):
    """Found = taken + left out + unused + tables, counted on the files themselves."""
    _, _, root, outcome = case
    tables = (outcome.inventory_dir / "tables.tsv").read_text()
    taken = {*outcome.records["path"], *outcome.left_out["path"]}
    assert not taken & set(outcome.unused)
    received = [path.as_posix() for path in sorted((root / "raw").rglob("*")) if path.is_file()]
    homes = {name: {name, Path(name).parent.as_posix(), re.sub(r"\.img$", ".hdr", name)} for name in received}
    scans = [name for name in received if homes[name] & taken]
    beside = {*outcome.unused, *outcome.segmentations}
    others = [name for name in received if name in beside or name in tables]
    check_accounting(received, scans, others, "files of the fixture")


@pytest.mark.parametrize("name", PRINTED)
def test_an_unknown_code_of_the_tables_is_one_sentence(name, open_case, tmp_path):
    kind, fixture, root, _ = open_case(name)
    table, column, codes = load_printed(name).CODE
    changed, n_changed = re.subn(
        codes, lambda cell: re.sub(r"[^,\t]+", "Q8", cell.group()), fixture.tables[table], count=1
    )
    assert n_changed
    copy_tree(root / "raw", tmp_path / "raw", {table: changed})
    with pytest.raises(CohortError) as error:
        run_ingest(kind, tmp_path / "raw", tmp_path)
    sentence = str(error.value)
    assert Path(table).name in sentence and column.lower() in sentence.lower() and "'Q8'" in sentence  # noqa: PT018
    assert "\n" not in sentence


@pytest.mark.parametrize("name", PRINTED)
def test_the_miniature_gives_a_handful_of_known_rows(name, tmp_path):
    kind, printed = find_kind(name), load_printed(name)
    miniature = load_cohort(kind).miniature
    tables = {**miniature.tables, **getattr(printed, "HANDFUL_TABLES", {})}
    write_tree(tmp_path / "raw", list_miniature(miniature), tables)
    outcome = run_ingest(kind, tmp_path / "raw", tmp_path)
    for expected in printed.HANDFUL:
        check_volume(outcome.records, expected)


def test_adni_by_enrolment_keeps_a_converters_label(open_case, tmp_path):
    kind, _, root, _ = open_case("adni")
    records = run_ingest(kind, root / "raw", tmp_path, {"dx_rule": "enrolment"}).records
    converter = records[records["session_id"] == "20110310"].iloc[0]
    assert (converter["dx"], converter["dx_source"]) == ("MCI", "xml:researchgroup")


def test_ppmi_keeps_the_diagnoses_that_are_asked_for(open_case, tmp_path):
    kind, fixture, root, _ = open_case("ppmi")
    n_volumes, n_subjects = re.search(r"\((\d+) volumes, (\d+) subjects with all", fixture.prose).groups()
    options = load_cohort(kind).options
    name = next(name for name, option in options.items() if option.default == ["HC", "PD"])
    records = run_ingest(kind, root / "raw", tmp_path, {name: list(options[name].choices)}).records
    assert (len(records), records["subject_id"].nunique()) == (int(n_volumes), int(n_subjects))
    assert {"SWEDD", "Prodromal"} <= set(records["dx"])


def test_ppmi_sums_depression_and_autonomic_scales(open_case, tmp_path):
    """The items and the totals stand in the specification's prose."""
    kind, fixture, root, _ = open_case("ppmi")
    chapter = read_chapter(kind)
    low = re.search(r"GDS = Σ\(`([^`]*)`\)", chapter).group(1).split(", ")
    high = re.search(r"Σ\(1−x\) over `([^`]*)`", chapter).group(1).split(", ")
    flipped, total = re.search(r"flip `(\w+)` to 0 → (\d+)", fixture.prose).groups()
    uses_catheter, scopa = re.search(
        r"`(SCAU\d+)=9` \(→3\), SCAU22–25 = 9 → total (\d+)", fixture.prose
    ).groups()
    gds = dict.fromkeys(low, "0") | dict.fromkeys(high, "1")
    autonomic = {f"SCAU{n}": "9" if n > 21 or f"SCAU{n}" == uses_catheter else "0" for n in range(1, 26)}
    autonomic |= {"SCAU23A": "5", "SCAU26A": "1", "SCAU26AT": "7"}
    tables = dict(fixture.tables)
    for name, answers in (("Geriatric_Depression_Scale__Short_Version_", gds), ("SCOPA-AUT", autonomic)):
        later = answers | {flipped: "0"} if flipped in answers else answers
        lines = [["PATNO", "EVENT_ID", "INFODT", *answers], ["90001", "BL", "03/2012", *answers.values()]]
        lines.append(["90001", "V04", "04/2013", *later.values()])
        tables[f"{name}_11Apr2026.csv"] = "".join(",".join(line) + "\n" for line in lines)
    copy_tree(root / "raw", tmp_path / "raw", tables)
    records = run_ingest(kind, tmp_path / "raw", tmp_path).records.set_index(["session_id", "modality"])
    assert records.loc[("20120314", "T1"), ["gds", "scopa"]].tolist() == [0, float(scopa)]
    assert records.loc[("20130402", "T1"), ["gds", "scopa"]].tolist() == [float(total), float(scopa)]


def test_oasis1_takes_the_image_in_the_state_that_is_printed(open_case, tmp_path):
    kind, fixture, root, outcome = open_case("oasis1")
    glob, space, axes = re.search(
        r"default `([^`]*)`, `raw_space=(\w+)`, array axes (\w+)", fixture.prose
    ).groups()
    assert all(Path(path).match(f"{glob}.hdr") for path in outcome.records["path"])
    assert set(outcome.records["raw_space"]) == {space}
    shard = (outcome.inventory_dir / "shard-000.tsv").read_text().splitlines()
    assert all(f"\tAnalyze\t{axes}\t" in line for line in shard[1:])
    native = run_ingest(kind, root / "raw", tmp_path, {"image": "subj"}).records
    assert set(native["raw_space"]) == {"native"}
    assert [Path(path).name for path in native["path"]] == ["OAS1_9001_MR1_mpr_n4_anon_sbj_111.hdr"]


def test_oasis1_reads_a_sessions_own_file_where_the_table_has_no_row(open_case, tmp_path):
    kind, fixture, root, _ = open_case("oasis1")
    name, text = next(iter(fixture.tables.items()))
    lines = [line for line in text.splitlines(keepends=True) if "9002_MR1" not in line]
    copy_tree(root / "raw", tmp_path / "raw", {name: "".join(lines)})
    session = "SESSION ID: OAS1_9002_MR1\nAGE: 83\nM/F: Male\nHAND: Right\nCDR: 1\nTYPE: MPRAGE\n"
    write_table(tmp_path / "raw" / "disc1" / "OAS1_9002_MR1" / "OAS1_9002_MR1.txt", session)
    records = run_ingest(kind, tmp_path / "raw", tmp_path).records.set_index("subject_id")
    row = records.loc["OAS1_9002"]
    assert (row["age_years"], row["sex"], row["dx"], row["qc_flag"]) == (83.0, "M", "AD", "")
    assert row["age_years_source"].startswith("session_file:")


def test_abide1_reports_the_table_row_without_an_image(open_case):
    _, fixture, _, outcome = open_case("abide1")
    subject = re.search(r"table row (\d+) without image is reported", fixture.prose).group(1)
    assert re.search(rf"table 'phenotype' have no scan: {subject}$", outcome.printed, re.MULTILINE)


def test_abide1_with_repeats_has_the_printed_number(open_case, tmp_path):
    kind, fixture, root, outcome = open_case("abide1")
    records = run_ingest(kind, root / "raw", tmp_path, {"all_repeats": True}).records
    assert len(records) == int(re.search(r"With repeats (\d+)", fixture.prose).group(1))
    assert sorted(records.loc[records["subject_id"] == "0059902", "run"]) == ["1", "2"]
    other = re.search(r"one `person_id` with ABIDE-II (\d+)", fixture.prose).group(1)
    person = outcome.records.loc[outcome.records["subject_id"] == "0059907", "person_id"].iloc[0]
    assert person == load_cohort(kind).person(other) == f"abide/{other}"


def test_abide1_knows_the_preprocessed_projects_table_by_its_columns(open_case, tmp_path):
    kind, fixture, root, outcome = open_case("abide1")
    name, text = next(iter(fixture.tables.items()))
    lines = [f",{number},{line}" for number, line in enumerate(text.splitlines())]
    lines[0] = f",,{text.splitlines()[0]}"
    copy_tree(root / "raw", tmp_path / "raw", {name: "\n".join(lines)})
    records = run_ingest(kind, tmp_path / "raw", tmp_path).records
    assert records["age_years"].tolist() == outcome.records["age_years"].tolist()
    assert records["dx"].tolist() == outcome.records["dx"].tolist()


def test_ixi_takes_no_age_where_two_rows_disagree(open_case, tmp_path):
    kind, fixture, root, _ = open_case("ixi")
    text = fixture.tables["IXI.xls"].rstrip() + "\n9,2,0,0,3,1,2,3,,1,,31.5\n"
    copy_tree(root / "raw", tmp_path / "raw", {"IXI.xls": text})
    outcome = run_ingest(kind, tmp_path / "raw", tmp_path)
    rows = outcome.records[outcome.records["subject_id"] == "IXI009"]
    assert rows["age_years"].isna().all()
    assert rows["qc_flag"].str.contains("31.5").all()
    assert "31.5" in outcome.printed
