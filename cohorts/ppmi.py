"""PPMI from the LONI archive: DICOM series whose contrast is read from their descriptions."""

import re
from functools import partial

from braing3n.cohort import Cell, Cohort, Miniature, Option, Pattern, Preference, loni, sources

# Some downloads have a further level of digits; a file that names its participant shows which is which.
SUBJECT, SERIES = r"(?P<subject>\d{4,6})(?:/\d+)?", r"[^/]*[^/\d][^/]*"
FILE = r"(?:PPMI_(?P=subject)_[^/]*|(?!PPMI_)[^/]+)\.dcm"
OTHER = "not structural"
# Words of a description (upper case, blanks between) that make it no structural head, and why.
REFINED = {
    r"GRE.*MT|GRE.*NM|\bNM\b|NEUROMELANIN": "neuromelanin",
    r"\bMPR (TRA|COR)\b|REFORMAT|SMARTBRAIN|T1 SE C$": "a reformat, or after a contrast agent",
    r"\bF?GRE\b|STAR|SWAN|SWI|T2W? FFE": "T2* or another gradient echo",
    r"^(TRA|SAG|COR|TRANSVERSE|CORONAL|TRA DUAL|(AX )?DUAL TSE|DOUBLE TSE|AX DE TSE)$": "two-dimensional",
    r"^(HIGHRESHIPPO|SAG SPGR|ANON|MOCOSERIES)$|T2 TIRM TRA DARK FLUID|PHANTOM": "clipped or no head",
    r"FMRI|BOLD|REST|DTI|DWI|ASL|LOC|FIELD|B0|B1|CALIB|SCOUT|SURVEY|SETTER|SCREEN|PLANE|3 PL": OTHER,
}
T1 = "T1|MPRAGE|SPGR|BRAVO|FFE|TFE"
CONTRASTS = {r"\bT1.*FLAIR": "T1", "FLAIR": "FLAIR", T1: "T1", "T2": "T2"}  # T1 FLAIR: short inversion
# The rule that gave the paper's counts; where T2 (or REPEAT2) wins over T1.
NOT = "FMRI|BOLD|REST|DTI|DWI|ASL|LOC|FIELD|B0|B1|GRE (MT|NM)|CALIBRATION|SCOUT|SETTER|SCREEN|PLANE"
COUNTS_CONTRASTS = {"FLAIR": "FLAIR", f"T2|(?=.*({T1})).*[TF]SE": "T2", T1: "T1"}
RECALL = r"^(T|3D SAG|SAG 3D MPR)$"
BY_ECHO_TIME = r"^(MR|MRI MAGNETIC RESONANCE EXAM|PPMI 2 0|MRI BRAIN WO IVCON)$"  # their echo time decides
EVENTS = {"Screening": "SC", "Baseline": "BL", "Month 6": "R01", "Month 12": "V04", "Month 24": "V06"}
EVENTS |= {"Month 36": "V08", "Month 48": "V10", "Month 60": "V12", "Premature Withdrawal": "PW"}
EVENTS |= {"Symptomatic Therapy": "ST", "Unscheduled Visit 01": "U01", "Unscheduled Visit 02": "U02"}
DX = {"Parkinson's Disease": "PD", "Healthy Control": "HC", "Prodromal": "Prodromal", "SWEDD": "SWEDD"}
DX |= {"Early Imaging (original study participants only)": ""}
DX |= {"1": "PD", "2": "HC", "3": "SWEDD", "4": "Prodromal"}  # the last column's
DX_COLUMNS = ("cohort_definition", "concohort_definition", "cohort")
RACES = {"raasian": "Asian", "rablack": "Black", "rahawopi": "Pacific Islander", "ranos": "Other"}
RACES |= {"raindals": "American Indian", "rawhite": "White"}
GDS_BAD = ("dropd", "empty", "bored", "afrad", "hlpls", "home", "memry", "wrtls", "hopls", "beter")
GDS = {f"gds{item}": {"0": 0, "1": 1} for item in GDS_BAD}
GDS |= {f"gds{item}": {"0": 1, "1": 0} for item in ("satis", "gspir", "happy", "alive", "enrgy")}
# 9: uses a catheter; of the items of one sex: not applicable.
POINTS = {"0": 0, "1": 1, "2": 2, "3": 3}
SCOPA = {f"scau{item}": POINTS | ({"9": 3} if item < 22 else {"9": 0, "": 0}) for item in range(1, 26)}
find_event = loni.read_event(EVENTS, ("visits", "infodt"), ("mricmplt", "1"))
read_score = partial(loni.read_at_visit, find_event=find_event)
BIRTH_AGE = sources.read_birth_age("demographics", "birthdt")
VISIT_AGE = read_score("age_at_visit", "age_at_visit", sources.read_number("age_at_visit", 0, 120))
FIRST_AGE = loni.read_at_events(Cell("participant_status", "enroll_age"), find_event, ("BL", "SC"))
SEX = Cell("demographics", "sex", {"0": "F", "1": "M"})
SCREENING_SEX = Cell("screening", "gender", {"0": "F", "1": "F", "2": "M"})  # 0 and 1: child-bearing or not
study = partial(loni.study_table, key="patno")
IMAGES = """
90001 MPRAGE_GRAPPA2 2012-03-14_10_11_12 I900101 .dcm
90001 Axial_PD-T2_TSE_FS 2012-03-14_10_11_12 I900102 .dcm  dual echo, 3 mm, axial
90001 2D_GRE-MT 2012-03-14_10_11_12 I900103 .dcm
90001 MPRAGE_GRAPPA2 2013-04-02_09_00_00 S90104-I900104 .dcm
90002 T1_REPEAT2 2014-06-01_08_30_00 I900110 .dcm
90002 AX_FLAIR 2014-06-01_08_30_00 I900111 .dcm  5 mm, axial
90003 SAG_3D_T2_FLAIR__CUBE_ 2021-11-09_13_00_00 I900120 .dcm  one file
90004/90004 Sagittal_3D_Accelerated_MPRAGE 9999-09-09_00_00_00 I900130 .dcm
"""
TABLES = """
# Participant_Status_11Apr2026.csv
PATNO,COHORT,COHORT_DEFINITION
90001,1,Parkinson's Disease
90002,2,Healthy Control
90003,1,Parkinson's Disease
90004,3,SWEDD
# Demographics_11Apr2026.csv
PATNO,EVENT_ID,INFODT,BIRTHDT,SEX,HANDED,HISPLAT,RAASIAN,RABLACK,RAWHITE
90001,TRANS,11/2020,10/1949,1,1,0,0,0,1
90002,SC,05/2014,04/1956,0,2,1,0,1,1
90003,SC,09/2021,12/1950,0,3,0,1,0,0
"""


def classify(facts, options):
    """The contrast by the description, the size by the header."""
    name, is_refined = loni.list_words(facts["series"]), options["has_name_refinements"]
    for words, reason in (REFINED if is_refined else {NOT: OTHER}).items():
        if re.search(words, name):
            return f"-{reason}"
    contrasts = (CONTRASTS if is_refined else COUNTS_CONTRASTS) | (
        {RECALL: "T1"} if options["has_recall_names"] else {}
    )
    if is_refined and re.search(BY_ECHO_TIME, name) and loni.has_short_echo(facts):
        contrasts |= {BY_ECHO_TIME: "T1"}
    modality = next((contrast for words, contrast in contrasts.items() if re.search(words, name)), "")
    return loni.classify_size(facts, 3.0, 50) or modality if modality else f"-{OTHER}"


COHORT = Cohort(
    title="PPMI",
    source="https://ida.loni.usc.edu: PPMI, MRI as DICOM with metadata XML, and study data",
    licence="PPMI data use agreement",
    citation="Marek et al. 2011, Progress in Neurobiology 95 (4)",
    n_volumes=3908,
    n_people=1484,
    patterns=(Pattern(loni.scan_path(SUBJECT, FILE, SERIES), source_format="DICOM"),),
    classify=classify,
    prefer=(
        Preference("no 3-D name", loni.rank_name("^(?!.*(3D|MPR|SPGR|BRAVO|FFE|TFE|SPACE|CUBE|VIEW))")),
        Preference("an axial or coronal name", loni.rank_name("(?<![A-Z])(AX|AXIAL|TRA|COR|2D)(?![A-Z])")),
        Preference("not corrected for distortion (_ND)", loni.rank_name("_ND(_|$)")),
        Preference("a repeat", loni.rank_name("REPEAT|RPT")),
        Preference("fewer bytes", lambda facts, options: -int(facts["n_bytes"])),
        Preference("a later image id", loni.rank_image),
    ),
    keep=sources.keep_only("dx", "keep_dx"),
    has_header_facts=True,
    tables=(
        *loni.TABLES,
        study("visits", "magnetic_resonance_imaging_+mri_*"),
        study("demographics", order="infodt"),
        study("screening", "screening_+demographics"),
        study("education", "socio-economics", order="-infodt"),
        study("updrs3", "mds[-_]updrs_part_iii", order="pdstate"),  # none or OFF before ON
        study("moca", "montreal_cognitive_assessment_+(?:moca_*)?"),
        study("gds", "geriatric_depression_scale_.*"),
        *map(study, ("participant_status", "age_at_visit", "scopa-aut")),
        *map(study, ("iu_genetic_consensus", "center-subject_list")),
    ),
    fields={
        "age_years": (loni.XML_AGE, BIRTH_AGE, VISIT_AGE, loni.COLLECTION_AGE, FIRST_AGE),
        "sex": (loni.XML_SEX, SEX, SCREENING_SEX, loni.COLLECTION_SEX),
        "dx": tuple(Cell("participant_status", name, DX) for name in DX_COLUMNS),
        "event": (find_event,),
        "site": (Cell("center-subject_list", "cno"),),
        "vendor": loni.VENDOR,
        "field_strength_t": loni.FIELD_STRENGTH,
        "updrs3": (read_score("updrs3", "np3tot", sources.read_number("np3tot", 0, 132)),),
        "moca": (read_score("moca", "mcatot", sources.read_number("mcatot", 0, 30)),),
        "gds": (read_score("gds", "items", sources.sum_items(GDS)),),
        "scopa": (read_score("scopa-aut", "items", sources.sum_items(SCOPA)),),
        "apoe": (sources.read_genotype("iu_genetic_consensus", "apoe"), loni.XML_APOE),
        "education_years": (Cell("education", "educyrs"),),
        "handedness": (Cell("demographics", "handed", {"1": "R", "2": "L", "3": "A"}),),
        "ethnicity": (Cell("demographics", "hisplat", {"1": "Hispanic", "0": "Not Hispanic", "2": ""}),),
        "race": (sources.read_flags("demographics", RACES, "More than one"),),
    },
    options={
        "keep_dx": Option(["HC", "PD"], "diagnoses that are kept", ("HC", "PD", "SWEDD", "Prodromal")),
        "has_name_refinements": Option(True, "refined rules for names; false: those of the paper's counts"),
        "has_recall_names": Option(False, "take T1 whose description hardly says so (`T!`, `3D SAG`), too"),
    },
    miniature=Miniature(loni.list_images("PPMI", IMAGES), loni.split_tables(TABLES)),
)
