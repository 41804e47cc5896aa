"""The LONI folder scheme, its XML files and what both cohorts read by them."""

import re

import pytest

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
    told = {"imageuid": "900003", "ptid": "901_S_0001", "subjectsex": "F", "subjectage": "79.4274"}
    assert told.items() <= row.items()
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
def test_thick_and_small_series_are_told(facts, said):
    assert loni.classify_size(facts, 3.0, 50) == said


def test_echo_times_that_are_not_told_are_not_short():
    assert loni.has_short_echo({"echo_times_ms": "2.98"})
    assert not any(loni.has_short_echo({"echo_times_ms": text}) for text in ("", "12,96", "98"))
