"""CoRR: T1 of healthy people who were scanned again, from 35 samples; the first session counts."""

from braing3n.cohort import (
    Cell,
    Cohort,
    Fact,
    Fixed,
    Found,
    Miniature,
    Option,
    Pattern,
    Preference,
    Table,
    nitrc,
)
from braing3n.cohort.records import NO_PHENOTYPE, to_number
from braing3n.cohort.sources import from_field, keep_first_session, list_session_dirs

SEX = {"1": "F", "2": "M", "female": "F", "male": "M"}  # the opposite of ABIDE's
HAND = {"R": "R", "L": "L", "A": "A", "Right": "R", "Left": "L", "Amb": "A"}
# Minutes are within a visit; the BIDS release writes the words.
UNITS_PER_YEAR = {"m": "", "d": "365.25", "w": "52.18"}
UNITS_PER_YEAR |= {"minutes": "", "hours": "", "days": "365.25", "weeks": "52.18"}
# Folder -> the table's name of the site.
ALIASES = {
    "IACAS_1": "IACAS",
    "IBA_TRT": "IBATRT",
    "JHNU": "JHNU_1",
    "MRN": "MRN_1",
    "NKI_TRT": "NKI_1",
    "UM_1": "UM",
    "UWM_1": "UWM",
    "XHCUMS_1": "XHCUMS",
}
SITES = {"Philips": "DC_1 LMU_1", "GE": "HNU_1 IACAS IACAS_1 IPCAS_4 UWM UWM_1"}
VENDORS = {site: vendor for vendor, sites in SITES.items() for site in sites.split()}
TABLES = ("aggregated", "sites", "sessions", "participants")


def normalise(text):
    """Without the zeros that the folders have and the tables do not."""
    return text.strip().removeprefix("sub-").removesuffix(".0").lstrip("0")


def name_person(subject):
    """The person; those of NKI_2 are in the Rockland samples under the same id."""
    return f"nki/{subject}" if subject.startswith("A") else f"corr/{subject}"


def read_years(visit, table):
    """The years between the visits in a table's rows: a row is a resting scan, not a visit."""
    source, years = f"{table}:RETEST_UNITS", set()
    for row in visit.rows(table):
        duration, unit = to_number(row.get("retest_duration", "")), row.get("retest_units", "").lower()
        per_year = visit.decode(table, Found(unit, source), UNITS_PER_YEAR).value if duration else ""
        years |= {duration / float(per_year)} if per_year else set()
    return sorted(years)


def read_age(visit):
    """The age at session 1 and the time since, where the rows cover as many visits as there are folders."""
    found = next(filter(None, (visit.find(table, "AGE_AT_SCAN_1") for table in TABLES)), None)
    number = int(visit.facts["session"])
    if found is None or number == 1:
        return found
    years, first = (
        next(filter(None, (read_years(visit, name) for name in TABLES)), []),
        to_number(found.value),
    )
    if first is None or len(years) + 1 != len(list_session_dirs(visit)) or number > len(years) + 1:
        visit.flag(f"age_years: the table does not give the date of session {number}")
        return Found("", found.source)
    return Found(f"{first + years[number - 2]:.4f}", f"{found.source}+RETEST_DURATION")


def flag_nothing(visit):
    """Flags who has no row, or rows that describe the site alone."""
    columns = ("SEX", "AGE_AT_SCAN_1", "HANDEDNESS")
    if not any(visit.find(table, column) for table in TABLES for column in columns):
        visit.flag(NO_PHENOTYPE)


def of_known_site(value):
    """A source for what all other sites have; where only the city is known, nothing."""
    return lambda visit: None if visit.ask("site") == visit.facts.get("city") else Found(value, "site table")


def from_tables(column, codes):
    """Sources: the aggregated table, the site's own, the two of the BIDS release."""
    return tuple(Cell(table, column, codes) for table in TABLES)


READ = {"missing": ("#",), "normalise": normalise, "is_newest_only": False, "order": "SESSION"}
ID = r"(?P<subject>\d{7}|A\d{8})"
NATIVE = rf"(?P<site>[^/]+)/{ID}/session_(?P<session>\d+)/anat_(?P<repeat>\d+)/anat\.nii(\.gz)?"
# The label's name of the site lacks the number that the tables have.
NITRC = nitrc.image_path(
    r"(?P<city>[A-Za-z_]+?)(_\d)?_(?P<subject>\d{5,7}|A\d{8})_(?P<session>baseline|retest_\d+|\d+)",
    r"anat_(?P<repeat>\d+)",
    "anat",
)
BIDS = rf"(?P<site>[^/]+)/sub-{ID}/ses-(?P<session>\d+)/anat/[^/]*?(_run-(?P<repeat>\d+))?_T1w\.nii(\.gz)?"

COHORT = Cohort(
    title="CoRR",
    source="https://fcon_1000.projects.nitrc.org/indi/CoRR (NITRC archives or BIDS), aggregated phenotypes",
    licence="CC BY-NC",
    citation="Zuo et al. 2014, Scientific Data 1, 140049",
    n_volumes=546,
    n_people=546,
    patterns=(
        Pattern(r"(sub-)?0025913/ses(sion_|-)2/anat.*\.nii(\.gz)?", reason="half an image"),
        Pattern(NATIVE, "T1", is_defaced=True),
        Pattern(BIDS, "T1", is_defaced=True),
        Pattern(NITRC, "T1", is_defaced=True),
        Pattern(r"anat_\d+/(.*/)?anat_[^/]+\.nii(\.gz)?", reason="a component of the MP2RAGE"),
        Pattern(r"rest_\d+/(.*/)?rest\.nii(\.gz)?", reason="functional"),
    ),
    prefer=(Preference("a repeat", lambda facts, options: int(facts["repeat"] or 1)),),
    keep=keep_first_session(
        ("anat_*/anat.nii*", "anat/*_T1w.nii*", "**/anat_*/NIfTI*/**/anat.nii*"), "all_sessions"
    ),
    name_subject=nitrc.pad_id(7),
    name_session=nitrc.count_session,
    person=name_person,
    tables=(
        # `Baseline` is in order before `Retest_1`.
        Table("aggregated", r"CoRR_AggregatedPhenotypicData\.csv", {"SUBID": "subject"}, **READ),
        Table("sites", r".+_(phenotypic_data|corr_phenodata)\.csv", {"SUB_ID": "subject"}, **READ),
        Table("sessions", r"sub-\w+_sessions\.tsv", {"participant_id": "subject"}, **READ),
        # What is the same at all sessions of a site's people stands here and not in their own tables.
        Table("participants", r"participants\.tsv", {"participant_id": "subject"}, **READ),
    ),
    fields={
        "age_years": (read_age,),
        "sex": (*from_tables("SEX", SEX), flag_nothing),
        "handedness": from_tables("HANDEDNESS", HAND),
        "dx": (Fixed("HC"),),
        "site": (Fact("site", ALIASES), Fact("site"), Cell("aggregated", "SITE"), Fact("city")),
        "vendor": (from_field("site", VENDORS, "site table"), of_known_site("Siemens")),
        "field_strength_t": (from_field("site", {"MPG_1": "7"}, "site table"), of_known_site("3")),
    },
    options={
        "all_sessions": Option(False, "take every session of a person, not only the first with a T1"),
        "all_repeats": Option(False, "keep every T1 of a session, with a run number"),
    },
    layouts="BNU_29901_baseline/anat_1/NIfTI/anat.nii.gz",
    miniature=Miniature(
        files="""
BNU_1/0029901/session_1/anat_1/anat.nii.gz
BNU_1/0029901/session_2/anat_1/anat.nii.gz
UM_1/0029902/session_1/anat_1/anat.nii.gz
UM_1/0029902/session_2/anat_1/anat.nii.gz
BMB_1/0009903/session_1/anat_1/anat.nii.gz
MPG_1/0029904/session_1/anat_1/anat.nii.gz
MPG_1/0029904/session_1/anat_1/anat_inv2.nii.gz
XHCUMS/0029905/session_1/anat_1/anat.nii.gz
DC_1/0029906/session_1/anat_1/anat.nii.gz
""",
        tables={
            "CoRR_AggregatedPhenotypicData.csv": """\
SUBID,SITE,SESSION,SEX,AGE_AT_SCAN_1,HANDEDNESS,RETEST_DESIGN,RETEST_DURATION,RETEST_UNITS
29901,BNU_1,Baseline,1,21.3,R,2,#,#
29901,BNU_1,Retest_1,#,#,#,2,42,d
29902,UM,Baseline,2,64.0,Right,3,#,#
29902,UM,Retest_1,2,64.0,Right,3,10,m
29902,UM,Retest_2,2,64.0,Right,3,106,d
9903,BMB_1,Baseline,2,30.5,#,1,#,#
29904,MPG_1,Baseline,1,27.0,L,2,#,#
29905,XHCUMS,NoPhenotypicData,#,#,#,#,#,#
""".replace("\n", "\r")  # classic Mac line ends, as in the real file
        },
    ),
)
