"""UCSF-PDGM: T1, contrast T1, T2 and FLAIR of diffuse gliomas before surgery, stripped and coregistered."""

import re

from braing3n.cohort import Cell, Cohort, Fixed, Miniature, Option, Pattern, Table

SEX = {"F": "F", "M": "M"}
DX_BY_GRADE = {"2": "Glioma", "3": "Glioma", "4": "GBM"}
DX_BY_DIAGNOSIS = {
    "Glioblastoma, IDH-wildtype": "GBM",
    "Astrocytoma, IDH-mutant": "Glioma",
    "Astrocytoma, IDH-wildtype": "Glioma",
    "Oligodendroglioma, IDH-mutant, 1p/19q-codeleted": "Glioma",
}
# The gene is not named where it is "mutated (NOS)"; nearly all such mutations are IDH1's.
IDH1_MUTATIONS = (
    *("mutated (NOS)", "IDH1 p.R132H", "IDH1 p.R132C", "IDH1 p.R132G", "IDH1 p.R132S"),
    "IDH1 p.Arg132His",
)
IDH2_MUTATIONS = ("IDH2 p.R172K", "IDH2 p.Arg172Trp")
IDH1 = dict.fromkeys(IDH1_MUTATIONS, "mutant") | dict.fromkeys(("wildtype", *IDH2_MUTATIONS), "wildtype")
IDH = {"wildtype": "wildtype"} | dict.fromkeys((*IDH1_MUTATIONS, *IDH2_MUTATIONS), "mutant")
MGMT = {"positive": "methylated", "negative": "unmethylated", "indeterminate": ""}
CODELETION = {name: name for name in ("intact", "co-deletion", "relative co-deletion")}
# The digits of folder and file differ at times: the folder's count.
CASE = r"(?P<subject>UCSF-PDGM-\d+)(?P<follow_up>_FU\d+d)?(_nifti)?/UCSF-PDGM-\d+(_FU\d+d)?"
BASE = r"(?P<subject>UCSF-PDGM-\d+)(_nifti)?/UCSF-PDGM-\d+"
STATE = {"is_stripped": True, "raw_space": "coregistered"}
DX_RULES = {
    "grade": Cell("cases", "WHO CNS Grade", DX_BY_GRADE),
    "diagnosis": Cell("cases", "Final pathologic diagnosis (WHO 2021)", DX_BY_DIAGNOSIS),
}


def classify(facts, options):
    """The modality of the copy that is asked for; a later scan has a case number of its own."""
    if facts["follow_up"]:
        return "-a follow-up of another case"
    wanted = options["files"]
    return facts["series"] if facts["copy"] == wanted else f"-the option 'files' asks for {wanted}"


def pad_number(text):
    """`UCSF-PDGM-004` of the table is the folder `UCSF-PDGM-0004`."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(4), text.strip().upper(), count=1)


COHORT = Cohort(
    title="UCSF-PDGM",
    source="https://www.cancerimagingarchive.net/collection/ucsf-pdgm: version 5 and its metadata CSV",
    licence="CC BY 4.0",
    citation="Calabrese et al. 2022, Radiology: Artificial Intelligence 4 (6)",
    n_volumes=1980,
    n_people=495,
    patterns=(
        Pattern(
            rf"{CASE}_(?P<series>T1|T1c|T2|FLAIR)_bias\.nii\.gz",
            is_bias_corrected=True,
            facts={"copy": "bias"},
            **STATE,
        ),
        Pattern(rf"{CASE}_(?P<series>T1|T1c|T2|FLAIR)\.nii\.gz", facts={"copy": "plain"}, **STATE),
        Pattern(rf"{BASE}_tumor_segmentation.*\.nii\.gz", label="tumour"),
        Pattern(rf"{CASE}_tumor_segmentation.*\.nii\.gz", reason="a label of a follow-up"),
        Pattern(rf"{CASE}_brain(_parenchyma)?_segmentation\.nii\.gz", reason="a label: the brain"),
        Pattern(rf"{CASE}_(SWI|DWI|ADC|ASL)(_bias)?\.nii\.gz", reason="neither T1, T1c, T2 nor FLAIR"),
        Pattern(rf"{CASE}_DTI_eddy.*", reason="diffusion"),
    ),
    classify=classify,
    tables=(
        # The glossary beside it has the table's name and other columns.
        Table("cases", r"UCSF-PDGM-metadata.*\.csv", {"ID": "subject"}, ("Sex",), normalise=pad_number),
    ),
    fields={
        "age_years": (Cell("cases", "Age at MRI"),),
        "sex": (Cell("cases", "Sex", SEX),),
        "dx": (lambda visit: DX_RULES[visit.options["dx_rule"]](visit),),
        "dx_by_grade": (DX_RULES["grade"],),
        "dx_by_diagnosis": (DX_RULES["diagnosis"],),
        "dx_detail": (Cell("cases", "Final pathologic diagnosis (WHO 2021)"),),
        "grade": (Cell("cases", "WHO CNS Grade"),),
        "idh": (Cell("cases", "IDH", IDH),),
        "idh1": (Cell("cases", "IDH", IDH1),),
        "idh_detail": (Cell("cases", "IDH"),),
        "mgmt": (Cell("cases", "MGMT status", MGMT),),  # not the index, which contradicts it in five cases
        "codeletion_1p19q": (Cell("cases", "1p/19q", CODELETION),),
        "site": (Fixed("UCSF"),),
        "vendor": (Fixed("GE"),),  # Discovery MR750 for all
        "field_strength_t": (Fixed("3"),),
    },
    options={
        "files": Option("bias", "bias: N4-corrected copies; plain: as acquired", ("bias", "plain")),
        "dx_rule": Option("grade", "grade: GBM is grade 4; diagnosis: GBM by name", ("grade", "diagnosis")),
    },
    miniature=Miniature(
        files="""
UCSF-PDGM-v5/UCSF-PDGM-9004_nifti/UCSF-PDGM-9004_{T1,T1c,T2,FLAIR}_bias.nii.gz
UCSF-PDGM-v5/UCSF-PDGM-9004_nifti/UCSF-PDGM-9004_{T1,tumor_segmentation,SWI_bias}.nii.gz
UCSF-PDGM-v5/UCSF-PDGM-0904_nifti/UCSF-PDGM-0904_{T1,T2}_bias.nii.gz
UCSF-PDGM-v5/UCSF-PDGM-0905_nifti/UCSF-PDGM-905_{T1c,FLAIR}_bias.nii.gz
UCSF-PDGM-v5/UCSF-PDGM-9006_FU016d_nifti/UCSF-PDGM-9006_FU016d_T1_bias.nii.gz
""",
        tables={
            "UCSF-PDGM-metadata_v5.csv": """\
ID,Sex,Age at MRI,WHO CNS Grade,Final pathologic diagnosis (WHO 2021),MGMT status,1p/19q,IDH
UCSF-PDGM-9004,M,61,4,"Glioblastoma, IDH-wildtype",negative,unknown,wildtype
UCSF-PDGM-904,F,,2,"Oligodendroglioma, IDH-mutant, 1p/19q-codeleted",unknown,co-deletion,IDH2 p.Arg172Trp
UCSF-PDGM-905,F,34,4,"Astrocytoma, IDH-mutant",positive,intact,IDH1 p.Arg132His
UCSF-PDGM-9006_FU016d,M,50,3,"Astrocytoma, IDH-wildtype",indeterminate,intact,wildtype
"""
        },
    ),
)
