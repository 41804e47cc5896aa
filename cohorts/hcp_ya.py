"""HCP Young Adult: T1 and T2 of healthy twins and siblings; families are kept together."""

from dataclasses import replace
from pathlib import Path

from braing3n.cohort import Cell, Cohort, Fixed, Found, Miniature, Option, Pattern, Preference, Table
from braing3n.cohort.records import to_number
from braing3n.cohort.sources import from_option

SEX = {"F": "F", "M": "M"}
AGE_BINS = {"22-25": "23.5", "26-30": "28", "31-35": "33", "36+": "37"}  # their middle
RACE = {
    "White": "White",
    "Black or African Am.": "Black",
    "Asian/Nat. Hawaiian/Othr Pacific Is.": "Asian",
    "Am. Indian/Alaskan Nat.": "American Indian",
    "More than one": "More than one",
    "Unknown or Not Reported": "",
}
ETHNICITY = {
    "Hispanic/Latino": "Hispanic",
    "Not Hispanic/Latino": "Not Hispanic",
    "Unknown or Not Reported": "",
}
SUBJECT, SERIES = r"(?P<subject>\d{6})", {"T1w": "T1", "T2w": "T2"}
RUN = r"(?P<name>(?P<series>T1w|T2w)_(MPR|SPC)(?P<repeat>\d))"
# Where a subject's T2 lies, from the folder of the T1.
T2_BESIDE = {
    "preprocessed": "T2w_acpc_dc_restore_brain.nii.gz",
    "unprocessed": "../T2w_SPC?/*_SPC?.nii.gz",
}


def classify(facts, options):
    """The modality of the package that is asked for."""
    wanted = options["package"]
    is_wanted = facts["package"] == wanted
    return SERIES[facts["series"]] if is_wanted else f"-the option 'package' asks for {wanted}"


def read_age_bin(visit):
    """The middle of the open table's five years."""
    found = Cell("subjects", "Age", AGE_BINS)(visit)
    return replace(found, source=f"{found.source}:bin_midpoint") if found else None


def read_hand(visit):
    """The sign of Edinburgh's inventory, -100 to 100; a negative score is a left hand, nothing missing."""
    found = visit.find("restricted", "Handedness")
    score = to_number(found.value) if found else None
    return None if score is None else Found("A" if score == 0 else "R" if score > 0 else "L", found.source)


def read_lacking(visit):
    """T2 where the subject's package has none, which is flagged, too."""
    folder, beside = Path(visit.facts["folder"]), T2_BESIDE[visit.facts["package"]]
    if visit.facts["modality"] == "T2" or any(folder.glob(beside)):
        return None
    visit.flag("no T2")
    return Found("T2", "path:folder")


COHORT = Cohort(
    title="HCP-YA",
    source="https://balsa.wustl.edu: HCP Young Adult, structural preprocessed (or unprocessed), both tables",
    licence="HCP data use terms, open and restricted",
    citation="Van Essen et al. 2013, NeuroImage 80",
    access="in two tiers: family, race and age in years stand in a restricted table",
    n_volumes=2226,
    n_people=1113,
    patterns=(
        Pattern(r"[^/]*Retest[^/]*/.+", reason="the retest subset"),
        Pattern(
            rf"{SUBJECT}/T1w/(?P<series>T1w|T2w)_acpc_dc_restore_brain\.nii\.gz",
            is_bias_corrected=True,
            is_stripped=True,
            raw_space="acpc",
            facts={"package": "preprocessed"},
        ),
        Pattern(
            rf"{SUBJECT}/unprocessed/3T/{RUN}/(?P=subject)_3T_(?P=name)\.nii\.gz",
            is_defaced=True,  # as the data's card says
            facts={"package": "unprocessed"},
        ),
        Pattern(r"\d{6}/T1w/T[12]w_acpc_dc(_restore)?\.nii\.gz", reason="the same image with skull"),
        Pattern(r"\d{6}/(T1w|MNINonLinear)/.+", reason="another product of the minimal preprocessing"),
        Pattern(r"\d{6}/unprocessed/3T/T[12]w_(MPR|SPC)\d/.+", reason="a field map or a note of the scanner"),
        Pattern(r"\d{6}/unprocessed/7T/.+", reason="7 T"),
    ),
    classify=classify,
    prefer=(Preference("a repeat", lambda facts, options: int(facts.get("repeat") or 1)),),
    family=Cell("restricted", "Family_ID"),
    tables=(
        Table("subjects", r"(unrestricted|HCP_YA_subjects)_.*\.csv", {"Subject": "subject"}),
        Table("restricted", r"(RESTRICTED|HCP_YA)_.*\.csv", {"Subject": "subject"}, needs=("Family_ID",)),
    ),
    fields={
        "age_years": (Cell("restricted", "Age_in_Yrs"), read_age_bin),
        "sex": (Cell("subjects", "Gender", SEX),),
        "handedness": (read_hand,),
        "handedness_score": (Cell("restricted", "Handedness"),),
        "race": (Cell("restricted", "Race", RACE),),
        "ethnicity": (Cell("restricted", "Ethnicity", ETHNICITY),),
        "education_years": (Cell("restricted", "SSAGA_Educ"),),  # 11 is fewer than 11, 17 more than 16
        "mmse": (Cell("subjects", "MMSE_Score"),),
        "dx": (Fixed("HC"),),
        "lacking": (read_lacking,),
        "site": (Fixed("WashU"),),
        "vendor": (from_option("vendor"),),
        "field_strength_t": (Fixed("3"),),
    },
    options={
        "package": Option("preprocessed", "which of the two is read", ("preprocessed", "unprocessed")),
        "all_repeats": Option(False, "keep every run of the unprocessed package, with a run number"),
        "vendor": Option("Siemens", "of the one scanner, a Skyra (as remembered); empty: unknown"),
    },
    miniature=Miniature(
        files="""
HCP_YA/900001/T1w/{T1w,T2w}_acpc_dc_restore_brain.nii.gz
HCP_YA/900001/T1w/T1w_acpc_dc_restore.nii.gz
HCP_YA/900002/T1w/{T1w,T2w}_acpc_dc_restore_brain.nii.gz
HCP_YA/900003/T1w/T1w_acpc_dc_restore_brain.nii.gz
HCP_YA/900004/unprocessed/3T/T1w_MPR1/900004_3T_T1w_MPR1.nii.gz
HCP_YA/900004/unprocessed/3T/T2w_SPC1/900004_3T_T2w_SPC1.nii.gz
HCP_Retest/900001/T1w/T1w_acpc_dc_restore_brain.nii.gz
""",
        tables={
            "unrestricted_user_1_2_2026_3_4_5.csv": """\
Subject,Release,Acquisition,Gender,Age,3T_Full_MR_Compl,T1_Count,T2_Count,MMSE_Score
900001,S900,Q06,M,26-30,true,1,1,29
900002,S1200,Q13,F,22-25,true,2,2,30
900003,S500,Q03,F,36+,false,1,0,
900004,Q1,Q01,M,31-35,true,2,1,28
900005,S1200,Q12,M,31-35,false,0,0,30
""",
            "RESTRICTED_user_1_2_2026_3_6_7.csv": """\
Subject,Age_in_Yrs,Family_ID,Race,Ethnicity,Handedness,SSAGA_Educ
900001,27,90001_90002,White,Not Hispanic/Latino,85,16
900002,24,90003_90004,Black or African Am.,Hispanic/Latino,-70,14
900003,36,90001_90002,Unknown or Not Reported,Unknown or Not Reported,15,17
""",
        },
    ),
)
