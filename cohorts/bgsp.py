"""BGSP (the Genomics Superstruct Project): one T1 a session of young adults, ages in bins of two years."""

import re

from braing3n.cohort import Cell, Cohort, Fixed, Found, Miniature, Option, Pattern, Preference, Table
from braing3n.cohort.dates import DAYS_PER_YEAR
from braing3n.cohort.records import to_number

SEX = {"M": "M", "F": "F"}
HAND = {"R": "R", "L": "L", "A": "A"}  # the first letter: RHT, LFT
# W_NOT_HL and Other are known; the others are made after them.
RACES = {"W": "White", "B": "Black", "A": "Asian"}
RACE = {"Other": "Other"} | {
    f"{letter}_{end}": race for letter, race in RACES.items() for end in ("NOT_HL", "HL")
}
ETHNICITY = {"Other": ""} | {
    name: "Not Hispanic" if name.endswith("_NOT_HL") else "Hispanic" for name in RACE if name != "Other"
}
SESSION = r"(?P<id>(?P<subject>Sub\d{4})_Ses(?P<session>\d))"


def strip_session(text):
    """`Sub9001_Ses1` and `Sub9001_S1` are of Sub9001."""
    return re.sub(r"_S(es)?\d$", "", text.strip())


def shorten_session(text):
    """`Sub9001_Ses2` and `Sub9001_S2` are one session."""
    return text.strip().replace("_Ses", "_S")


def read_age(visit):
    """Age_Bin, the bin's label as years, and at a later session the days since the first."""
    found = visit.find("people", "Age_Bin") or visit.find("retest", "Age_Bin")
    delay, years = visit.find("retest", "Delay"), to_number(found.value) if found else None
    if visit.facts["session"] == "1" or years is None:
        return found
    days = to_number(delay.value) if delay else None
    if days is None:
        visit.flag("age_years: that of the first session, since no Delay is given")
        return found
    return Found(f"{years + days / DAYS_PER_YEAR:.4f}", f"{found.source}+Delay")


def find_precision(visit):
    """`bin` where there is an age."""
    return Found("bin", "cohort") if visit.ask("age_years") else None


def read_hand(visit):
    """The hand that the first letter gives."""
    found = visit.find("people", "Hand")
    letter = found.value[0].upper() if found else ""
    codes = {found.value: HAND[letter]} if letter in HAND else HAND
    return found and visit.decode("people", found, codes)


def read_site(visit):
    """GSP, with the scanner's bin where the table has it."""
    column = visit.options["scanner_column"]
    found = visit.find("people", column) if column else None
    return Found(f"GSP-{found.value}", found.source) if found else None


PEOPLE = {"normalise": strip_session, "is_newest_only": False}

COHORT = Cohort(
    title="BGSP",
    source="https://doi.org/10.7910/DVN/25833: GSP_part{1..10}_140630.tar, GSP_retest_140630.tar and lists",
    licence="GSP data use terms",
    citation="Holmes et al. 2015, Scientific Data 2 (150031)",
    access="Harvard Dataverse under its data use terms; the extended table is restricted",
    n_volumes=1636,
    n_people=1568,
    patterns=(
        # The number of the scan is not always 01.
        Pattern(rf"{SESSION}_Scan_\d\d_ANAT(?P<repeat>\d)\.nii(\.gz)?", "T1", is_defaced=True),
        Pattern(r"Sub\d{4}_Ses\d_Scan_\d\d_REST\d\.nii(\.gz)?", reason="functional"),
    ),
    prefer=(
        Preference("a repeat", lambda facts, options: int(facts["repeat"])),
        # The archive of retests holds first sessions again.
        Preference("of the retest's archive", lambda facts, options: "gsp_retest" in facts["folder"].lower()),
    ),
    tables=(
        Table("people", r"GSP_(list|extended)_\d{6}\.csv", {"Subject_ID": "subject"}, **PEOPLE),
        Table("retest", r"GSP_retest_\d{6}\.csv", {"Subject_ID": "id"}, normalise=shorten_session),
    ),
    fields={
        "age_years": (read_age,),
        "age_precision": (find_precision,),
        "sex": (Cell("people", "Sex", SEX), Cell("retest", "Sex", SEX)),
        "handedness": (read_hand,),
        "race": (Cell("people", "Race_Ethn", RACE),),
        "ethnicity": (Cell("people", "Race_Ethn", ETHNICITY),),
        "education_years": (Cell("people", "Educ"),),
        "dx": (Fixed("HC"),),
        "site": (read_site, Fixed("GSP")),
        "vendor": (Fixed("Siemens", "site table"),),
        "field_strength_t": (Fixed("3", "site table"),),
    },
    options={
        "scanner_column": Option(
            "Scanner_Bin", "column with the scanner (as remembered); it makes the sites"
        ),
        "all_repeats": Option(False, "keep every T1 of a session, with a run number"),
    },
    miniature=Miniature(
        files="""
Sub9001_Ses1/Sub9001_Ses1_Scan_01_ANAT1.nii.gz
Sub9001_Ses1/Sub9001_Ses1_Scan_02_REST1.nii.gz
GSP_part2_140630/Sub9002_Ses1/Sub9002_Ses1_Scan_02_ANAT1.nii.gz
GSP_retest_140630/Sub9001_Ses1/Sub9001_Ses1_Scan_01_ANAT1.nii.gz
GSP_retest_140630/Sub9001_Ses2/Sub9001_Ses2_Scan_01_ANAT1.nii.gz
Sub9003_Ses1/Sub9003_Ses1_Scan_02_REST1.nii.gz
Sub9004_Ses1/Sub9004_Ses1_Scan_01_ANAT1.nii.gz
""",
        tables={
            "GSP_list_140630.csv": """\
Subject_ID,Sex,Age_Bin,Hand,Educ,Race_Ethn,ICV
Sub9001_Ses1,F,21,RHT,15,W_NOT_HL,1450000
Sub9002_Ses1,M,25,LFT,17,Other,1600000
Sub9003_Ses1,F,19,RHT,13,W_NOT_HL,1400000
""",
            "GSP_retest_140630.csv": """\
Subject_ID,Age_Bin,Sex,Delay
Sub9001_Ses2,21,F,90
""",
        },
    ),
)
