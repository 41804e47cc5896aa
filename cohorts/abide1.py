"""ABIDE-I: one T1 a session of people with autism and controls, from 20 sites."""

from braing3n.cohort import Cell, Cohort, Fixed, Miniature, Option, Pattern, Preference, Table, nitrc

DX = {"1": "ASD", "2": "HC", "autism": "ASD", "control": "HC"}
DSM_IV = {"0": "", "1": "autism", "2": "Asperger's", "3": "PDD-NOS", "4": "Asperger's or PDD-NOS"}
SEX = {"1": "M", "2": "F", "male": "M", "female": "F"}
HAND = {"R": "R", "L": "L", "Ambi": "A", "Mixed": "A", "L->R": "A"}
SITES = {
    "Siemens": "CALTECH CMU MAX_MUN NYU OHSU OLIN PITT UCLA_1 UCLA_2 USM YALE",
    "Philips": "KKI LEUVEN_1 LEUVEN_2 SBL TRINITY",
    "GE": "SDSU STANFORD UM_1 UM_2",
}
VENDORS = {site: vendor for vendor, sites in SITES.items() for site in sites.split()}


def strip_zeros(text):
    """`0059901`, `59901` and `sub-0059901` are one id."""
    return text.strip().removeprefix("sub-").removesuffix(".0").lstrip("0")


# Known by its columns: the preprocessed project's table is often renamed to the official name.
PHENOTYPE, NEEDS = r".*phenotypic.*\.(csv|tsv|xlsx?)", ("SITE_ID", "DX_GROUP")
READ = {"missing": ("-9999",), "normalise": strip_zeros, "is_newest_only": False}
ARCHIVES = r"(?P<subject>00\d{5})/session_(?P<session>\d+)/anat_(?P<repeat>\d+)/mprage\.nii(\.gz)?"
BIDS = r"sub-(?P<subject>00\d{5})/anat/sub-\d{7}(_run-(?P<repeat>\d+))?_T1w\.nii(\.gz)?"
NITRC = nitrc.image_path(r"[^/]+_(?P<subject>\d{5,7})", r"anat(_(?P<repeat>\d+))?", "mprage")

COHORT = Cohort(
    title="ABIDE-I",
    source="https://fcon_1000.projects.nitrc.org/indi/abide/abide_I.html (S3, NITRC archives or BIDS)",
    licence="CC BY-NC-SA 3.0",
    citation="Di Martino et al. 2014, Molecular Psychiatry 19 (6)",
    n_volumes=984,
    n_people=947,
    patterns=(
        Pattern(ARCHIVES, "T1", is_defaced=True),
        # These two name no session, since there is but one.
        *(Pattern(path, "T1", is_defaced=True, facts={"session": "1"}) for path in (BIDS, NITRC)),
        Pattern(r"[^/]+_\d{5,7}/anat\.tar\.gz", reason="an archive: unpack it where it lies"),
        Pattern(r"rest(_\d+)?/(.*/)?rest\.nii(\.gz)?", reason="functional"),
    ),
    prefer=(Preference("a repeat", lambda facts, options: int(facts["repeat"] or 1)),),
    name_subject=nitrc.pad_id(7),
    person=lambda subject: f"abide/{int(subject)}",  # some are in ABIDE-II under the same number
    tables=(
        Table("phenotype", PHENOTYPE, {"SUB_ID": "subject"}, NEEDS, **READ),
        Table("participants", r"participants\.tsv", {"participant_id": "subject"}, **READ),
    ),
    fields={
        "age_years": (
            Cell("phenotype", "AGE_AT_MPRAGE"),
            Cell("phenotype", "AGE_AT_SCAN"),
            Cell("participants", "AGE_AT_SCAN"),
        ),
        "sex": (Cell("phenotype", "SEX", SEX), Cell("participants", "SEX", SEX)),
        "handedness": (Cell("phenotype", "HANDEDNESS_CATEGORY", HAND),),
        "dx": (Cell("phenotype", "DX_GROUP", DX), Cell("participants", "DX_GROUP", DX)),
        "dx_detail": (Cell("phenotype", "DSM_IV_TR", DSM_IV),),
        "site": (Cell("phenotype", "SITE_ID"),),  # the folders are parts of archives
        "vendor": (Cell("phenotype", "SITE_ID", VENDORS),),
        "field_strength_t": (Fixed("3", "site table"),),
    },
    options={"all_repeats": Option(False, "keep every T1 of a session, with a run number")},
    layouts="KKI_50901/anat/NIfTI/mprage.nii.gz",
    miniature=Miniature(
        files="""
abide1/Caltech/0059901/session_1/anat_1/mprage.nii.gz
abide1/NYU_b/0059902/session_1/anat_1/mprage.nii.gz
abide1/NYU_b/0059902/session_1/anat_2/mprage.nii.gz
abide1/NYU_b/0059902/session_1/rest_1/rest.nii.gz
abide1/UCLA_1/0059903/session_1/anat_1/mprage.nii.gz
abide1/UCLA_1/0059904/session_1/rest_1/rest.nii.gz
abide1/MaxMun_c/0059905/session_1/anat_1/mprage.nii.gz
abide1_bids/KKI/sub-0059906/anat/sub-0059906_T1w.nii.gz
abide1/Pitt/0059907/session_1/anat_1/mprage.nii.gz
""",
        tables={
            "Phenotypic_V1_0b.csv": """\
SITE_ID,SUB_ID,DX_GROUP,DSM_IV_TR,AGE_AT_SCAN,SEX,HANDEDNESS_CATEGORY,HANDEDNESS_SCORES,FIQ,AGE_AT_MPRAGE
CALTECH,59901,1,4,27.4,1,R,-9999,118,
NYU,59902,2,0,11.32,2,,88,104,
UCLA_1,59903,1,1,10.1,1,L,,99,10.6
UCLA_1,59904,2,-9999,12.5,1,R,,110,
MAX_MUN,59905,2,0,33,1,Ambi,,107,
KKI,59906,1,2,9.88,2,L->R,,102,
PITT,59907,1,1,11.5,1,R,,110,-9999
"""
        },
    ),
)
