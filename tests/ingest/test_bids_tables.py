"""BIDS tables as datasets ship them: rows by session, stripped zeros, levels, units, encodings, faults."""

import json
import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braing3n.core.errors import CohortError
from braing3n.ingest.bids import read_bids_records
from braing3n.ingest.bids_tables import LabelTable, normalise_column, normalise_row, select_visit
from braing3n.ingest.bids_values import MISSING, parse_age
from braing3n.ingest.contracts import RECORDS

SCANS = ("sub-001/ses-1", "sub-001/ses-2", "sub-002/ses-1")


@pytest.fixture
def read(tmp_path):
    """Write files below a dataset and read the records of its scans, by subject and session."""

    def run(files, scans=SCANS):
        rows = []
        for scan in scans:
            subject, session = (scan.removeprefix("sub-") + "/").split("/")[:2]
            name = "_".join(filter(None, scan.split("/")))
            path = tmp_path / scan / "anat" / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows.append([f"x_{name}_T1", subject, session.removeprefix("ses-"), path.as_posix()])
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            content = json.dumps(content) if isinstance(content, dict) else content
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        table = pd.DataFrame(rows, columns=["volume_id", "subject_id", "session_id", "path"])
        return read_bids_records(tmp_path, "x", table).assign(scan=list(scans)).set_index("scan")

    return run


PLAIN = "participant_id\tage\tsex\tgroup\nsub-001\t31\tF\tcontrol\nsub-002\t64.5\tM\tAD\n"


def check_plain(records):
    assert list(records["age_years"]) == [31, 31, 64.5]
    assert list(records["sex"]) == ["F", "F", "M"]
    assert list(records["dx"]) == ["HC", "HC", "AD"]


FORMS = {
    "crlf": PLAIN.replace("\n", "\r\n"),
    "latin": PLAIN.encode() + "sub-003\t3\tF\tZürich\n".encode("latin-1"),
    "utf-16": PLAIN.encode("utf-16"),
    "byte-order mark": PLAIN.encode("utf-8-sig"),
    "a trailing tab in all rows": PLAIN.replace("\nsub", "\t\nsub").replace("AD\n", "AD\t\n"),
    "a trailing tab in the rows alone": PLAIN.replace("control\n", "control\t\n").replace("AD\n", "AD\t\n"),
    "a trailing tab in one row": PLAIN.replace("AD\n", "AD\t\n"),
    "semicolons": PLAIN.replace("\t", ";"),
    "quoted headers": PLAIN.replace("participant_id", '"participant_id"').replace("age", '"age"'),
    "blanks around ids": PLAIN.replace("sub-001", " sub-001 "),
    "an open quote": PLAIN.replace("participant_id\tage", "participant_id\tnote\tage")
    .replace("sub-001\t", 'sub-001\t"left\t')
    .replace("sub-002\t", "sub-002\tb\t"),
    "ids without sub-": PLAIN.replace("sub-", ""),
    "other case": PLAIN.replace("age", "Age").replace("sex", "Gender").replace("group", "Group"),
    "spelled out": PLAIN.replace("age", "Age (years)").replace("\tF", "\tFemale"),
    "last line without an end": PLAIN.rstrip("\n"),
    "empty lines": PLAIN.replace("\nsub", "\n\n\nsub"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_labels(read, form):
    records = read({"participants.tsv": FORMS[form]})
    check_plain(records)
    assert set(records["qc_flag"]) == {""}


def test_ids_that_lost_their_zeros_are_matched_and_reported(read):
    records = read({"participants.tsv": PLAIN.replace("sub-00", "")})
    check_plain(records)
    assert records["qc_flag"].iloc[0] == "participants.tsv: the row '1' is taken for sub-001"
    records = read({"participants.tsv": PLAIN.replace("sub-001", "1.0").replace("sub-002", "2.0")})
    check_plain(records)


@pytest.mark.parametrize(("subject", "changed"), [("1e5", "1.00E+05"), ("1-3", "01-Mar"), ("mar1", "Mar-01")])
def test_an_id_that_a_spreadsheet_changed_is_named_beside_the_person_without_a_row(read, subject, changed):
    records = read(
        {"participants.tsv": f"participant_id\tage\n{changed}\t30\nsub-7e5x\t31\n"}, [f"sub-{subject}"]
    )
    assert records["age_years"].isna().all()
    flag = f"no row of sub-{subject}; a spreadsheet may have changed the id {changed!r} (of 1)"
    assert records["qc_flag"].iloc[0] == f"participants.tsv: {flag}"


def test_ids_that_could_be_two_people_match_nobody(read):
    records = read(
        {"participants.tsv": "participant_id\tage\n1\t30\n"}, ["sub-001/ses-1", "sub-01/ses-1", "sub-2/ses-1"]
    )
    assert records["age_years"].isna().all()
    assert records["qc_flag"].iloc[0] == "participants.tsv: no row of sub-001"


@pytest.mark.parametrize("column", ["session_id", "session", "ses"])
def test_a_row_by_session_is_read_for_its_own_session(read, column):
    text = f"participant_id\t{column}\tage\tsex\n"
    text += "sub-001\tses-1\t30\tF\nsub-001\tses-2\t32\t\nsub-002\t1\t50\tM\n"
    records = read({"participants.tsv": text})
    assert list(records["age_years"]) == [30, 32, 50]
    assert list(records["sex"]) == ["F", "F", "M"], "sex lasts, age does not"


def test_a_session_without_a_row_has_no_age_and_a_flag(read):
    records = read({"participants.tsv": "participant_id\tsession\tage\nsub-001\t1\t30\nsub-002\t1\t50\n"})
    assert math.isnan(records["age_years"].iloc[1])
    assert "no row of sub-001 is of session '2'" in records["qc_flag"].iloc[1]


def test_rows_of_one_person_that_contradict_each_other_are_flagged(read):
    records = read({"participants.tsv": PLAIN + "sub-001\t41\tF\tcontrol\n"})
    assert records["age_years"].isna().tolist() == [True, True, False]
    assert list(records["sex"]) == ["F", "F", "M"]
    assert "participants.tsv:age, sub-001: has rows that say '31' and '41'" in records["qc_flag"].iloc[0]


@pytest.mark.parametrize(
    ("text", "unit", "years"),
    [
        ("031Y", "", 31),
        ("006M", "", 0.5),
        ("365.25", "days", 1),
        ("60", "months", 5),
        ("60", "Month", 5),
        ("30", "", 30),
        ("30 yrs", "", 30),
        ("6 months", "years", 0.5),
        ("999", "", None),
        ("89+", "", None),
        (">89", "", None),
        ("30,5", "", None),
        ("20-25", "", None),
        ("-3", "", None),
        ("nan", "", None),
        ("1e2", "", None),
        ("30", "fortnights", None),
    ],
)
def test_ages_in_all_units(text, unit, years):
    assert parse_age(text, unit) == (None if years is None else pytest.approx(years))


def test_an_age_that_is_none_is_flagged_with_file_subject_and_value(read):
    records = read({"participants.tsv": PLAIN.replace("64.5", "89+").replace("31", "30,5")})
    assert records["age_years"].isna().all()
    assert records["qc_flag"].iloc[0] == "participants.tsv:age, sub-001: '30,5' is not a plausible age"
    assert records["qc_flag"].iloc[2] == "participants.tsv:age, sub-002: '89+' is not a plausible age"


def test_units_and_levels_of_the_description_are_used(read):
    text = "participant_id\tAge\tsex\tgroup\thandedness\nsub-001\t60\t1\t0\t1\nsub-002\t120\t2\t7\t2\n"
    levels = {
        "age": {"Units": "months"},
        "sex": {"Levels": {"1": "male", "2": "Female"}},
        "group": {"Levels": {"0": {"Description": "Typically developing"}, "7": "fibromyalgia"}},
        "handedness": {"Levels": {"1": "right", "2": "left"}},
    }
    records = read({"participants.tsv": text, "participants.json": levels})
    assert list(records["age_years"]) == [5, 5, 10]
    assert list(records["sex"]) == ["M", "M", "F"]
    assert list(records["dx"]) == ["HC", "HC", ""]
    assert records["dx_detail"].iloc[2] == "fibromyalgia"
    assert list(records["handedness"]) == ["R", "R", "L"]
    assert (
        "participants.tsv:group, sub-002: the code '7' is not known, so dx stays"
        in records["qc_flag"].iloc[2]
    )


def test_a_visits_table_has_units_and_levels_of_its_own(read):
    people = "participant_id\tage\tgroup\nsub-001\t60\t1\nsub-002\t50\t1\n"
    visits = "session_id\tage\tgroup\nses-1\t732\t2\nses-2\tn/a\tn/a\n"
    described = {"age": {"Units": "months"}, "group": {"Levels": {"1": "AD", "2": "control"}}}
    records = read(
        {
            "participants.tsv": people,
            "participants.json": {"group": {"Levels": {"1": "PD", "2": "SCZ"}}},
            "sub-001/sub-001_sessions.tsv": visits,
            "sub-001/sub-001_sessions.json": described,
        }
    )
    assert list(records["age_years"]) == [61, 60, 50]
    assert list(records["dx"]) == ["HC", "PD", "PD"]


def test_a_visit_that_two_rows_could_be_of_has_neither(read):
    rows = "participant_id\tsession\tage\nsub-001\t1\t30\nsub-001\t01\t31\nsub-002\t1\t50\n"
    records = read({"participants.tsv": rows}, ["sub-001/ses-001", "sub-001/ses-01", "sub-002/ses-01"])
    assert math.isnan(records["age_years"].iloc[0])
    assert list(records["age_years"].iloc[1:]) == [31, 50]
    assert "no row of sub-001 is of session '001'" in records["qc_flag"].iloc[0]


@pytest.mark.parametrize(
    "word", ["td", "Control", "typically developing", "HC", "Healthy_Control", "healthy"]
)
def test_words_for_healthy(read, word):
    assert read({"participants.tsv": PLAIN.replace("control", word)})["dx"].iloc[0] == "HC"


def test_a_number_alone_is_no_sex(read):
    records = read({"participants.tsv": PLAIN.replace("\tF", "\t1")})
    assert records["sex"].iloc[0] == ""
    assert "sub-001: the code '1' is not known, so sex stays empty" in records["qc_flag"].iloc[0]


def test_a_broken_description_and_an_empty_table_are_flags(read):
    records = read({"participants.tsv": PLAIN, "participants.json": '{"age": {"Units": "GR\\IR"}}'})
    check_plain(records)
    assert "participants.json is not valid JSON" in records["qc_flag"].iloc[0]
    assert set(read({"participants.tsv": ""})["qc_flag"]) == {"participants.tsv is empty"}


def test_cells_beyond_the_header_are_flagged(read):
    records = read({"participants.tsv": PLAIN.replace("AD\n", "AD\t77\n")})
    check_plain(records)
    assert "row 3 has more cells than the header" in records["qc_flag"].iloc[2]


def test_a_table_without_ids_stops(read):
    with pytest.raises(CohortError, match="no column 'participant_id'"):
        read({"participants.tsv": "who\tage\nsub-001\t3\n"})


def test_sidecars_are_inherited_the_deeper_and_the_more_specific_win(read):
    records = read(
        {
            "T1w.json": {"Manufacturer": "SIEMENS", "MagneticFieldStrength": 1.494},
            "acq-a_T1w.json": {"Manufacturer": "Philips"},
            "sub-001/sub-001_T1w.json": {"Manufacturer": "GE MEDICAL SYSTEMS"},
            "sub-001/ses-2/anat/sub-001_ses-2_T1w.json": {"MagneticFieldStrength": "9.4T"},
            "sub-002/ses-1/anat/sub-002_ses-1_T1w.json": '{"SequenceName": "GR\\IR"}',
        }
    )
    assert list(records["vendor"]) == ["GE", "GE", "Siemens"]
    assert list(records["field_strength_t"]) == [1.5, 9.4, 1.5]
    assert records["qc_flag"].iloc[2] == "sub-002_ses-1_T1w.json is not valid JSON and is not read"
    assert set(records["qc_flag"].iloc[:2]) == {""}


def test_the_time_of_a_scan_is_read_from_its_scans_table(read):
    table = "filename\tacq_time\nanat/sub-001_ses-2_T1w.nii.gz\t2012-03-04T10:00:00\n"
    records = read({"sub-001/ses-2/sub-001_ses-2_scans.tsv": table})
    assert list(records["scan_date"]) == ["", "2012-03-04", ""]
    table = "filename\tacq_time\nses-1/anat/sub-001_ses-1_T1w.nii.gz\t2011-03-04T10:00:00\n"
    records = read({"sub-001/sub-001_scans.tsv": table})  # of all sessions
    assert list(records["scan_date"]) == ["2011-03-04", "2012-03-04", ""]


@pytest.mark.parametrize("text", ["inf", "1_0", "3,5", "high"])
def test_scores_that_are_no_numbers_are_flagged(read, text):
    records = read({"participants.tsv": f"participant_id\tMMSE\nsub-001\t{text}\nsub-002\t29\n"})
    assert math.isnan(records["mmse"].iloc[0])
    assert records["mmse"].iloc[2] == 29
    assert f"participants.tsv:mmse, sub-001: {text!r} is not a number" in records["qc_flag"].iloc[0]


@given(st.text())
def test_a_columns_name_is_the_same_in_any_case_and_punctuation(name):
    plain = normalise_column(name)
    assert normalise_column(plain) == plain
    assert normalise_column(f" ({plain.upper().replace('_', ' - ')}) ") == plain


@given(st.dictionaries(st.text(), st.text()))
def test_of_columns_that_are_one_no_cell_is_lost_that_stands_alone(row):
    plain = normalise_row(row)
    assert set(plain) == {normalise_column(name) for name in row}
    for name in plain:
        texts = [text for other, text in row.items() if normalise_column(other) == name]
        assert plain[name] == next(filter(None, texts), "")


IDS = st.text(st.sampled_from("01"), min_size=1, max_size=3)


@given(st.sets(IDS, min_size=1), st.sets(IDS, min_size=1))
def test_no_row_is_taken_for_two_people_and_a_persons_own_row_wins(rows, labels):
    table = LabelTable("participants.tsv", {name: [{}] for name in rows})
    found = {label: table.match(label, labels) for label in labels}
    taken = [name for name, _ in found.values() if name]
    own = {label for label in labels if label in rows}
    loose = [name for name, remark in found.values() if remark]
    assert all(found[label] == (label, "") for label in own)
    assert len(loose) == len(set(loose))
    assert all(sum(row.lstrip("0") == name.lstrip("0") for row in rows) == 1 for name in loose)
    assert set(taken) <= rows
    assert all(label.lstrip("0") == name.lstrip("0") for label, (name, _) in found.items() if name)


@given(st.lists(IDS | st.sampled_from(("", "n/a"))), IDS)
def test_a_visit_has_its_own_rows_or_those_of_every_visit(sessions, wanted):
    rows = [{"session_id": name, "row": str(n)} for n, name in enumerate(sessions)]
    found = [row["session_id"] for row in select_visit(rows, wanted)]
    if wanted in sessions:
        assert found == [wanted] * sessions.count(wanted)
    elif set(found) <= {"", "n/a"}:
        assert len(found) == sum(name in ("", "n/a") for name in sessions)
    else:
        assert len(set(found)) == 1
        assert found[0].lstrip("0") == wanted.lstrip("0")


CELLS = st.text(st.sampled_from("aéF7.-+/_'"), max_size=6) | st.sampled_from(("F", "AD", "n/a", "12 months"))
CELLS |= st.integers(-1000, 10**6).map(str) | st.floats(width=16).map(str)
NAMES = ("age", "sex", "group", "site", "mmse")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    (folder / "sub-1" / "ses-a" / "anat").mkdir(parents=True)
    return folder


@settings(max_examples=60)
@given(st.tuples(*[CELLS] * len(NAMES)), CELLS, st.none() | CELLS)
def test_a_cell_of_any_kind_is_a_label_within_its_bounds_or_a_flag(root, cells, strength, n_days):
    people, visits = root / "participants.tsv", root / "sub-1" / "sub-1_sessions.tsv"
    lines = "\t".join(("participant_id", *NAMES)), "\t".join(("sub-1", *cells))
    people.write_text("\n".join(lines), encoding="utf-8")
    visits.write_text(f"session_id\tdays_since_baseline\nses-a\t{n_days or ''}\n", encoding="utf-8")
    anat = root / "sub-1" / "ses-a" / "anat"
    (anat / "sub-1_ses-a_T1w.json").write_text(json.dumps({"MagneticFieldStrength": strength}))
    scan = {"volume_id": "x", "subject_id": "1", "session_id": "a", "path": f"{anat}/sub-1_ses-a_T1w.nii.gz"}
    record = read_bids_records(root, "x", pd.DataFrame([scan])).iloc[0]
    said, flag = dict(zip(NAMES, cells, strict=True)) | {"strength": strength}, record["qc_flag"]
    for name, field in {"age": "age_years", "mmse": "mmse", "strength": "field_strength_t"}.items():
        low, high = RECORDS[field][1] or (-math.inf, math.inf)
        is_said = is_nothing(said[name]) or name in flag.lower() or "days after" in flag
        assert low <= record[field] <= high or (math.isnan(record[field]) and is_said)
    for name, field in {"sex": "sex", "group": "dx"}.items():
        assert record[field] or is_nothing(said[name]) or name in flag
    assert record["sex"] in ("F", "M", "")
    assert record["site"] == ("" if is_nothing(said["site"]) else said["site"])


def is_nothing(text):
    return text.strip().lower() in MISSING


@pytest.mark.parametrize("n_days", ["-40000", "40000"])
def test_an_age_that_the_days_since_the_baseline_make_impossible_is_flagged(read, n_days):
    sessions = f"session_id\tdays_since_baseline\nses-1\t{n_days}\nses-2\t365.25\n"
    records = read({"participants.tsv": PLAIN, "sub-001/sub-001_sessions.tsv": sessions})
    assert math.isnan(records["age_years"].iloc[0])
    assert f"'{n_days}' days after the baseline the age would be" in records["qc_flag"].iloc[0]
    assert records["age_years"].iloc[1] == 32


def test_an_age_of_the_visit_stays_as_it_is_beside_the_days_since_the_baseline(read):
    text = "participant_id\tsession_id\tage\nsub-001\tses-1\t30\nsub-001\tses-2\t32\nsub-002\tses-1\t50\n"
    sessions = "session_id\tdays_since_baseline\nses-1\t0\nses-2\t730.5\n"
    records = read({"participants.tsv": text, "sub-001/sub-001_sessions.tsv": sessions})
    assert list(records["age_years"]) == [30, 32, 50]
