"""OASIS-1: one T1 a session from Analyze pairs, averaged over its runs; CDR decides the diagnosis."""

from pathlib import Path

from braing3n.cohort import Cell, Cohort, Found, Miniature, Option, Pattern, Table
from braing3n.cohort.sources import from_option

SEX = {"F": "F", "M": "M", "female": "F", "male": "M"}
HAND = {"R": "R", "L": "L", "right": "R", "left": "L"}
DX = {"0": "HC", "0.5": "MCI", "1": "AD", "2": "AD", "3": "AD"}
# Less than high school, high school, some college, college, beyond; the years are a convention.
EDUCATION_YEARS = {"1": "10", "2": "12", "3": "14", "4": "16", "5": "18"}
IMAGES = {"t88_gfc": "t88", "sbj_111": "subj"}
SESSION = r"(?P<id>(?P<subject>OAS1_\d{4})_(?P<session>MR\d))"
AVERAGE = SESSION + r"_mpr_n\d+_anon"


def classify(facts, options):
    """T1 for the image that is asked for: every session has both."""
    image = IMAGES[facts["image"].lower()]
    return "T1" if image == options["image"] else f"-the option 'image' asks for {options['image']}"


def read_session_file(path: Path) -> list[dict[str, str]]:
    """The head of a session's text file, `KEY: value` a line, as the one row of a table."""
    row: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            row.setdefault(name.strip().lower(), value.strip())
    return [row]


def diagnose(visit):
    """The session's CDR; one that was never administered is that of a healthy young person."""
    for table in ("sessions", "session_file"):
        if visit.rows(table):
            found = visit.find(table, "CDR")
            return visit.decode(table, found, DX) if found else Found("HC", f"{table}:CDR")
    return None


def from_first_session(column, codes=None):
    """A source for a rescan's blank cell: what the same person's first session has there."""

    def copy(visit):
        found = Cell("first_session", column, codes)(visit)
        if found:
            visit.flag(f"{column}: copied from MR1")
        return found

    return copy


def find_subject(text):
    """The subject whose first session this is; no other session's row is asked for another."""
    subject, _, number = text.strip().upper().partition("_MR")
    return subject if number in ("", "1") else ""


def from_tables(column, codes=None):
    """Sources: the cohort's table, then the session's own file."""
    return Cell("sessions", column, codes), Cell("session_file", column, codes)


# `oasis_cross-sectional-reliability-*` lists the rescans again and is no table of ours.
FILES, SESSIONS = SESSION + r"\.txt", r"oasis_cross-sectional(?!.*reliability).*\.(csv|xlsx)"

COHORT = Cohort(
    title="OASIS-1",
    source="https://sites.wustl.edu/oasisbrains: oasis_cross-sectional_disc{1..12}.tar.gz, spreadsheet",
    licence="OASIS data use agreement",
    citation="Marcus et al. 2007, Journal of Cognitive Neuroscience 19 (9)",
    n_volumes=436,
    n_people=416,
    patterns=(
        Pattern(
            rf"{AVERAGE}_111_(?P<image>t88_gfc)\.(hdr|img)",
            source_format="Analyze",
            axes="LAS",
            is_bias_corrected=True,
            raw_space="talairach",
        ),
        Pattern(rf"{AVERAGE}_(?P<image>sbj_111)\.(hdr|img)", source_format="Analyze", axes="ASL"),
        Pattern(rf"{AVERAGE}_111_t88_masked_gfc\.(hdr|img)", reason="the skull-stripped twin of t88_gfc"),
        Pattern(rf"{SESSION}_mpr-\d_anon\.(hdr|img)", reason="one run; the average of all is taken"),
        Pattern(rf"{AVERAGE}_111_t88_masked_gfc_fseg\.(hdr|img)", reason="a segmentation"),
    ),
    classify=classify,
    tables=(
        Table("sessions", SESSIONS, {"ID": "id"}),
        Table("session_file", FILES, {"SESSION ID": "id"}, read=read_session_file, is_newest_only=False),
        Table("first_session", SESSIONS, {"ID": "subject"}, normalise=find_subject),
    ),
    fields={
        "age_years": (*from_tables("Age"), from_first_session("Age")),
        "sex": (*from_tables("M/F", SEX), from_first_session("M/F", SEX)),
        "handedness": from_tables("Hand", HAND),
        "dx": (diagnose,),
        "cdr": from_tables("CDR"),
        "mmse": from_tables("MMSE"),
        "education_years": from_tables("Educ", EDUCATION_YEARS),
        "education_is_coded": from_tables("Educ", dict.fromkeys(EDUCATION_YEARS, "true")),
        "vendor": (from_option("vendor"),),
        "field_strength_t": (from_option("field_strength_t"),),
    },
    options={
        "image": Option("t88", "t88: in Talairach space with skull; subj: in native space", ("t88", "subj")),
        "vendor": Option("Siemens", "of the one scanner, a Vision (as remembered); empty: unknown"),
        "field_strength_t": Option("1.5", "of the one scanner (as remembered); empty: unknown"),
    },
    miniature=Miniature(
        files="""
disc1/OAS1_9001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9001_MR1_mpr_n4_anon_111_t88_gfc.{hdr,img}
disc1/OAS1_9001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9001_MR1_mpr_n4_anon_111_t88_masked_gfc.{hdr,img}
disc1/OAS1_9001_MR1/PROCESSED/MPRAGE/SUBJ_111/OAS1_9001_MR1_mpr_n4_anon_sbj_111.{hdr,img}
disc1/OAS1_9001_MR1/RAW/OAS1_9001_MR1_mpr-1_anon.{hdr,img}
disc1/OAS1_9002_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9002_MR1_mpr_n3_anon_111_t88_gfc.{hdr,img}
disc5/OAS1_9003_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9003_MR1_mpr_n6_anon_111_t88_gfc.{hdr,img}
disc12/OAS1_9003_MR2/PROCESSED/MPRAGE/T88_111/OAS1_9003_MR2_mpr_n4_anon_111_t88_gfc.{hdr,img}
OAS1_9004_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9004_MR1_mpr_n4_anon_111_t88_gfc.{hdr,img}
disc2/OAS1_9005_MR1/PROCESSED/MPRAGE/T88_111/OAS1_9005_MR1_mpr_n4_anon_111_t88_gfc.{hdr,img}
""",
        tables={
            "oasis_cross-sectional-5708aa0a98d82080.xlsx": """\
ID,M/F,Hand,Age,Educ,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay
OAS1_9001_MR1,F,R,71,2,3,28,0,1402,0.751,1.252,N/A
OAS1_9002_MR1,M,R,83,1,4,19,1,1507,0.668,1.165,N/A
OAS1_9003_MR1,F,R,26,,,,,1490,0.851,1.178,N/A
OAS1_9003_MR2,,R,,,,,,1493,0.852,1.176,40
OAS1_9004_MR1,F,R,70,2,4,24,0.5,1433,0.722,1.225,N/A
""",
            "OAS1_9005_MR1.txt": """\
SESSION ID:   OAS1_9005_MR1

AGE:          66
M/F:          Male
HAND:         Right
EDUC:         4
CDR:          0
MMSE:         30
""",
        },
    ),
)
