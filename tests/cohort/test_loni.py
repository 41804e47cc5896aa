"""The LONI folder scheme, its XML files and what both cohorts read by them."""

import re
from contextlib import suppress
from datetime import date
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import loni, sources
from braing3n.cohort.tables import find_files
from braing3n.core.errors import CohortError

SUBJECT, FILE = r"(?P<subject>\d{3}_S_\d{4,5})", r"[^/]+\.(?:nii|dcm)"
PROJECT = '<?xml version="1.0"?><idaxs xmlns="http://ida.loni.usc.edu"><project xmlns="">{}</project></idaxs>'


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        (
            "901_S_0001/MPRAGE/2006-03-02_09_12_33.0/I900001/a_S9_I7.nii",
            ("MPRAGE", "2006-03-02", "900001", None),
        ),
        ("901_S_0001/MPRAGE/2006-03-02_09_12_33.0/I900001/a.dcm", ("MPRAGE", "2006-03-02", "900001", None)),
        (
            "901_S_0001/MT1__N3m/2010-01-05_08_00_00.0/S9/a_S9_I900030.nii",
            ("MT1__N3m", "2010-01-05", "900030", None),
        ),
        ("901_S_0001/MT1__N3m/2010-01-05_08_00_00.0/S9/a.nii", ("MT1__N3m", "2010-01-05", None, None)),
        (
            "901_S_0001/T1/9999-09-09_00_00_00.0/S9/a_I900031-001.dcm",
            ("T1", "9999-09-09", "900031", "I900031"),
        ),
    ],
)
def test_the_folder_scheme_tells_series_date_and_image(path, facts):
    match = re.fullmatch(loni.scan_path(SUBJECT, FILE), path)
    assert match.group("subject") == "901_S_0001"
    assert match.group("series", "date", "image", "session") == facts


def test_an_image_id_has_no_letter():
    assert {loni.normalise_image_id(text) for text in ("I900003", " 900003", "i900003 ")} == {"900003"}


def test_the_xml_tells_the_derived_image_and_its_protocol(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        PROJECT.format(
            "<subject><subjectIdentifier>901_S_0001</subjectIdentifier><subjectSex>F</subjectSex>"
            '<subjectInfo item="APOE A1">3</subjectInfo><visit><assessment><component>'
            '<assessmentScore attribute="MMSCORE">26.0</assessmentScore></component></assessment></visit>'
            "<study><subjectAge>79.4274</subjectAge><ageQualifier>Y</ageQualifier><series><seriesLevelMeta>"
            "<relatedImageDetail><originalRelatedImage><imageUID>899999</imageUID><protocolTerm>"
            '<protocol term="Field Strength">3.0</protocol></protocolTerm></originalRelatedImage>'
            "</relatedImageDetail><derivedProduct><imageUID>900003</imageUID></derivedProduct>"
            "</seriesLevelMeta></series></study></subject>"
        )
    )
    (row,) = loni.read_image_xml(path)
    given = {"imageuid": "900003", "ptid": "901_S_0001", "subjectsex": "F", "subjectage": "79.4274"}
    assert given.items() <= row.items()
    assert (row["apoe a1"], row["mmscore"], row["field strength"]) == ("3", "26.0", "3.0")


def test_an_original_image_is_known_by_its_protocol_and_other_ages_than_years_are_none(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        PROJECT.format(
            "<subject><study><subjectAge>800</subjectAge><ageQualifier>M</ageQualifier><imagingProtocol>"
            "<imageUID>900010</imageUID></imagingProtocol></study></subject>"
        )
    )
    (row,) = loni.read_image_xml(path)
    assert (row["imageuid"], row["subjectage"]) == ("900010", "")


def test_a_stub_is_skipped_and_a_torn_file_is_one_sentence(tmp_path):
    (tmp_path / "stub.xml").write_text("<metadata><x/></metadata>")
    assert loni.read_image_xml(tmp_path / "stub.xml") == []
    (tmp_path / "torn.xml").write_text("<idaxs><project>")
    with pytest.raises(CohortError, match=r"torn\.xml: cannot be read as XML"):
        loni.read_image_xml(tmp_path / "torn.xml")


def test_the_newest_export_of_a_study_table_is_read(tmp_path):
    names = ("DXSUM_22May2026.csv", "DXSUM_01Jun2025.csv", "DXSUM.csv", "DXSUM_PDXCONV.csv")
    found = find_files(loni.study_table("dxsum"), [tmp_path / name for name in names])
    assert [path.name for path in found] == ["DXSUM_22May2026.csv"]


@pytest.mark.parametrize(
    ("first", "second", "months"),
    [
        ("2012-03-31", "03/2012", 0),
        ("2012-03-31", "04/2012", 1),
        ("2012-01-10", "11/2011", -2),
        ("", "1/2012", None),
    ],
)
def test_months_are_those_of_the_calendar(first, second, months):
    assert loni.count_months(first, second) == months


def test_a_score_out_of_range_is_none():
    read = sources.read_number("np3tot", 0, 132)
    assert [read({"np3tot": text}) for text in ("27", "0", "303", "UR", "")] == [27, 0, None, None, None]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"spacing_mm": "5", "rows": "256", "columns": "256", "n_slices": "30"}, "-spacing 5 mm, over 3 mm"),
        (
            {"spacing_mm": "3", "rows": "256", "columns": "256", "n_slices": "30"},
            "-256x256x30 voxels, a side under 50",
        ),
        (
            {"spacing_mm": "3", "rows": "256", "columns": "256", "n_slices": "48", "echo_times_ms": "12,96"},
            "",
        ),
        ({}, ""),
    ],
)
def test_thick_and_small_series_are_flagged(facts, said):
    assert loni.classify_size(facts, 3.0, 50) == said


def test_echo_times_that_are_not_given_are_not_short():
    assert loni.has_short_echo({"echo_times_ms": "2.98"})
    assert not any(loni.has_short_echo({"echo_times_ms": text}) for text in ("", "12,96", "98"))


NAMES = st.text(st.sampled_from("ABcd019_- .()"), min_size=1, max_size=12)
TEXTS = st.text(st.sampled_from("aé7<>&{}\"'/_-"))


@given(NAMES, st.dates(), st.booleans(), st.integers(1, 10**6), st.sampled_from("IS"), NAMES)
def test_the_parts_of_any_path_read_back(series, day, is_masked, image, kind, name):
    date = "9999-09-09" if is_masked else day.isoformat()
    leaf, file = (f"I{image}", f"{name}.nii") if kind == "I" else ("S9", f"{name}_I{image}.nii")
    match = re.fullmatch(
        loni.scan_path(SUBJECT, FILE), f"901_S_0001/{series}/{date}_09_12_33.0/{leaf}/{file}"
    )
    assert match.group("subject", "series", "date") == ("901_S_0001", series, date)
    assert match["image"] == str(image)
    assert match["session"] == (f"I{image}" if is_masked else None)


@given(st.integers(1, 10**7), st.integers(1, 9999), st.sampled_from((" {} ", "{}", "\t{}")))
def test_an_id_is_the_same_however_a_table_writes_it(image, roster, blanks):
    for text in (f"I{image}", f"i{image}", str(image)):
        assert loni.normalise_image_id(blanks.format(text)) == str(image)
    for text in (f"901_S_{roster:04d}", f"901_s_{roster:05d}", str(roster), f"{roster}.0", f"{roster:04d}"):
        assert loni.find_roster_id(blanks.format(text)) == str(roster)


YEARS = st.dates(date(1900, 1, 1), date(2100, 1, 1))


@given(YEARS, YEARS)
def test_months_count_back_as_they_count_on(first, second):
    months = loni.count_months(first.isoformat(), second.isoformat())
    assert loni.count_months(second.isoformat(), first.isoformat()) == -months
    assert (second - first).days / 30.4375 == pytest.approx(months, abs=1.1)


@pytest.fixture(scope="module")
def xml_path(tmp_path_factory):
    return tmp_path_factory.mktemp("xml") / "image.xml"


ENCODINGS = st.sampled_from(("utf-8", "foo", "gb2312", "utf-7", "base64", "utf-16"))


@given(st.text() | st.text(st.sampled_from('<>/ab="?! ')), ENCODINGS)
def test_a_file_of_any_kind_is_a_row_a_stub_or_one_sentence(xml_path, text, encoding):
    for content in (text, f"<?xml version='1.0' encoding='{encoding}'?><a>{text}</a>"):
        xml_path.write_text(content, encoding="utf-8")
        with suppress(CohortError):
            assert loni.read_image_xml(xml_path) == []


@given(TEXTS.filter(bool), TEXTS, TEXTS)
def test_what_the_xml_says_reads_back(xml_path, image, subject, score):
    inner = (
        f"<subject><subjectIdentifier> {escape(subject)}\n</subjectIdentifier>"
        f"<assessmentScore attribute='MMSCORE'>{escape(score)}</assessmentScore>"
        f"<derivedProduct><imageUID>{escape(image)}</imageUID></derivedProduct></subject>"
    )
    xml_path.write_text(PROJECT.format(inner), encoding="utf-8")
    rows = loni.read_image_xml(xml_path)
    assert rows == ([{"imageuid": image, "ptid": subject, "mmscore": score}] if image else [])


NUMBERS = st.sampled_from(("", "5", "0.9", "-1", "nan", "many", "1e400", "12,96"))


@given(
    st.dictionaries(st.sampled_from(("spacing_mm", "rows", "columns", "n_slices", "echo_times_ms")), NUMBERS)
)
def test_odd_facts_leave_nothing_out_without_a_reason(facts):
    said = loni.classify_size(facts, 3.0, 50)
    assert said == "" or said[0] == "-"
    is_thick = facts.get("spacing_mm") == "5"
    assert said.startswith("-spacing 5 mm") == is_thick
    assert isinstance(loni.has_short_echo(facts), bool)
