"""ADNI, the LONI collection "ADSP-PHC: ADNI T1 1.0": Mayo's processed NIfTI and raw DICOM side by side."""

import re
from functools import partial

from braing3n.cohort import Cell, Cohort, Fact, Miniature, Option, Pattern, Preference, loni, sources

SUBJECT, NIFTI = r"(?P<subject>(?P<site>\d{3})_S_\d{4,5})", r"[^/]+\.nii(?:\.gz)?"
WITHDRAWN = r"381_S_10\d{3}"
# A collection of T1 holds none of these; a search of one's own may.
NOT_T1 = (
    r"FLAIR|(^|[_-])T2|DTI|DWI|EPI|FMRI|ASL|PERFU|LOCALI|SURVEY|SCOUT|FIELD.?MAP|HIPPO|B1.CAL|MASK|FREESURFER"
)
GROUPS = {"CN": "HC", "SMC": "HC", "EMCI": "MCI", "LMCI": "MCI", "MCI": "MCI", "AD": "AD", "Patient": ""}
PTGENDER = {"1": "M", "2": "F"}
TARGETS = {"1": "HC", "2": "MCI", "3": "AD"}
CHANGES = dict.fromkeys("179", "HC") | dict.fromkeys("248", "MCI") | dict.fromkeys("356", "AD")
# Columns of DXSUM; exports differ in which of them they have.
FLAGS = {"dxnorm": {"1": "HC"}, "dxmci": {"1": "MCI"}, "dxad": {"1": "AD"}}
DIAGNOSES = {"diagnosis": TARGETS, "dxchange": CHANGES, "dxcurren": TARGETS, **FLAGS}
RACES = {"1": "American Indian", "2": "Asian", "3": "Pacific Islander", "4": "Black", "5": "White"}
RACES |= {"6": "More than one", "7": ""}
# Visits whose conversion is known to fail (Clinica's list).
BAD_CONVERSIONS = """
031_S_0830/m48 100_S_0995/m18 031_S_0867/m48 100_S_0892/m18 003_S_6264/m12
011_S_4105/m72 006_S_4485/m84 029_S_2395/m72 114_S_6039/bl 016_S_4952/m48
"""
study = partial(
    loni.study_table,
    key="PTID|RID",
    normalise=loni.find_roster_id,
    missing=("-1", "-4", "-1.0", "-4.0"),
    within_days=180,
)
BIRTH_AGE = sources.read_birth_age("ptdemog", "ptdob", "ptdobmm+ptdobyy")
BASELINE_AGE = sources.read_baseline_age("adnimerge", "age", "examdate_bl")
NO_VISITS = ("f", "uns1", "nv")  # screen fail, unscheduled, none
IMAGES = """
901_S_0001 MPR__GradWarp__B1_Correction__N3__Scaled 2006-03-02_09_12_33 I900001 .nii
901_S_0001 MPR-R__GradWarp__B1_Correction__N3 2006-03-02_09_20_11 I900002 .nii
901_S_0001 MT1__GradWarp__N3m 2011-03-10_10_55_25 I900003 .nii
902_S_4002 MPRAGE 2012-05-14_08_03_17 I900010 .dcm
902_S_4002 MT1__N3m 2012-05-14_08_03_17 I900011 .nii
903_S_6003 Accelerated_Sagittal_MPRAGE 2018-09-04_14_00_00 I900020 .dcm
903_S_6003 Accelerated_Sagittal_MPRAGE_ND 2018-09-04_14_00_00 I900021 .dcm
904_S_10004 Accelerated_Sagittal_MPRAGE__MSV21_ 2024-04-23_11_26_06 I90000030 .dcm
905_S_0005 MT1__GradWarp__N3m 2010-01-05_08_00_00 S90030-I900030 .nii
"""
TABLES = """
# ADNI_901_S_0001_MT1__GradWarp__N3m_S90003_I900003.xml
<idaxs><project><subject><subjectIdentifier>901_S_0001</subjectIdentifier><researchGroup>LMCI</researchGroup>
<subjectInfo item="APOE A1">3</subjectInfo><subjectInfo item="APOE A2">4</subjectInfo>
<assessmentScore attribute="MMSCORE">26.0</assessmentScore><subjectAge>79.4274</subjectAge>
<subjectSex>F</subjectSex><derivedProduct><imageUID>900003</imageUID></derivedProduct></subject></project></idaxs>
# ADSP_PHC_ADNI_T1_1.0_5_01_2026.csv
"Image Data ID","Subject","Group","Sex","Age","Visit","Acq Date"
"I900010","902_S_4002","CN","M","71","v02","5/14/2012"
"I900020","903_S_6003","Patient","F","66","sc","9/04/2018"
# DXSUM_01May2026.csv
PTID,VISCODE2,EXAMDATE,DIAGNOSIS,DXOTHDEM,USERDATE
901_S_0001,bl,2006-03-15,2,-4,2006-03-20
901_S_0001,m60,2011-03-01,3,-4,2011-03-05
902_S_4002,bl,2012-06-01,1,-4,2012-06-02
902_S_4002,bl,2012-06-01,1,-4,2012-07-02
903_S_6003,sc,2018-08-20,3,1,2018-08-21
# PTDEMOG_01May2026.csv
PTID,VISDATE,PTGENDER,PTDOB,PTHAND,PTEDUCAT,PTETHCAT,PTRACCAT
901_S_0001,2006-02-10,2,10/1931,1,16,2,5
902_S_4002,2012-04-20,1,05/1941,2,12,1,4
903_S_6003,2018-08-20,2,01/1952,1,-4,3,7
904_S_10004,2024-03-01,1,02/1950,1,18,2,4|5
# MMSE_01May2026.csv
PTID,VISDATE,MMSCORE
901_S_0001,2006-03-15,27
901_S_0001,2011-03-01,-1
"""


def classify(facts, options):
    """Everything is T1, as the collection is, but what its name denies and who was withdrawn."""
    if re.fullmatch(WITHDRAWN, facts["subject"], re.IGNORECASE):
        return "-the participant is withdrawn by a data advisory"
    return "-by its name another contrast or a derivative" if loni.rank_name(NOT_T1)(facts, options) else "T1"


def rank_family(facts, options):
    """MT1 with GradWarp, other MT1, other NIfTI, DICOM."""
    is_mt1, is_warped = ("MT1" in facts["series"].upper(), "GRADWARP" in facts["series"].upper())
    return (0 if is_warped else 1) if is_mt1 else 2 if re.fullmatch(NIFTI, facts["name"], re.I) else 3


def find_diagnosis(visit):
    """DXSUM's row nearest to the scan; dementia that is not Alzheimer's is no diagnosis of ours."""
    is_asked = visit.options["dx_rule"] == "visit"
    return sources.find_nearest(visit, "dxsum", DIAGNOSES, ("AD", "dxothdem")) if is_asked else None


COHORT = Cohort(
    title="ADNI",
    source="https://ida.loni.usc.edu: collection 'ADSP-PHC: ADNI T1 1.0' with metadata XML, and study data",
    licence="ADNI data use agreement",
    citation="Petersen et al. 2010, Neurology 74 (3)",
    n_volumes=10910,
    n_people=2592,
    patterns=(
        # Mayo's names of images whose bias is corrected.
        Pattern(loni.scan_path(SUBJECT, NIFTI, r"[^/]*(?:N3|B1_Correction)[^/]*"), is_bias_corrected=True),
        Pattern(loni.scan_path(SUBJECT, NIFTI)),
        Pattern(loni.scan_path(SUBJECT, r"[^/]+\.dcm"), source_format="DICOM"),
    ),
    classify=classify,
    prefer=(
        Preference("lower priority (MT1 with GradWarp, MT1, other NIfTI, DICOM)", rank_family),
        Preference("a repeat scan", loni.rank_name("MPR[-_]R(_|$)|REPEAT")),
        Preference("not corrected for distortion (_ND)", loni.rank_name("_ND(_|$)")),
        Preference("not scaled", loni.rank_name("^(?!.*_SCALED)")),
        Preference("a later image id", loni.rank_image),
    ),
    keep=sources.leave_out_visits(BAD_CONVERSIONS, "keep_bad_conversions"),
    has_header_facts=True,
    tables=(
        *loni.TABLES,
        study("dxsum", "dxsum(?:_pdxconv_adniall)?", date="examdate", order="-userdate"),
        *(study(name, date="visdate") for name in ("mmse", "cdr", "moca", "gdscale")),
        *(study(name, order="visdate") for name in ("ptdemog", "apoeres", "adnimerge")),
        study("adnimerge_visits", "adnimerge", date="examdate"),
        # Two logs, of 1.5 T and of 3 T: scans of both may be a few days apart.
        study("mrimeta", "mri3?meta", date="examdate", within_days=3, is_newest_only=False),
    ),
    fields={
        "age_years": (loni.XML_AGE, BIRTH_AGE, BASELINE_AGE, loni.COLLECTION_AGE, loni.SEARCH_AGE),
        "sex": (loni.XML_SEX, Cell("ptdemog", "ptgender", PTGENDER), loni.COLLECTION_SEX, loni.SEARCH_SEX),
        "dx": (find_diagnosis, *(Cell(*group, GROUPS) for group in loni.GROUPS)),
        "dx_detail": (Cell("dxsum", "dxothdem", {"1": "dementia other than Alzheimer's", "0": ""}),),
        "enrolment_group": tuple(Cell(*group) for group in loni.GROUPS),
        "visit": (Cell("dxsum", "viscode2", missing=NO_VISITS), *loni.VISITS),
        "site": (Fact("site"),),
        "vendor": loni.VENDOR,
        "field_strength_t": (*loni.FIELD_STRENGTH, Cell("mrimeta", "field_strength")),
        "mmse": (Cell("mmse", "mmscore"), Cell("xml", "mmscore")),
        "cdr": (Cell("cdr", "cdglobal"), Cell("xml", "cdglobal")),
        "moca": (Cell("moca", "moca"), Cell("adnimerge_visits", "moca")),
        "gds": (Cell("gdscale", "gdtotal"), Cell("xml", "gdtotal")),
        "apoe": (sources.read_genotype("apoeres", "genotype", "apgen1+apgen2"), loni.XML_APOE),
        "education_years": (Cell("ptdemog", "pteducat"),),
        "handedness": (Cell("ptdemog", "pthand", {"1": "R", "2": "L"}),),
        "ethnicity": (Cell("ptdemog", "ptethcat", {"1": "Hispanic", "2": "Not Hispanic", "3": ""}),),
        "race": (sources.read_joined("ptdemog", "ptraccat", RACES, "More than one"),),
    },
    options={
        "dx_rule": Option("visit", "diagnosis of the visit, or of enrolment", ("visit", "enrolment")),
        "keep_bad_conversions": Option(False, "keep visits whose conversion is known to fail"),
    },
    miniature=Miniature(loni.list_images("ADNI", IMAGES), loni.split_tables(TABLES)),
)
