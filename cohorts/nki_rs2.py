"""NKI-RS 2 (Rockland Sample II): one T1 a person from a BIDS tree whose own table may hold but ids.

People who were in NKI-RS, too, have their sex and handedness from its table: put it here as
`nki_rs_participants.tsv`. A multi-echo T1 without its combined image is left out.
"""

import re

from braing3n.cohort import Cell, Cohort, Fact, Fixed, Miniature, Option, Pattern, Preference, Table, sources
from braing3n.cohort.tables import read_table_file

MODALITIES = {"t1w": "T1", "t2w": "T2", "flair": "FLAIR"}
SEX = {"male": "M", "female": "F", "m": "M", "f": "F"}
HAND = {"right": "R", "left": "L", "ambidextrous": "A", "r": "R", "l": "L", "a": "A"}
# The session is the fact `visit`, since one of a person's is taken.
WHICH = r"(_ses-(?P<visit>[a-z0-9]+))?(?P<variant>_acq-[a-z0-9]+)?(_rec-(?P<reconstruction>[a-z0-9]+))?"
PIECE = r"(_run-(?P<repeat>\d+))?(?P<echo>_echo-\d+)?(_part-(?P<part>[a-z]+))?_(?P<suffix>T1w|T2w|FLAIR)"
PATH = (
    rf"sub-(?P<subject>[AM]\d{{8}})/(ses-[a-z0-9]+/)?anat/(?P<image>sub-[a-z0-9]+{WHICH}{PIECE})\.nii(\.gz)?"
)


def classify(facts, options):
    """The contrast that the suffix gives, if it is asked for, of a whole magnitude image."""
    modality = MODALITIES[facts["suffix"].lower()]
    if modality not in options["modalities"]:
        return f"-the option 'modalities' lacks {modality}"
    if facts["echo"]:
        return "-one echo; only a combined image is taken (multiecho_uncombined)"
    return modality if facts["part"] in ("", "mag") else f"-the {facts['part']}, not the magnitude"


def sort_naturally(text):
    """MRI2 before MRI10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def read_sessions(path):
    """`sub-X_sessions.tsv` with the subject of its name."""
    rows = read_table_file(path, Table("", "", {"session_id": ""})) or []
    return [row | {"subject": path.name.split("_")[0]} for row in rows]


def read_old_age(visit):
    """The age in NKI-RS, up to ten years before this scan: flagged, and taken only where asked for."""
    found, is_taken = visit.find("nki_rs", "age"), visit.options["takes_nki_rs_age"]
    if found:
        visit.flag(
            "age_source=nki1_backfill" if is_taken else "age_years: only that of an NKI-RS scan is known"
        )
    return found if is_taken else None


KEY, VISIT_KEY = {"participant_id": "subject"}, {"subject": "subject", "session_id": "visit"}
AGES = (Cell("sessions", "age"), Cell("participants", "age"), read_old_age)
READ = {"normalise": sources.strip_prefix, "is_newest_only": False}
TABLES = ("sessions", "participants", "nki_rs")

COHORT = Cohort(
    title="NKI-RS 2",
    source="Rockland Sample II, https://rocklandsample.org",
    licence="Rockland data use agreement",
    citation="rocklandsample.org, Rockland Sample II (after Nooner et al. 2012)",
    access="ages and sex under a data use agreement; where the images lie was not found",
    n_volumes=222,
    n_people=222,
    patterns=(
        Pattern(r"(derivatives|sourcedata|code)/.*", reason="no raw images"),
        Pattern(PATH, is_defaced=True),
        Pattern(r"(func|dwi|fmap|perf|eeg)/[^/]+", reason="neither T1, T2 nor FLAIR"),
    ),
    classify=classify,
    prefer=(
        Preference("a variant (acq-)", lambda facts, options: bool(facts["variant"])),
        Preference("not normalised (rec-norm)", lambda facts, options: facts["reconstruction"] != "norm"),
        Preference("a later session", lambda facts, options: sort_naturally(facts["visit"])),
        Preference("a repeat", lambda facts, options: int(facts["repeat"] or 1)),
    ),
    person=lambda subject: f"nki/{subject.upper()}",  # the same ids in NKI-RS and in CoRR's NKI_2
    tables=(
        Table("participants", r"participants\.tsv", KEY, **READ),
        Table("sessions", r"sub-.*_sessions\.tsv", VISIT_KEY, read=read_sessions, **READ),
        Table("nki_rs", r"nki_rs_participants\.tsv", KEY, **READ),
        sources.sidecar_table(),
    ),
    fields={
        "age_years": (sources.need_row(*TABLES), *AGES),
        "sex": tuple(Cell(name, "sex", SEX) for name in TABLES),
        "handedness": tuple(Cell(name, "handedness", HAND) for name in TABLES),
        "dx": (Fixed("HC"),),
        "event": (Fact("visit"),),
        "site": (Fixed("NKI"),),
        **{name: (described, sources.from_option(name)) for name, described in sources.SCANNER.items()},
    },
    options={
        "modalities": Option(["T1"], "contrasts that are taken", ("T1", "T2", "FLAIR")),
        "takes_nki_rs_age": Option(False, "take a person's age in NKI-RS where there is no other"),
        "vendor": Option("Siemens", "where no sidecar gives it (as remembered); empty: unknown"),
        "field_strength_t": Option("3", "where no sidecar gives it (as remembered); empty: unknown"),
        "all_repeats": Option(False, "keep every scan of a person, with a run number"),
    },
    miniature=Miniature(
        files="""
sub-A00099901/ses-MRI1/anat/sub-A00099901_ses-MRI1_T1w.nii.gz
sub-A00099951/ses-MRI1/anat/sub-A00099951_ses-MRI1_run-1_T1w.nii.gz
sub-A00099951/ses-MRI1/anat/sub-A00099951_ses-MRI1_run-2_T1w.nii.gz
sub-M10999001/ses-MRI1/anat/sub-M10999001_ses-MRI1_T1w.nii.gz
sub-M10999001/ses-MRI1/anat/sub-M10999001_ses-MRI1_echo-1_T1w.nii.gz
sub-A00099952/anat/sub-A00099952_T1w.nii.gz
sub-A00099953/ses-MRI1/func/sub-A00099953_ses-MRI1_task-rest_bold.nii.gz
""",
        tables={
            "participants.tsv": """\
participant_id
sub-A00099901
sub-A00099951
sub-M10999001
sub-A00099952
sub-A00099953
""",
            "nki_rs_participants.tsv": """\
participant_id\tage\tsex\thandedness
A00099901\t31.0\tFEMALE\tRIGHT
A00099902\t67.0\tMALE\tLEFT
""",
            "sub-M10999001_sessions.tsv": "session_id\tage\tsex\nses-MRI1\t44.25\tM\n",
            "sub-A00099901_ses-MRI1_T1w.json": '{"Manufacturer": "Siemens", "MagneticFieldStrength": 3}',
            "sub-M10999001_ses-MRI1_T1w.json": '{"Manufacturer": "SIEMENS", "MagneticFieldStrength": "3T"}',
        },
    ),
)
