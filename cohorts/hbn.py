"""HBN: one T1 a child from four sites, with open tables a site and a release, and two restricted exports."""

import re

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
    sources,
)
from braing3n.cohort.records import to_number
from braing3n.cohort.tables import read_table_file

SEX = {"0": "M", "1": "F"}
SITES = {"SI": "HBN-SI", "RU": "HBN-RU", "CBIC": "HBN-CBIC", "CUNY": "HBN-CUNY"}
FIELD_STRENGTHS_T = {"SI": "1.5", "RU": "3", "CBIC": "3", "CUNY": "3"}
RACE = {"0": "White", "1": "Black", "3": "Asian", "4": "Asian", "7": "Pacific Islander", "9": "Other"}
RACE |= {"5": "American Indian", "6": "American Indian", "8": "More than one"}
RACE |= {"2": "", "10": "", "11": ""}  # Hispanic, which is an ethnicity; unknown; not said
ETHNICITY = {"0": "Not Hispanic", "1": "Hispanic", "2": "", "3": ""}  # not said, unknown
# The first is taken; VNav is the same acquisition as VNavNorm, before it is normalised.
NAMES = ("", "hcp", "hcp-1", "vnavnorm", "hcp-2", "vnav")
SITE = r"(?P<site>SI|RU|CBIC|CUNY)"
CHILD = r"sub-(?P<subject>NDAR[a-z0-9]{7,8})"  # 8, but of three children 7
IMAGE = r"sub-[a-z0-9]+(_ses-[a-z0-9]+)?(_acq-(?P<acquisition>[a-z0-9]+))?(_run-(?P<repeat>\d+))?_T1w"
FILE = rf"anat/(?P<image>{IMAGE})\.nii(\.gz)?"


def rank_name(facts, options):
    """The place of the acquisition among the names; variants of one are that one, others come last."""
    name, repeat = re.sub(r"variant.*", "", facts["acquisition"].lower()), int(facts["repeat"] or 0)
    text = f"{name}-{repeat}" if name == "hcp" and repeat else name
    return NAMES.index(text) if text in NAMES else len(NAMES), repeat


def strip_id(text):
    """`sub-NDARXXXXXXXX`, `NDARXXXXXXXX ` and `NDARXXXXXXXX,assessment` are one id."""
    return text.strip().removeprefix("sub-").split(",")[0].strip()


def read_release(path):
    """The table of one release with its number."""
    rows = read_table_file(path, Table("", "", {"EID": ""})) or []
    return [row | {"release": re.search(r"_R(\d+)", path.name, re.IGNORECASE).group(1)} for row in rows]


def read_hand(table, column):
    """A source of handedness: the Edinburgh score, -100 to 100, cut on both sides."""

    def find_hand(visit):
        found, cut = visit.find(table, column), float(visit.options["handedness_cut"])
        score = to_number(found.value) if found else None
        if score is None:
            return None
        return Found("R" if score > cut else "L" if score < -cut else "A", found.source)

    return find_hand


def ask(columns, codes=None):
    """Sources: `table:column`, with blanks between; in LORIS's table a column is `Instrument,Variable`."""
    return tuple(Cell(*name.split(":"), codes) for name in columns.split())


# The age at the scan, then that at enrolment.
AGES = "loris:MRI_Track,Age_at_Scan mri_track:Age_at_Scan participants:Age releases:Age"
AGES += " loris:Basic_Demos,Age basic_demos:Age"
SEXES = "participants:Sex releases:Sex loris:Basic_Demos,Sex basic_demos:Sex"
HANDS = (("participants", "EHQ_Total"), ("releases", "EHQ_Total"), ("loris", "EHQ,EHQ_Total"))
DX = "loris:Diagnosis_ClinicianConsensus,DX_01 consensusdx:DX_01"
COINS = ("basic_demos", "mri_track", "consensusdx")
CHARTS, KEY, EID = sources.CHARTS, {"participant_id": "subject"}, {"EID": "subject"}
READ = {"normalise": strip_id, "is_newest_only": False}
SITE_STRENGTH = Fact("site", FIELD_STRENGTHS_T, "site table")
need_row = sources.need_row("participants", "releases", "loris", *COINS, "charts")
PATHS = (
    rf"(Site-)?{SITE}/{CHILD}(/ses-[a-z0-9]+)?/{FILE}",
    rf"{CHILD}/ses-HBNsite{SITE}/{FILE}",
    rf"{CHILD}(/ses-[a-z0-9]+)?/{FILE}",
    nitrc.image_path(
        r"(sub-)?(?P<subject>NDAR[a-z0-9]{7,8})([_-][^/]*)?",
        r"(anat[_-])?(acq-(?P<acquisition>[a-z0-9]+)_)?(run-(?P<repeat>\d+)_)?T1w",
    ),
)

COHORT = Cohort(
    title="HBN",
    source="s3://fcp-indi/data/Projects/HBN/MRI/Site-{SI,RU,CBIC,CUNY}",
    licence="CC BY-NC-SA 4.0; fuller tables under the HBN data use agreement",
    citation="Alexander et al. 2017, Scientific Data 4 (170181)",
    access="ages, sex and handedness open; race and diagnoses under a data use agreement",
    n_volumes=2135,
    n_people=2135,
    patterns=(
        Pattern(r"derivatives/.*", reason="made from other files"),
        *(Pattern(path, "T1", is_defaced=True, facts={"session": "1"}) for path in PATHS),
        Pattern(r"anat/[^/]*_T2w\.nii(\.gz)?", reason="T2, which is not taken"),
        Pattern(r"(func|dwi|fmap)/[^/]+", reason="no T1"),
    ),
    prefer=(
        Preference("a scan at 1.5 T", lambda facts, options: facts.get("site", "").upper() == "SI"),
        Preference("a name of lower preference", rank_name),
    ),
    tables=(
        Table("participants", r"participants\.tsv", KEY, **READ),
        # A child of several releases: the latest counts.
        Table("releases", r"HBN_R\d+.*_Pheno\.csv", EID, order="-release", read=read_release, **READ),
        Table("loris", r".*\.csv", {"Identifiers": "subject"}, ("Identifiers",), **READ),
        *(Table(name, rf"9994_{name}_\d{{8}}\.csv", EID, normalise=strip_id) for name in COINS),
        sources.charts_table("HBN"),
        sources.sidecar_table("T1w"),
    ),
    fields={
        "age_years": (need_row, *ask(AGES), CHARTS["age_years"]),
        "sex": (*ask(SEXES, SEX), CHARTS["sex"]),
        "handedness": (*(read_hand(*column) for column in HANDS), CHARTS["handedness"]),
        "race": (*ask("loris:PreInt_Demos_Fam,Child_Race", RACE), CHARTS["race"]),
        "ethnicity": (*ask("loris:PreInt_Demos_Fam,Child_Ethnicity", ETHNICITY), CHARTS["ethnicity"]),
        "education_years": (CHARTS["education_years"],),
        "education_is_coded": (CHARTS["education_is_coded"],),
        "dx": (Fixed("Paediatric"),),
        "dx_detail": ask(DX),
        "site": (Fact("site", SITES),),
        "vendor": (sources.SCANNER["vendor"], Fixed("Siemens", "site table")),
        "field_strength_t": (sources.SCANNER["field_strength_t"], SITE_STRENGTH),
    },
    options={"handedness_cut": Option("40", "an Edinburgh score above is right, below its negative left")},
    layouts="NDARZZ006FF6/acq-HCP_T1w/NIfTI-1/acq-HCP_T1w.nii.gz",
    miniature=Miniature(
        files="""
Site-SI/sub-NDARZZ001AA1/anat/sub-NDARZZ001AA1_T1w.nii.gz
Site-RU/sub-NDARZZ002BB2/anat/sub-NDARZZ002BB2_acq-HCP_run-{01,02}_T1w.nii.gz
Site-RU/sub-NDARZZ001AA1/anat/sub-NDARZZ001AA1_acq-HCP_T1w.nii.gz
Site-CBIC/sub-NDARZZ003CC3/anat/sub-NDARZZ003CC3_acq-{VNav,VNavNorm}_T1w.nii.gz
Site-CBIC/sub-NDARZZ004DD4/anat/sub-NDARZZ004DD4_T2w.nii.gz
Site-CUNY/sub-NDARZZ005EE5/anat/sub-NDARZZ005EE5_acq-HCP_T1w.nii.gz
""",
        tables={
            "Site-SI/participants.tsv": """\
participant_id,Sex,Age,EHQ_Total,Commercial_Use,Full_Pheno
sub-NDARZZ001AA1,1,9.412,88.9,Yes,Yes
""",
            "Site-RU/participants.tsv": """\
participant_id\tSex\tAge\tEHQ_Total\tCommercial_Use\tFull_Pheno
sub-NDARZZ002BB2\t0\t12.804\t-72.2\tYes\tNo
sub-NDARZZ001AA1\t1\t9.412\t88.9\tYes\tYes
""",
            "Site-CBIC/participants.tsv": """\
participant_id\tSex\tAge\tEHQ_Total\tCommercial_Use\tFull_Pheno
sub-NDARZZ003CC3\t0\t15.06\tn/a\tNo\tNo
""",
            "HBN_R11_Pheno.csv": """\
EID,Sex,Age,EHQ_Total,Commercial_Use,Full_Pheno
NDARZZ005EE5,1,17.201,55.56,Yes,Yes
NDARZZ002BB2 ,0,12.804,-72.2,Yes,No
""",
        },
    ),
)
