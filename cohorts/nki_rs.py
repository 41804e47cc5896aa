"""NKI-RS (enhanced, not "Lite"): one T1 a session of a community sample, with labels of four makes."""

from functools import partial

from braing3n.cohort import Cell, Cohort, Fixed, Found, Miniature, Option, Pattern, Preference, Table, sources
from braing3n.cohort.records import to_number
from braing3n.cohort.tables import read_table_file

MODALITIES = {"t1w": "T1", "t2w": "T2", "flair": "FLAIR"}
SEX = {"male": "M", "female": "F", "m": "M", "f": "F"}
HAND = {"right": "R", "left": "L", "ambidextrous": "A"}
COINS_SEX, COINS_ETHNICITY = {"1": "M", "2": "F"}, {"1": "Hispanic", "0": "Not Hispanic"}
COINS_RACE = {"1": "American Indian", "2": "Asian", "3": "Black", "4": "Pacific Islander"}
COINS_RACE |= {"5": "White", "6": "Other"}
IMAGE = r"sub-A\d{8}_ses-[a-z0-9]+(_acq-[a-z0-9]+)?(_run-(?P<repeat>\d+))?_(?P<suffix>T1w|T2w|FLAIR)"
BIDS = rf"sub-(?P<subject>A\d{{8}})/ses-(?P<session>[a-z0-9]+)/anat/(?P<image>{IMAGE})\.nii(\.gz)?"
OLD = r"(?P<subject>A\d{8})/(?P<session>[^/]+)/(anat|mprage_siemens_defaced)/(anat|mprage_siemens)_defaced"


def classify(facts, options):
    """The contrast that the suffix gives, if it is asked for."""
    modality = MODALITIES[facts["suffix"].lower()]
    return modality if modality in options["modalities"] else f"-the option 'modalities' lacks {modality}"


def read_coins(path, code):
    """A COINS export: a line of questions, then one of variables, `code` among them; two names of the id."""
    rows = read_table_file(path, Table("", "", {code: ""})) or []
    return [row | {"id": row.get("anonymized id") or row.get("id", "")} for row in rows]


def read_visit_age(visit):
    """AGE_04 of the COINS visit that the option names for the session."""
    wanted = dict(pair.partition("=")[::2] for pair in visit.options["coins_visits"])
    for row in visit.rows("coins_age"):
        is_same = row.get("visit", "") == wanted.get(visit.facts["session"])
        if is_same and to_number(row.get("age_04", "")) is not None:
            return Found(row["age_04"], "coins_age:AGE_04")
    return None


def read_person_age(visit):
    """The one age of a person, that of the first visit: wrong by years at a later one."""
    found = visit.find("participants", "age")
    if found:
        visit.flag("age_source=participant_level")
    return found


def coins(name, code):
    """A table of the restricted data, `8100_<name>_<date>.csv`."""
    missing = ("DK", "MD", ".", "~<condSkipped>~")
    files, read = rf"8100_{name}_\d{{8}}\.csv", partial(read_coins, code=code)
    return Table(f"coins_{name.lower()}", files, {"id": "subject"}, missing=missing, read=read)


READ = {"normalise": sources.strip_prefix, "is_newest_only": False}
CHARTS, LINKS = sources.CHARTS, {"subject": "subject", "session": "session"}
OPEN = ("links", "participants")
need_row = sources.need_row("charts", *OPEN, "coins_demos", "coins_age")
TABLES = {
    "participants.tsv": """\
participant_id\tage\tsex\thandedness
A00099901\t31.0\tFEMALE\tRIGHT
A00099902\t67.0\tMALE\tLEFT
A00099903\t9.0\tMALE\tn/a
A00099904\t45.0\tFEMALE\tAMBIDEXTROUS
""",
    "aws_links.csv": """\
subject,session,age,gender,handedness,filepath
A00099901,BAS1,31.20,F,RIGHT,s3://fcp-indi/sub-A00099901/ses-BAS1/anat/sub-A00099901_ses-BAS1_T1w.nii.gz
A00099901,BAS1,31.20,F,RIGHT,s3://fcp-indi/sub-A00099901/ses-BAS1/anat/sub-A00099901_ses-BAS1_T1w.json
A00099901,FLU1,32.45,F,RIGHT,s3://fcp-indi/sub-A00099901/ses-FLU1/anat/sub-A00099901_ses-FLU1_T1w.nii.gz
A00099903,TRT,9.73,M,n/a,s3://fcp-indi/sub-A00099903/ses-TRT/anat/sub-A00099903_ses-TRT_T1w.nii.gz
""",
    "8100_Demos_20180806.csv": """\
"Anonymized ID","Subject Type","Visit","How old are you?","Sex?","Ethnicity","Race"
"Anonymized ID","Subject Type","Visit","DEM_001","DEM_002","DEM_003","DEM_004"
A00099902,Cross-Sectional Adult,V2,67,1,0,5
A00099904,Cross-Sectional Adult,V2,45,2,MD,DK
""",
    "sub-A00099902_ses-BAS2_T1w.json": '{"Manufacturer": "SIEMENS", "MagneticFieldStrength": 2.89}',
}

COHORT = Cohort(
    title="NKI-RS",
    source="s3://fcp-indi/data/Projects/RocklandSample/RawDataBIDSLatest",
    licence="open images; fuller tables under the Rockland data use agreement",
    citation="Nooner et al. 2012, Frontiers in Neuroscience 6 (152)",
    access="images open (anonymous S3); scores and study tables under a data use agreement",
    n_volumes=2455,
    n_people=1326,
    patterns=(
        Pattern(r"derivatives/.*", reason="made from other files"),
        Pattern(BIDS, is_defaced=True),
        Pattern(rf"{OLD}\.nii(\.gz)?", is_defaced=True, facts={"suffix": "T1w"}),
        Pattern(r"(func|dwi|fmap|perf)/[^/]+", reason="neither T1, T2 nor FLAIR"),
    ),
    classify=classify,
    prefer=(Preference("a repeat", lambda facts, options: int(facts.get("repeat") or 1)),),
    person=lambda subject: f"nki/{subject.upper()}",  # the same ids in NKI-RS 2 and in CoRR's NKI_2
    tables=(
        sources.charts_table("NKI", session_id="session"),
        # The official downloader gives its list, a row a file, the name of the next table.
        Table("links", r"(aws_links\.csv|participants\.tsv)", LINKS, ("gender",), **READ),
        Table("participants", r"participants\.tsv", {"participant_id": "subject"}, ("sex",), **READ),
        coins("Age", "AGE_04"),
        coins("Demos", "DEM_002"),
        sources.sidecar_table(),
    ),
    fields={
        "age_years": (need_row, CHARTS["age_years"], Cell("links", "age"), read_visit_age, read_person_age),
        "sex": (
            CHARTS["sex"],
            Cell("links", "gender", SEX),
            Cell("participants", "sex", SEX),
            Cell("coins_demos", "DEM_002", COINS_SEX),
        ),
        "handedness": (CHARTS["handedness"], *(Cell(name, "handedness", HAND) for name in OPEN)),
        "ethnicity": (CHARTS["ethnicity"], Cell("coins_demos", "DEM_003", COINS_ETHNICITY)),
        "race": (CHARTS["race"], Cell("coins_demos", "DEM_004", COINS_RACE)),
        "education_years": (CHARTS["education_years"],),
        "education_is_coded": (CHARTS["education_is_coded"],),
        "dx": (Fixed("HC"),),  # a community sample: not selected, and not screened either
        "site": (Fixed("NKI"),),
        "vendor": (sources.SCANNER["vendor"], Fixed("Siemens", "site table")),
        "field_strength_t": (sources.SCANNER["field_strength_t"], Fixed("3", "site table")),
    },
    options={
        "modalities": Option(["T1"], "contrasts that are taken", ("T1", "T2", "FLAIR")),
        "coins_visits": Option([], "whose AGE_04 is a session's (BAS1=V2); no such list is published"),
        "all_repeats": Option(False, "keep every scan of a session, with a run number"),
    },
    miniature=Miniature(
        files="""
sub-A00099901/ses-BAS1/anat/sub-A00099901_ses-BAS1_T1w.nii.gz
sub-A00099901/ses-FLU1/anat/sub-A00099901_ses-FLU1_T1w.nii.gz
sub-A00099902/ses-BAS2/anat/sub-A00099902_ses-BAS2_T1w.nii.gz  axes LAS
sub-A00099903/ses-TRT/anat/sub-A00099903_ses-TRT_T1w.nii.gz
sub-A00099903/ses-TRT/anat/sub-A00099903_ses-TRT_T2w.nii.gz
sub-A00099904/ses-BAS1/anat/sub-A00099904_ses-BAS1_acq-VARIANTObliquity_T1w.nii.gz
sub-A00099905/ses-BAS1/anat/sub-A00099905_ses-BAS1_T1w.nii.gz
sub-A00099902/ses-BAS2/func/sub-A00099902_ses-BAS2_task-rest_acq-645_bold.nii.gz
""",
        tables=TABLES,
    ),
)
