"""PPMI's rules that its printed fixture does not show: the list of descriptions, visits and scores."""

import re

import pytest

from braing3n.cohort import load_cohort, settle_options
from braing3n.cohort.records import CohortTables
from braing3n.core.errors import CohortError

from .fixtures import SPECIFICATIONS, read_chapter

PPMI = load_cohort("ppmi")
FACTS = {"subject": "90001", "date": "2012-03-31", "image": "900101", "series": "MPRAGE_GRAPPA2"}
REFORMATS = {"3D T1-weighted_MPR_Cor", "3D T1-weighted_MPR_Tra"}
REFORMATS |= {"3D T2 FLAIR_MPR_Tra_1.5mm", "3D T2 FLAIR_ti1650_ND_MPR_Cor"}
BARE = {"T!", "3D SAG", "SAG 3D MPR"}
NEUROMELANIN = ("2D GRE-MT", "2D GRE-NM", "NM-GRE", "NM - MT", "gre_MT_PAPER", "AX T2 GRE MT", "T1 NM")
EXCLUDED = """
TRA; SAG; COR; Transverse; Coronal; SURVEY; AX DUAL_TSE; DUAL_TSE; TRA/DUAL; AX DE TSE; Double_TSE;
HighResHippo; MIDLINE SAG LOC; ax t1 reformat; GRE; Anon; MPR - SmartBrain; SAG SPGR; MoCoSeries;
t2_tirm_tra_dark-fluid_fs; phantom; AX T1 SE C+; DTI_gated
"""


def classify(description, facts=None, **options):
    """What is said of a series of that description, as the archive spells its folder."""
    series = re.sub(r"[^A-Za-z0-9-]", "_", description)
    return PPMI.classify({"series": series} | (facts or {}), settle_options("ppmi", PPMI, options))


def list_descriptions(kind):
    """The specification's list of descriptions of one contrast."""
    if not SPECIFICATIONS.is_dir():
        pytest.skip("../shared/cohorts is not beside this checkout")
    found = re.search(rf"^- \*\*{kind}\*\*: \*?(.*)$", read_chapter("ppmi"), re.MULTILINE)[1]
    return [name.strip(" *.") for name in found.partition(" Not T2: ")[0].split(";")]


def read(folder, tables, facts=FACTS):
    """The record of one scan with these tables."""
    for name, text in tables.items():
        (folder / name).write_text(text)
    reader = CohortTables(PPMI, sorted(folder.iterdir()), settle_options("ppmi", PPMI, {}))
    record = reader.read(facts)
    reader.check_codes("ppmi")
    return record


@pytest.mark.parametrize(
    ("kind", "modality", "n_least"),
    [(r"T1 \(structural\)", "T1", 60), ("T2", "T2", 30), ("FLAIR", "FLAIR", 25)],
)
def test_the_list_of_descriptions_seen(kind, modality, n_least):
    names = list_descriptions(kind)
    assert len(names) >= n_least
    said = {name: classify(name) for name in names if name not in REFORMATS | BARE}
    assert {name: text for name, text in said.items() if text != modality} == {}
    assert all(classify(name).startswith("-") for name in names if name in REFORMATS | BARE)


def test_what_the_list_says_is_not_t2():
    list_descriptions("T2")
    names = re.search(r"Not T2: (.*?)\.$", read_chapter("ppmi"), re.MULTILINE)[1].split("; ")
    assert len(names) >= 5
    assert [name for name in names if not classify(name).startswith("-")] == []


@pytest.mark.parametrize("name", [name.strip() for name in EXCLUDED.split(";")])
def test_what_is_no_structural_head(name):
    assert classify(name).startswith("-")


@pytest.mark.parametrize("name", NEUROMELANIN)
def test_neuromelanin_is_known_by_its_name(name):
    assert classify(name) == "-neuromelanin"


def test_bare_names_count_where_recall_is_wanted():
    assert {classify(name, has_recall_names=True) for name in BARE} == {"T1"}


def test_the_counts_rule_takes_repeat2_for_t2():
    assert classify("T1_REPEAT2") == "T1"
    assert classify("T1_REPEAT2", has_name_refinements=False) == "T2"
    assert classify("MPRAGE GRAPPA2", has_name_refinements=False) == "T1"
    assert classify("SAG 3D T2 FLAIR (CUBE)", has_name_refinements=False) == "FLAIR"
    assert classify("2D GRE-MT", has_name_refinements=False).startswith("-")


@pytest.mark.parametrize(
    ("echo_ms", "said"), [("2.98", "T1"), ("96", "-not structural"), ("", "-not structural")]
)
def test_a_name_that_says_nothing_is_classified_by_its_echo(echo_ms, said):
    assert classify("PPMI 2.0", {"echo_times_ms": echo_ms}) == said


def find_session(path):
    """The named parts of a path."""
    return re.fullmatch(f"(?:.*/)?(?:{PPMI.patterns[0].path})", path)


def test_a_level_of_digits_is_not_the_participant():
    tail = "MPRAGE/2012-03-14_10_11_12.0/I900101"
    assert find_session(f"PPMI/90001/123456/{tail}/PPMI_90001_MR_1.dcm")["subject"] == "90001"
    assert find_session(f"PPMI/90001/{tail}/PPMI_90001_MR_1.dcm")["subject"] == "90001"
    assert find_session(f"PPMI/90001/{tail}/IM_0001.dcm")["subject"] == "90001"
    masked = find_session("90001/MPRAGE/9999-09-09_00_00_00.0/I900130/PPMI_90001_MR_1.dcm")
    assert masked["session"] == "I900130"


VISITS = "Magnetic_Resonance_Imaging__MRI__11Apr2026.csv"


@pytest.mark.parametrize(
    ("rows", "event"),
    [
        ("90001,BL,03/2012,1\n90001,V01,04/2012,1\n", "BL"),
        ("90001,BL,03/2012,0\n90001,V01,05/2012,1\n", "V01"),
        ("90001,BL,12/2011,1\n", "BL"),
        ("90001,BL,11/2011,1\n", "UNK"),
    ],
)
def test_the_visit_is_that_of_the_month_else_the_nearest_of_three(tmp_path, rows, event):
    assert read(tmp_path, {VISITS: f"PATNO,EVENT_ID,INFODT,MRICMPLT\n{rows}"})["event"] == event


@pytest.mark.parametrize(
    ("name", "event"), [("Month 48", "V10"), ("Unscheduled Visit 02", "U02"), ("V06", "V06")]
)
def test_lists_of_images_tell_the_visit(tmp_path, name, event):
    record = read(tmp_path, {"idaSearch_11_04_2026.csv": f"Subject ID,Visit,Image ID\n90001,{name},900101\n"})
    assert (record["event"], record["qc_flag"]) == (event, "")


def test_a_visit_of_no_known_code_is_flagged(tmp_path):
    record = read(tmp_path, {"idaSearch_1.csv": "Subject ID,Visit,Image ID\n90001,Month 999,900101\n"})
    assert record["event"] == "UNK"
    assert "'Month 999'" in record["qc_flag"]


def test_a_score_of_the_visit_wins_over_a_nearer_one_and_six_months_are_the_limit(tmp_path):
    visit = "PATNO,EVENT_ID,INFODT,MRICMPLT\n90001,V04,03/2012,1\n"
    rows = "90001,V04,08/2012,25\n90001,U01,03/2012,20\n"
    moca = "Montreal_Cognitive_Assessment__MoCA__11Apr2026.csv"
    assert read(tmp_path, {VISITS: visit, moca: f"PATNO,EVENT_ID,INFODT,MCATOT\n{rows}"})["moca"] == 25
    far = "90001,V06,10/2012,25\n90001,V02,09/2011,24\n"
    assert read(tmp_path, {moca: f"PATNO,EVENT_ID,INFODT,MCATOT\n{far}"})["moca"] == 24
    none = "90001,V06,10/2012,25\n90001,V02,08/2011,24\n"
    record = read(tmp_path, {moca: f"PATNO,EVENT_ID,INFODT,MCATOT\n{none}"})
    assert record["moca"] != record["moca"]


NEGATIVE = "DROPD EMPTY BORED AFRAD HLPLS HOME MEMRY WRTLS HOPLS BETER".split()  # noqa: SIM905
POSITIVE = ["SATIS", "GSPIR", "HAPPY", "ALIVE", "ENRGY"]


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, 0),
        ({"SATIS": "0"}, 1),
        ({"DROPD": "1", "ENRGY": "0"}, 2),
        ({"HOME": ""}, None),
        ({"HOME": "7"}, None),
    ],
)
def test_the_depression_scale_needs_all_fifteen_items(tmp_path, changes, total):
    items = dict.fromkeys(NEGATIVE, "0") | dict.fromkeys(POSITIVE, "1") | changes
    head = ",".join(["PATNO", "EVENT_ID", "INFODT", *(f"GDS{item}" for item in items)])
    name = "Geriatric_Depression_Scale__Short_Version__11Apr2026.csv"
    record = read(tmp_path, {name: f"{head}\n90001,BL,03/2012,{','.join(items.values())}\n"})
    assert record["gds"] == total or (total is None and record["gds"] != record["gds"])


@pytest.mark.parametrize(
    ("changes", "total"),
    [({}, 3), ({"1": "2", "22": ""}, 5), ({"23A": "7", "26A": "1"}, 3), ({"22": "3"}, 6), ({"5": ""}, None)],
)
def test_the_autonomic_scale_counts_a_catheter_as_three(tmp_path, changes, total):
    items = {str(item): "0" for item in range(1, 22)} | {"8": "9"}
    items |= dict.fromkeys(("22", "23", "24", "25"), "9") | changes
    head = ",".join(["PATNO", "EVENT_ID", "INFODT", *(f"SCAU{item}" for item in items)])
    record = read(
        tmp_path, {"SCOPA-AUT_11Apr2026.csv": f"{head}\n90001,BL,03/2012,{','.join(items.values())}\n"}
    )
    assert record["scopa"] == total or (total is None and record["scopa"] != record["scopa"])


def test_education_is_the_last_recorded_and_sex_comes_from_older_tables_too(tmp_path):
    school = "PATNO,EVENT_ID,INFODT,EDUCYRS\n90001,SC,12/2011,16\n90001,LOG,02/2012,18\n90001,LOG,11/2020,\n"
    old = "PATNO,GENDER,BIRTHDT\n90001,1,1949\n"
    record = read(tmp_path, {"Socio-Economics_1Apr2026.csv": school, "Screening___Demographics.csv": old})
    assert (record["education_years"], record["sex"]) == (18, "F")


def test_the_age_at_enrolment_is_that_of_the_first_visits_only(tmp_path):
    status = {"Participant_Status.csv": "PATNO,COHORT_DEFINITION,ENROLL_AGE\n90001,Healthy Control,62.4\n"}
    visits = "PATNO,EVENT_ID,INFODT,MRICMPLT\n90001,{},03/2012,1\n"
    assert read(tmp_path, status | {VISITS: visits.format("BL")})["age_years"] == 62.4
    later = read(tmp_path, status | {VISITS: visits.format("V04")})["age_years"]
    assert later != later


def test_people_without_a_diagnosis_are_kept(tmp_path):
    table = tmp_path / "Participant_Status.csv"
    table.write_text(
        "PATNO,COHORT_DEFINITION\n1,Healthy Control\n2,Parkinson's Disease\n3,SWEDD\n4,Prodromal\n"
    )
    reader = CohortTables(PPMI, [table], settle_options("ppmi", PPMI, {}))
    reasons = [PPMI.keep(reader.open_visit({"subject": subject})) for subject in "12345"]
    assert reasons == ["", "", "SWEDD not kept", "Prodromal not kept", ""]


def test_an_ethnicity_that_the_key_calls_unknown_is_empty_and_any_other_stops(tmp_path):
    text = "PATNO,EVENT_ID,INFODT,HISPLAT\n90001,SC,12/2011,{}\n"
    for code, ethnicity in (("0", "Not Hispanic"), ("1", "Hispanic"), ("2", "")):
        assert read(tmp_path, {"Demographics.csv": text.format(code)})["ethnicity"] == ethnicity
    with pytest.raises(CohortError, match="'7'"):
        read(tmp_path, {"Demographics.csv": text.format("7")})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("T1w Neuromelanin", "-neuromelanin"),
        ("Axial_NEUROMELANIN_T1", "-neuromelanin"),
        ("T1 FLAIR", "T1"),
        ("SAG T1W FLAIR", "T1"),
        ("3D T2 FLAIR", "FLAIR"),
        ("FLAIR", "FLAIR"),
    ],
)
def test_a_t1_flair_is_a_t1_and_neuromelanin_none(name, said):
    assert classify(name) == said
