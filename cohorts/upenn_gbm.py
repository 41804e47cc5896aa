"""UPENN-GBM: T1, contrast T1, T2 and FLAIR of glioblastomas before surgery, stripped and in SRI24 space."""

from braing3n.cohort import Cell, Cohort, Fixed, Miniature, Pattern, Table

MODALITIES = {"T1": "T1", "T1GD": "T1c", "T2": "T2", "FLAIR": "FLAIR"}
SEX = {"F": "F", "M": "M"}
IDH1 = {"Wildtype": "wildtype", "Mutated": "mutant", "NOS/NEC": ""}
MGMT = {"Methylated": "methylated", "Unmethylated": "unmethylated", "Indeterminate": ""}
VENDORS = {"siemens": "Siemens", "ge medical systems": "GE", "philips medical systems": "Philips"}
SCAN = r"(?P<id>(?P<subject>UPENN-GBM-\d{5})_(?P<session>\d\d))"
BASELINE = "11"  # before surgery; 21 is after it, and some people have no other


def classify(facts, options):
    """The modality; scans after surgery are another thing than those before it."""
    is_baseline = facts["session"] == BASELINE
    return MODALITIES[facts["series"].upper()] if is_baseline else "-a follow-up, not the baseline"


COHORT = Cohort(
    title="UPENN-GBM",
    source="https://www.cancerimagingarchive.net/collection/upenn-gbm: NIfTI package (version 2), CSVs",
    licence="CC BY 4.0",
    citation="Bakas et al. 2022, Scientific Data 9",
    access="a package of The Cancer Imaging Archive, by Aspera (Faspex)",
    n_volumes=2444,
    n_people=611,
    patterns=(
        Pattern(
            rf"images_structural/{SCAN}/(?P=id)_(?P<series>T1|T1GD|T2|FLAIR)\.nii\.gz",
            is_stripped=True,
            raw_space="sri24",
        ),
        Pattern(rf"images_structural/{SCAN}/old/.+", reason="a stale duplicate"),
        Pattern(r"images_structural_unstripped/.+", reason="the same image with skull"),
        Pattern(rf"{SCAN}_segm\.nii\.gz", label="tumour"),  # as readers corrected it
        Pattern(rf"{SCAN}_automated_approx_segm\.nii\.gz", label="tumour"),  # as a network saw it
        Pattern(r"images_(DTI|DSC)/.+", reason="diffusion or perfusion"),
        Pattern(r"UPENN-GBM_data_availability\.csv", reason="a list of the files, without labels"),
    ),
    classify=classify,
    tables=(
        Table("clinical", r"UPENN-GBM_clinical_info.*\.csv", {"ID": "id"}),
        Table("acquisition", r"UPENN-GBM_acquisition.*\.csv", {"ID": "id"}),
    ),
    fields={
        "age_years": (Cell("clinical", "Age_at_scan_years"),),
        "sex": (Cell("clinical", "Gender", SEX),),
        "dx": (Fixed("GBM"),),
        "grade": (Fixed("4"),),
        "idh1": (Cell("clinical", "IDH1", IDH1),),
        "mgmt": (Cell("clinical", "MGMT", MGMT),),
        "site": (Fixed("UPenn"),),
        "vendor": (Cell("acquisition", "Manufacturer", VENDORS),),
        "field_strength_t": (Cell("acquisition", "Magnetic Field Strength"),),
    },
    miniature=Miniature(
        files="""
NIfTI-files/images_structural/UPENN-GBM-90001_11/UPENN-GBM-90001_11_{T1,T1GD,T2,FLAIR}.nii.gz  axes LPS
NIfTI-files/images_structural/UPENN-GBM-90001_21/UPENN-GBM-90001_21_T1GD.nii.gz  axes LPS
NIfTI-files/images_structural/UPENN-GBM-90002_11/UPENN-GBM-90002_11_{T1,FLAIR}.nii.gz  axes LPS
NIfTI-files/images_structural/UPENN-GBM-90002_11/old/UPENN-GBM-90002_11_T1.nii.gz  axes LPS
NIfTI-files/images_structural/UPENN-GBM-90612_21/UPENN-GBM-90612_21_T1.nii.gz  axes LPS
NIfTI-files/images_structural_unstripped/UPENN-GBM-90001_11/UPENN-GBM-90001_11_T1_unstripped.nii.gz
NIfTI-files/automated_segm/UPENN-GBM-90001_11_automated_approx_segm.nii.gz
NIfTI-files/images_segm/UPENN-GBM-90001_11_segm.nii.gz
""",
        tables={
            "UPENN-GBM_clinical_info_v2.1.csv": """\
ID,Gender,Age_at_scan_years,Survival_Status,Time_since_baseline_preop,IDH1,MGMT,KPS
UPENN-GBM-90001_11,F,61.34,Deceased,0,Wildtype,Methylated,90
UPENN-GBM-90001_21,F,62.10,Deceased,277,Wildtype,Methylated,Not Available
UPENN-GBM-90002_11,M,48.02,Lost to Follow-up,0,NOS/NEC,Not Available,Not Available
UPENN-GBM-90612_21,M,55.55,Deceased,Not Available,Mutated,Indeterminate,80
""",
            "UPENN-GBM_acquisition.csv": """\
ID,Manufacturer,Model,Magnetic Field Strength
UPENN-GBM-90001_11,SIEMENS,TrioTim,3
""",
        },
    ),
)
