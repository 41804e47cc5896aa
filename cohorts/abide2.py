"""ABIDE-II: T1 of people with autism and controls from 19 sites, and follow-ups of people in ABIDE-I."""

from braing3n.cohort import Cell, Cohort, Fact, Found, Miniature, Option, Pattern, Preference, Table, nitrc
from braing3n.cohort.sources import from_field

DX = {"1": "ASD", "2": "HC", "autism": "ASD", "control": "HC"}
SEX = {"1": "M", "2": "F", "male": "M", "female": "F"}
HAND = {"1": "R", "2": "L", "3": "A"}  # numbers, unlike ABIDE-I's letters
SITES = {
    "Siemens": "GU_1 IU_1 NYU_1 NYU_2 OHSU_1 ONRC_2 UCD_1 UCLA_1 UCLA_Long UPSM_Long USM_1",
    "Philips": "BNI_1 ETH_1 IP_1 KKI_1 KUL_3 TCD_1",
    "GE": "EMC_1 SDSU_1",
}
VENDORS = {f"ABIDEII-{site}": vendor for vendor, sites in SITES.items() for site in sites.split()}
TABLES = ("long", "composite", "participants")
REMEMBERED_VENDORS = {"ABIDEII-SU_2": "GE", "ABIDEII-U_MIA_1": "GE"}
REMEMBERED_FIELDS_T = dict.fromkeys(("ABIDEII-ETH_1", *REMEMBERED_VENDORS), "3")
FIELD_STRENGTHS_T = dict.fromkeys(VENDORS, "3") | {"ABIDEII-IP_1": "1.5"}
del FIELD_STRENGTHS_T["ABIDEII-ETH_1"]  # the cell of the scanner table is blank
ALIASES = {"ABIDEII-OILH_2": "ABIDEII-ONRC_2"}  # the tables' name -> the archives'


def normalise(text):
    """`sub-39901` and `39901.0` are 39901; `Followup_1` is session 2."""
    return nitrc.count_session(text.strip().removeprefix("sub-").removesuffix(".0").lower())


def classify(facts, options):
    """T1, of high resolution or not."""
    is_wanted = options["include_hires"] or not is_hires(facts)
    return "T1" if is_wanted else "-the option 'include_hires' is off"


def is_hires(facts):
    """Whether a scan is the T1 of high resolution that some sites made beside the ordinary one."""
    return bool(facts.get("hires")) or facts.get("acquisition", "").lower() == "hires"


def from_memory(codes):
    """A source for what no table says of a site: on while the option is."""

    def remember(visit):
        value = codes.get(visit.ask("site"), "") if visit.options["has_remembered_scanners"] else ""
        return Found(value, "option:has_remembered_scanners") if value else None

    return remember


def read_site(table):
    """A source of the site: a table's name of it, where that is one of ABIDE-II's."""
    return lambda visit: (
        Found(ALIASES.get(found.value, found.value), found.source)
        if (found := visit.find(table, "SITE_ID")) and found.value.startswith("ABIDEII-")
        else None
    )


def from_tables(column, codes=None):
    """Sources: the row of the session, then the person's, then the BIDS release's table."""
    return tuple(Cell(table, column, codes) for table in TABLES)


READ = {"normalise": normalise, "is_newest_only": False}
SITE = r"(?P<site>ABIDEII-[A-Z_]+_(\d|Long))[^/]*"  # an archive's part may follow
# The label's name of the site lacks the number that the tables have.
NITRC = nitrc.image_path(
    r"(?P<city>[A-Za-z_]+)_(?P<subject>\d{5})_(?P<session>\d|baseline|followup_1)",
    r"anat(?P<hires>_hires)?_(?P<repeat>\d+)",
    r"anat(_hires)?",
)
IMAGE = r"anat(?P<hires>_hires)?_(?P<repeat>\d+)/anat(_hires)?\.nii(\.gz)?"
BIDS = r"anat/sub-\d+_ses-\d+(_acq-(?P<acquisition>[a-z0-9]+))?(_run-(?P<repeat>\d+))?_T1w\.nii(\.gz)?"

COHORT = Cohort(
    title="ABIDE-II",
    source="https://fcon_1000.projects.nitrc.org/indi/abide/abide_II.html (S3, NITRC archives or BIDS)",
    licence="CC BY-NC-SA 3.0",
    citation="Di Martino et al. 2017, Scientific Data 4, 170010",
    n_volumes=1430,
    n_people=1082,
    patterns=(
        # The one session of this person has the wrong number.
        Pattern(
            rf"{SITE}/(?P<subject>28682)/(?P<label>session_2)/{IMAGE}",
            is_defaced=True,
            facts={"session": "1"},
        ),
        Pattern(rf"{SITE}/(?P<subject>\d{{5}})/(?P<label>session_(?P<session>\d+))/{IMAGE}", is_defaced=True),
        Pattern(
            rf"{SITE}/(?P<subject>\d{{5}})/(?P<label>(?P<session>baseline|followup_1))/{IMAGE}",
            is_defaced=True,
        ),
        Pattern(NITRC, is_defaced=True),
        Pattern(rf"{SITE}/sub-(?P<subject>\d{{5}})/ses-(?P<session>\d+)/{BIDS}", is_defaced=True),
        Pattern(r"flair_\d+/(.*/)?[^/]*\.nii(\.gz)?", reason="FLAIR; only T1 is taken"),
        Pattern(r"rest_\d+/(.*/)?rest\.nii(\.gz)?", reason="functional"),
    ),
    classify=classify,
    prefer=(
        Preference("of high resolution", lambda facts, options: is_hires(facts)),
        Preference("a repeat", lambda facts, options: int(facts["repeat"] or 1)),
    ),
    name_session=nitrc.count_session,
    person=lambda subject: f"abide/{int(subject)}",  # the follow-ups' people are in ABIDE-I
    tables=(
        # Its baseline rows have ABIDE-I's site names, so that the session joins and not the site.
        Table(
            "long",
            r"ABIDEII(_Long_Composite_Phenotypic|-[A-Z]+_Long)\.csv",
            {"SUB_ID": "subject", "SESSION": "session"},
            **READ,
        ),
        Table("composite", r"ABIDEII(_Composite_Phenotypic|-[A-Z_]+_\d)\.csv", {"SUB_ID": "subject"}, **READ),
        # The official BIDS release has the name misspelt.
        Table("participants", r"partic(ip|pi)ants\.tsv", {"participant_id": "subject"}, **READ),
    ),
    fields={
        "age_years": from_tables("AGE_AT_SCAN"),
        "sex": from_tables("SEX", SEX),
        "handedness": from_tables("HANDEDNESS_CATEGORY", HAND)[:2],
        "dx": from_tables("DX_GROUP", DX),
        "event": (Fact("label"),),
        "site": (Fact("site", ALIASES), Fact("site"), *map(read_site, TABLES), Fact("city")),
        "vendor": (from_field("site", VENDORS, "site table"), from_memory(REMEMBERED_VENDORS)),
        "field_strength_t": (
            from_field("site", FIELD_STRENGTHS_T, "site table"),
            from_memory(REMEMBERED_FIELDS_T),
        ),
    },
    options={
        "all_repeats": Option(True, "keep every T1 of a session, with a run number"),
        "include_hires": Option(True, "take the T1 of high resolution, too"),
        "has_remembered_scanners": Option(True, "ETH_1, SU_2 and U_MIA_1 have 3 T, the last two from GE"),
    },
    layouts="GU_28901_1/anat_1/NIfTI-1/anat.nii.gz UPSM_59907_baseline/anat_1/NIfTI-1/anat.nii.gz",
    miniature=Miniature(
        files="""
ABIDEII-BNI_1/39901/session_1/anat_1/anat.nii.gz
ABIDEII-BNI_1/39901/session_1/rest_1/rest.nii.gz
ABIDEII-KKI_1/39902/session_1/anat_1/anat.nii.gz
ABIDEII-KKI_1/39902/session_1/anat_2/anat.nii.gz
ABIDEII-UCLA_1/39903/session_1/anat_hires_1/anat_hires.nii.gz
ABIDEII-IP_1/39904/session_1/anat_1/anat.nii.gz
ABIDEII-UPSM_Long/59907/baseline/anat_1/anat.nii.gz
ABIDEII-UPSM_Long/59907/followup_1/anat_1/anat.nii.gz
""",
        tables={
            "ABIDEII_Composite_Phenotypic.csv": """\
SITE_ID,SUB_ID,DX_GROUP,AGE_AT_SCAN ,SEX,HANDEDNESS_CATEGORY,NONASD_PSYDX_LABEL,AGE_AT_MPRAGE
ABIDEII-BNI_1,39901,1,48,1,1,,
ABIDEII-KKI_1,39902,2,10.63,2,1.0,,
ABIDEII-UCLA_1,39903,1,13.2,1,2,Trouble déficitaire,
ABIDEII-IP_1,39904,2,22.9,2,3,,
""",
            "ABIDEII_Long_Composite_Phenotypic.csv": """\
SITE_ID,SUB_ID,SESSION,DX_GROUP,AGE_AT_SCAN ,SEX,HANDEDNESS_CATEGORY
ABIDEI-PITT,59907,Baseline,1,11.5,1,1
ABIDEII-UPSM_Long,59907,Followup_1,1,14.1,1,1
""",
        },
    ),
)
