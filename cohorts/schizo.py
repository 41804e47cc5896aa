"""SCHIZO (SchizConnect): one T1 and one T2 a person, from stripped copies or from the official downloads."""

from pathlib import Path

from braing3n.cohort import Cell, Cohort, Fact, Found, Miniature, Option, Pattern, Preference, Table
from braing3n.cohort.nitrc import pad_id
from braing3n.cohort.sources import from_field, keep_only
from braing3n.cohort.tables import read_rows

SEX, HAND = {"male": "M", "female": "F", "m": "M", "f": "F"}, {"Right": "R", "Left": "L", "Both": "A"}
LEVELS = {
    "HC": ("No_Known_Disorder",),
    "SCZ": ("Schizophrenia_Strict", "Schizophrenia_Broad", "Schizoaffective"),
    "BP": ("Bipolar_Disorder", "Bipolar_Disorder_Strict", "Bipolar_Disorder_Broad"),
    "Sibling": ("Sibling_of_No_Known_Disorder", "Sibling_of_Schizophrenia_Strict"),
}
DX = {level: dx for dx, levels in LEVELS.items() for level in levels}
DETAIL = {level: level for level in DX}
STUDIES = {name: name for name in ("COBRE", "MCICShare", "NMorphCH", "NUSDAST", "BrainGluSchi")}
VENDORS = {"siemens": "Siemens", "ge": "GE", "ge medical systems": "GE", "philips": "Philips"}
# A study scanned on one machine; MCICShare's scanners stand in its table of metadata alone.
STUDY_VENDORS, STUDY_FIELD_STRENGTHS_T = {"COBRE": "Siemens"}, {"COBRE": "3"}
ID, CONTRAST = r"(?P<subject>[A-Za-z]*\d+)", r"(?P<contrast>T1|T2)"
SESSION = rf"sub-{ID}/ses-(?P<visit>[A-Za-z0-9]+)/anat"
IMAGE = rf"sub-[^/]*?(_run-(?P<repeat>\d+))?(_echo-(?P<echo>\d+))?_{CONTRAST}w\.nii(\.gz)?"
SERIES = rf"{ID}/scans/(?P<repeat>\d+)-{CONTRAST}[^/]*/resources/DICOM/files/[^/]+"
COBRE = r"(?P<subject>004\d{4})/session_(?P<visit>\d+)/anat_(?P<repeat>\d+)/mprage\.nii(\.gz)?"
# Where a person's images of one modality lie, from the folder of any of them.
BESIDE = {
    "stripped": "{}.nii.gz",
    "BIDS": "../../ses-*/anat/*_{}w.nii*",
    "DICOM": "../../../*-{}*/resources/DICOM/files",
    "INDI": "../anat_*/{}.nii*",
}


def has_image(facts, modality):
    """Whether the scan's person has an image of that modality in the same layout."""
    return any(Path(facts["folder"]).glob(BESIDE[facts["layout"]].format(modality)))


def classify(facts, options):
    """The modality that the file's name gives; nobody is in the cohort by a T2 alone."""
    has_t1 = facts["contrast"] == "T1" or has_image(facts, "T1")
    return facts["contrast"] if has_t1 else "-the person has no T1"


def read_lacking(visit):
    """T2 where the person has none; flagged, as is an echo that no image joins with others."""
    if visit.facts.get("echo"):
        visit.flag("one of several echoes")
    if visit.facts["modality"] == "T2" or has_image(visit.facts, "T2"):
        return None
    visit.flag("no T2")
    return Found("T2", "path:folder")


def read_cobre(path):
    """COBRE's table of its own; the column with the ids has no name, and who left has the one word."""
    return [
        {name.lower(): text for name, text in row.items()} | {"id": row.get("", row.get("ID", ""))}
        for row in read_rows(path)[1]
    ]


def diagnose_cobre(visit):
    """A patient whose code of DSM-IV is 295 has schizophrenia; of others the code is a detail."""
    found, code = visit.find("cobre", "subject type"), visit.find("cobre", "diagnosis")
    if found and found.value == "Patient" and not (code and code.value.startswith("295")):
        visit.flag(f"dx: a patient whose diagnosis is {code.value if code else 'not given'}")
        return Found("", found.source)
    return found and visit.decode("cobre", found, {"Patient": "SCZ", "Control": "HC"})


def from_tables(column, codes=None, tables=("stripped", "participants", "metadata")):
    """Sources: the tables of the three layouts."""
    return tuple(Cell(table, column, codes) for table in tables)


STUDY = (Fact("study", STUDIES), *from_tables("study", STUDIES, ("stripped", "metadata")))
KEEP = (keep_only("study", "studies"), keep_only("dx", "keep_dx"))

COHORT = Cohort(
    title="SCHIZO",
    source="http://schizconnect.org: COBRE and MCICShare with their tables; or COBRE of INDI",
    licence="SchizConnect data use agreement",
    citation="Wang et al. 2016, NeuroImage 124 (B)",
    n_volumes=670,
    n_people=335,
    patterns=(
        Pattern(rf"{ID}/{CONTRAST}\.nii\.gz", is_stripped=True, facts={"layout": "stripped"}),
        *(
            Pattern(rf"{study}{SESSION}/{IMAGE}", facts={"layout": "BIDS"})
            for study in (r"(?P<study>[^/]+)/", "")
        ),
        Pattern(COBRE, facts={"layout": "INDI", "study": "COBRE", "contrast": "T1"}),
        Pattern(SERIES, source_format="DICOM", facts={"layout": "DICOM"}),
        Pattern(r"scans/[^/]+/resources/ANALYZE/files/.+", reason="Analyze, whose orientation is not known"),
        Pattern(r"scans/[^/]+/resources/DICOM/files/.+", reason="neither T1 nor T2"),
        Pattern(r"(rest_\d+|sub-[^/]+/(ses-[^/]+/)?(func|dwi|fmap|perf))/.+", reason="neither T1 nor T2"),
        Pattern(r"schizconnect_.*_assessmentData_.*\.csv", reason="interviews, which no label needs"),
    ),
    classify=classify,
    prefer=(
        Preference("the official copy", lambda facts, options: facts["layout"] != "stripped"),
        Preference("a later session", lambda facts, options: facts.get("visit", "")),
        Preference("a repeat", lambda facts, options: int(facts.get("repeat") or 0)),
        Preference("an echo", lambda facts, options: int(facts.get("echo") or 0)),
    ),
    keep=lambda visit: next(filter(None, (explain(visit) for explain in KEEP)), ""),
    tables=(
        Table("stripped", r"SCHIZO_metadata\.(tsv|csv)", {"eid": "subject"}),
        Table(
            "participants",
            r"participants\.tsv",
            {"participant_id": "subject"},
            normalise=lambda text: text.strip().removeprefix("sub-"),
            is_newest_only=False,
        ),
        Table("metadata", r"schizconnect_metaData.*\.csv", {"subjectid": "subject"}, is_newest_only=False),
        Table(
            "cobre",
            r"COBRE_phenotypic_data\.csv",
            {"id": "subject"},
            missing=("Disenrolled", "None"),
            normalise=pad_id(7),
            read=read_cobre,
        ),
    ),
    fields={
        "age_years": (*from_tables("age"), Cell("cobre", "current age")),
        "sex": (*from_tables("sex", SEX), Cell("cobre", "gender", SEX)),
        "handedness": (Cell("cobre", "handedness", HAND),),
        "dx": (*from_tables("dx", DX), diagnose_cobre),
        "dx_detail": (*from_tables("dx", DETAIL), Cell("cobre", "diagnosis")),
        "study": STUDY,
        "lacking": (read_lacking,),
        "site": STUDY,
        "vendor": (from_field("study", STUDY_VENDORS, "study table"), Cell("metadata", "maker", VENDORS)),
        "field_strength_t": (
            from_field("study", STUDY_FIELD_STRENGTHS_T, "study table"),
            Cell("metadata", "field_strength"),
        ),
    },
    options={
        "studies": Option(["COBRE", "MCICShare"], "whose scans are kept", tuple(STUDIES)),
        "keep_dx": Option(["HC", "SCZ"], "who is kept, of those whose diagnosis is known", tuple(LEVELS)),
    },
    layouts="COBRE/0040000/session_1/anat_1/mprage.nii.gz",
    miniature=Miniature(
        files="""
SCHIZO/A90000001/{T1,T2}.nii.gz
SCHIZO/A90000002/T1.nii.gz
SCHIZO/A90000005/T1.nii.gz
SCHIZO/A90000006/T2.nii.gz
COBRE/sub-A90000003/ses-20100101/anat/sub-A90000003_ses-20100101_acq-mprage_run-{01,02}_T1w.nii.gz
COBRE/sub-A90000007/ses-20110101/anat/sub-A90000007_ses-20110101_run-01_echo-{01,02}_T1w.nii.gz
MCICShare/sub-A90000004/ses-20050101/anat/sub-A90000004_ses-20050101_{T1w,T2w}.nii
""",
        tables={
            "SCHIZO_metadata.tsv": """\
eid	study	age	sex	dx
A90000001	COBRE	28	male	Schizophrenia_Strict
A90000002	COBRE	41	female	No_Known_Disorder
A90000005	COBRE	50	female	Bipolar_Disorder_Broad
""",
            "participants.tsv": "participant_id\tage\tsex\tdx\nsub-A90000004\t33\tmale\tSchizoaffective\n",
            "schizconnect_metaData_99001.csv": """\
study,subjectid,age,sex,dx,field_strength,img_date,maker,model,szc_protocol_hier
COBRE,A90000007,28,male,Schizophrenia_Strict,3,2011-01-01,SIEMENS,TrioTim,T1 MPRAGE
""",
        },
    ),
)
