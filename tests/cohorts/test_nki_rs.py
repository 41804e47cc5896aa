"""NKI-RS's rules that its printed fixture does not show: the charts, COINS, sidecars, old layouts."""

from functools import partial

import pytest

from braing3n.cohort import load_cohort
from braing3n.core.errors import CohortError

from .fixtures import RawFile
from .reading import read_record
from .trees import run_ingest, write_tree

IMAGE = "sub-A00099902_ses-FLU1_T1w"
FACTS = {"subject": "A00099902", "session": "FLU1", "image": IMAGE, "suffix": "T1w"}
CHARTS = """\
participant_id\tsession_id\tsex\tage\tethnicity\trace\thandedness\tparticipant_education
sub-A00099902\tses-BAS1\tMale\t67.5\tnot Hispanic or Latino\tWhite\tRight\tSome College
sub-A00099902\t{}\tMale\t69.25\tHispanic or Latino\t\tAmbidextrous\tBachelor's Degree
"""
PARTICIPANTS = "participant_id\tage\tsex\thandedness\nA00099902\t67\tMALE\tLEFT\n"
AGES = """\
"ID","Visit","How old (years)?","Age"
"ID","Visit","AGE_01","AGE_04"
A00099902,V2,67,67.41
A00099902,V4,69,69.18
"""
read = partial(read_record, "nki_rs")


@pytest.mark.parametrize("session", ["FLU1", "ses-FLU1"])
def test_the_charts_tell_a_session_first(tmp_path, session):
    tables = {"study-NKI_desc-participants.tsv": CHARTS.format(session), "participants.tsv": PARTICIPANTS}
    record = read(tmp_path, tables, FACTS)
    assert (record["age_years"], record["age_years_source"]) == (69.25, "charts:age")
    assert (record["handedness"], record["ethnicity"], record["race"]) == ("A", "Hispanic", "")
    assert (record["education_years"], record["education_is_coded"]) == (16.0, "true")
    assert record["qc_flag"] == ""


def test_the_downloaders_list_may_have_the_name_of_the_other_table(tmp_path):
    links = "subject\tsession\tage\tgender\thandedness\tfilepath\n"
    links += "".join(f"A00099902\tFLU1\t69.31\tM\tn/a\ts3://{name}\n" for name in "abc")
    tables = {"a/participants.tsv": links, "b/participants.tsv": PARTICIPANTS}
    record = read(tmp_path, tables, FACTS)
    assert (record["age_years"], record["age_years_source"]) == (69.31, "links:age")
    assert (record["sex"], record["handedness"], record["handedness_source"]) == (
        "M",
        "L",
        "participants:handedness",
    )
    later = read(tmp_path, tables, FACTS | {"session": "FLU2"})
    assert (later["age_years"], later["qc_flag"]) == (67.0, "age_source=participant_level")


@pytest.mark.parametrize(("word", "sex"), [("MALE", "M"), ("FEMALE", "F")])
@pytest.mark.parametrize(
    ("side", "hand"), [("RIGHT", "R"), ("LEFT", "L"), ("AMBIDEXTROUS", "A"), ("n/a", "")]
)
def test_words_in_capitals(tmp_path, word, sex, side, hand):
    table = f"participant_id\tage\tsex\thandedness\nsub-A00099902\t67\t{word}\t{side}\n"
    record = read(tmp_path, {"participants.tsv": table}, FACTS)
    assert (record["sex"], record["handedness"]) == (sex, hand)


def test_coins_ages_count_for_the_sessions_that_the_option_names(tmp_path):
    tables = {"participants.tsv": PARTICIPANTS, "8100_Age_20161025.csv": AGES}
    assert read(tmp_path, tables, FACTS)["age_years_source"] == "participants:age"
    record = read(tmp_path, tables, FACTS, coins_visits=["BAS1=V2", "FLU1=V4"])
    assert (record["age_years"], record["age_years_source"]) == (69.18, "coins_age:AGE_04")


def test_of_coins_exports_the_second_line_is_the_header(tmp_path):
    head = '"ID","Visit","{}","{}","{}"\n'
    lines = head.format("Sex?", "Hispanic?", "Race?") + head.format("DEM_002", "DEM_003", "DEM_004")
    record = read(tmp_path, {"8100_Demos_20180806.csv": f"{lines}A00099902,V2,2,1,3\n"}, FACTS)
    assert (record["sex"], record["ethnicity"], record["race"]) == ("F", "Hispanic", "Black")
    silent = read(tmp_path, {"8100_Demos_20180806.csv": f"{lines}A00099902,V2,MD,DK,.\n"}, FACTS)
    assert (silent["sex"], silent["ethnicity"], silent["race"], silent["qc_flag"]) == ("", "", "", "")


@pytest.mark.parametrize(
    ("sidecar", "vendor", "field_strength_t"),
    [
        ('{"Manufacturer": "SIEMENS", "MagneticFieldStrength": 2.89}', "Siemens", 3.0),
        ('{"Manufacturer": "GE MEDICAL SYSTEMS", "MagneticFieldStrength": "1.5T"}', "GE", 1.5),
        ('{"Manufacturer": "Philips", "MagneticFieldStrength": 15000}', "Philips", 1.5),
        ('{"EchoTime": 0.00252}', "Siemens", 3.0),
        ("", "Siemens", 3.0),
    ],
)
def test_a_sidecar_beats_the_site_table_and_is_no_label(tmp_path, sidecar, vendor, field_strength_t):
    record = read(tmp_path, {f"{IMAGE}.json": sidecar}, FACTS)
    assert (record["vendor"], record["field_strength_t"]) == (vendor, field_strength_t)
    assert record["vendor_source"].startswith("sidecar" if "Manufacturer" in sidecar else "site table")
    assert record["qc_flag"] == "no_phenotype"


@pytest.mark.parametrize("sidecar", ["{", "3", '["a"]'])
def test_a_broken_sidecar_is_named(tmp_path, sidecar):
    with pytest.raises(CohortError, match=rf"{IMAGE}\.json"):
        read(tmp_path, {f"{IMAGE}.json": sidecar}, FACTS)


def test_the_layout_before_bids_and_the_option_of_contrasts(tmp_path):
    paths = (
        "A00099902/clg_2/mprage_siemens_defaced/mprage_siemens_defaced.nii.gz",
        "A00099903/CLG/anat/anat_defaced.nii.gz",
        "sub-A00099904/ses-DS2/anat/sub-A00099904_ses-DS2_T1w.nii.gz",
        "sub-A00099904/ses-DS2/anat/sub-A00099904_ses-DS2_T2w.nii.gz",
        "derivatives/x/sub-A00099905/ses-DS2/anat/sub-A00099905_ses-DS2_T1w.nii.gz",
    )
    write_tree(tmp_path / "raw", [RawFile(path) for path in paths], {})
    records = run_ingest("nki_rs", tmp_path / "raw", tmp_path, {"modalities": ["T1", "T2"]}).records
    assert list(zip(records["subject_id"], records["session_id"], records["modality"], strict=True)) == [
        ("A00099902", "clg_2", "T1"),
        ("A00099903", "CLG", "T1"),
        ("A00099904", "DS2", "T1"),
        ("A00099904", "DS2", "T2"),
    ]
    assert (records["is_defaced"] == 1).all()


def test_people_are_the_same_in_both_samples():
    assert load_cohort("nki_rs").person("A00099901") == "nki/A00099901"
    assert load_cohort("nki_rs2").person("A00099901") == "nki/A00099901"
