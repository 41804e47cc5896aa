"""ADHD-200: one T1 a person, children and young adults with ADHD and controls from ten site folders."""

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
from braing3n.cohort.records import to_number
from braing3n.cohort.sources import keep_first_session

# The BIDS release spells the codes out.
SEX = {"0": "F", "1": "M", "female": "F", "male": "M"}
SUBTYPE = {"0": "", "1": "combined", "2": "hyperactive/impulsive", "3": "inattentive"}
SUBTYPE |= {"typically developing children": ""}
SUBTYPE |= {f"adhd-{name}": name for name in SUBTYPE.values() if name}
DX = {code: "ADHD" if subtype else "HC" for code, subtype in SUBTYPE.items()}
HAND = {"0": "L", "1": "R", "2": "A", "left": "L", "right": "R", "ambidextrous": "A"}
HAND |= {"L": "L", "3": ""}  # no codes of the legend
SITES = "Brown|KKI|NYU|NeuroIMAGE|OHSU|Peking(?:_[123])?|Pittsburgh|WashU"
TABLES = (
    "fix",
    "site",
    "test",
    "preprocessed",
    "participants",
)  # the corrections win; the test set's diagnoses came later
MISSING = ("-999", "pending")


def normalise(text):
    """Without the zeros that the folders have and the tables do not."""
    return text.strip().removesuffix(".0").lstrip("0")


def from_tables(column, codes=None):
    """Sources: the corrections, the site's table, the test set's, the preprocessed and the BIDS release's."""
    return tuple(Cell(table, column, codes) for table in TABLES)


def read_hand(table):
    """A source of handedness, which at NYU is a score from -1 (left) to 1 (right), 0 telling nothing."""

    def find_hand(visit):
        found = visit.find(table, "Handedness")
        score = to_number(found.value) if found else None
        if score is None or visit.facts["site"].upper() != "NYU":
            return found and visit.decode(table, found, HAND)
        side = "R" if score > 0 else "L"
        return Found(side if 0 < abs(score) <= 1 else "", found.source)

    return find_hand


def read_kki_field_strength(visit):
    """What no table says of KKI's scanner."""
    value = visit.options["kki_field_strength_t"]
    return Found(value, "option:kki_field_strength_t") if visit.facts["site"].upper() == "KKI" else None


READ = {"key": {"ScanDir ID|ScanDirID|ID": "subject"}, "missing": MISSING, "normalise": normalise}
PARTICIPANTS = {"key": {"participant_id": "subject"}, "is_newest_only": False}
NATIVE = r"(?P<subject>\d{7})/session_(?P<session>\d+)/anat_(?P<repeat>\d+)/mprage\.nii(\.gz)?"
NITRC = nitrc.image_path(
    rf"(?P<site>{SITES})_(?P<subject>\d{{5,7}})_(?P<session>\d+)",
    r"anat_(?P<repeat>\d+)",
    "(rest|mprage|anat)",  # the first in all that were seen, of a T1
)
BIDS = (
    r"sub-(?P<subject>\d{7})/ses-(?P<session>\d+)/anat/sub-\d+_ses-\d+"
    r"(_acq-(?P<acquisition>\d+))?(_run-(?P<repeat>\d+))?_T1w\.nii(\.gz)?"
)

COHORT = Cohort(
    title="ADHD-200",
    source="https://fcon_1000.projects.nitrc.org/indi/adhd200 (S3, NITRC or BIDS) with all its tables",
    licence="CC BY-NC",
    citation="The ADHD-200 Consortium 2012, Frontiers in Systems Neuroscience 6, 62",
    n_volumes=598,
    n_people=598,
    patterns=(
        Pattern(rf"(?P<site>{SITES})(_[^/]*)?/{NATIVE}", "T1", is_defaced=True),
        Pattern(rf"(?P<site>{SITES})(_[^/]*)?/{BIDS}", "T1", is_defaced=True),
        Pattern(NITRC, "T1", is_defaced=True),
        Pattern(r"[a-z]*\d+_session_\d+_anat[^/]*\.nii(\.gz)?", reason="of a preprocessed release"),
        Pattern(r"rest_\d+/(.*/)?rest\.nii(\.gz)?", reason="functional"),
    ),
    prefer=(
        Preference("a repeat", lambda facts, options: int(facts["repeat"] or 1)),
        Preference("a later acquisition", lambda facts, options: int(facts.get("acquisition") or 0)),
    ),
    name_subject=nitrc.pad_id(7),
    keep=keep_first_session(
        ("anat_*/mprage.nii*", "anat/*_T1w.nii*", "**/anat_*/NIfTI*/**/*.nii*"), "all_repeats"
    ),
    tables=(
        Table("fix", r"ADHD-?200\.PhenotypicFix\.csv", **READ),
        Table("site", r"(?!allSubs).+_phenotypic(_editsite)?\.csv", **READ),
        Table("test", r"allSubs_testSet_phenotypic_dx\.csv", **READ),
        Table("preprocessed", r"adhd200_preprocessed_phenotypics\.tsv", **READ),
        # Peking_2 and Peking_3 have their labels here alone; people of the test set stand in it twice.
        Table("participants", r"participants\.tsv", **(READ | PARTICIPANTS)),
    ),
    fields={
        "age_years": from_tables("Age"),
        "sex": from_tables("Gender", SEX),
        "handedness": tuple(map(read_hand, TABLES)),
        "dx": from_tables("DX", DX),
        "dx_detail": from_tables("DX", SUBTYPE),
        "site": (Fact("site"),),
        "vendor": (Fact("site", {"KKI": "Philips"}, "site table"), Fixed("Siemens", "site table")),
        "field_strength_t": (
            Fact("site", {"NeuroIMAGE": "1.5"}, "site table"),
            read_kki_field_strength,
            Fixed("3", "site table"),
        ),
    },
    options={
        "all_repeats": Option(False, "keep every T1 of every session; those of one get a run number"),
        "kki_field_strength_t": Option("3", "of KKI's scanner (as remembered); empty: unknown"),
    },
    layouts="NYU_19902_1/anat_1/NIfTI/rest.nii.gz",
    miniature=Miniature(
        files="""
KKI/1999001/session_1/anat_1/mprage.nii.gz
NYU/0019902/session_1/anat_1/mprage.nii.gz
NYU/0019902/session_1/anat_2/mprage.nii.gz
Brown/0029903/session_1/anat_1/mprage.nii.gz
WashU/0019904/session_2/anat_1/mprage.nii.gz
Peking_1/1999005/session_1/anat_1/mprage.nii.gz
""",
        tables={
            "KKI/KKI_phenotypic.csv": """\
"ScanDir ID","Site","Gender","Age","Handedness","DX","Secondary Dx ","QC_Rest_1"
"1999001","3","1","9.91","1","0","","1"
""",
            "NYU/NYU_phenotypic.csv": """\
"ScanDir ID","Site","Gender","Age","Handedness","DX","Secondary Dx ","QC_Rest_1"
"19902","5","0","11.20","0.65","3","","1"
""".replace("\n", "\r"),  # classic Mac line ends, as some of the real files
            "Brown/Brown_TestRelease_phenotypic.csv": """\
"ScanDir ID","Site","Gender","Age","Handedness","DX"
"29903","2","0","12.42","1","pending"
""",
            "WashU/WashU_phenotypic.csv": """\
"ScanDirID","Site","Gender","Age","Handedness","DX","Secondary Dx ","Study #"
"19904","8","1","14.05","-999","0","","2"
""",
            "Peking_1/Peking_1_TestRelease_phenotypic.csv": """\
"ID","Site","Gender","Age","Handedness","DX"
"1999005","1","1","10.58","1","pending"
""",
            "allSubs_testSet_phenotypic_dx.csv": """\
Disclaimer,ID,Site,Gender,Age,Handedness,DX
,1999005,1,1,10.58,1,1
,29903,2,0,12.42,1,pending
""",
            "ADHD-200.PhenotypicFix.csv": """\
"ScanDir ID","Site","Gender","Age","Handedness","DX","Secondary Dx "
"1999001","3","1","9.91","1","1","ODD"
""",
        },
    ),
)
