"""OASIS-2: one T1 a session of older people seen up to five times, from pairs whose headers do not orient."""

from braing3n.cohort import Cell, Cohort, Fixed, Miniature, Option, Pattern, Preference, Table
from braing3n.cohort.sources import from_option

SEX = {"F": "F", "M": "M"}
HAND = {"R": "R", "L": "L"}
DX_BY_CDR = {"0": "HC", "0.5": "MCI", "1": "AD", "2": "AD", "3": "AD"}
DX_BY_GROUP = {"Nondemented": "HC", "Converted": "MCI", "Demented": "AD"}
GROUPS = {name: name for name in DX_BY_GROUP}  # of the person, not of the visit
DX_RULES = {"cdr": Cell("sessions", "CDR", DX_BY_CDR), "group": Cell("sessions", "Group", DX_BY_GROUP)}

COHORT = Cohort(
    title="OASIS-2",
    source="https://sites.wustl.edu/oasisbrains: OAS2_RAW_PART1 and 2, longitudinal demographics spreadsheet",
    licence="OASIS data use agreement",
    citation="Marcus et al. 2010, Journal of Cognitive Neuroscience 22 (12)",
    n_volumes=373,
    n_people=150,
    patterns=(
        Pattern(
            r"(?P<id>(?P<subject>OAS2_\d{4})_(?P<session>MR\d))/RAW/mpr-(?P<repeat>\d)\.nifti\.(hdr|img)",
            "T1",
            source_format="NIfTI pair",
            axes="ASL",  # the header says identity
        ),
        Pattern(r"OAS2_\d{4}_MR\d/RAW/\d+-\d\.nifti\.(hdr|img)", reason="a stray duplicate of a run"),
    ),
    prefer=(Preference("a repeat", lambda facts, options: int(facts["repeat"])),),
    tables=(Table("sessions", r"oasis_longitudinal.*\.(csv|xlsx?)", {"MRI ID": "id"}),),
    fields={
        "age_years": (Cell("sessions", "Age"),),
        "sex": (Cell("sessions", "M/F", SEX),),
        "handedness": (Cell("sessions", "Hand", HAND),),
        "dx": (lambda visit: DX_RULES[visit.options["dx_rule"]](visit),),
        "dx_by_cdr": (DX_RULES["cdr"],),
        "dx_by_group": (DX_RULES["group"],),
        "dx_detail": (Cell("sessions", "Group", GROUPS),),
        "cdr": (Cell("sessions", "CDR"),),
        "mmse": (Cell("sessions", "MMSE"),),
        "education_years": (Cell("sessions", "EDUC"),),  # years, unlike OASIS-1
        "site": (Fixed("WashU"),),
        "vendor": (from_option("vendor"),),
        "field_strength_t": (from_option("field_strength_t"),),
    },
    options={
        "dx_rule": Option("cdr", "cdr: of the visit, as OASIS-1; group: of the person", ("cdr", "group")),
        "all_repeats": Option(False, "keep every run of a session, with a run number"),
        "vendor": Option("Siemens", "of the one scanner, a Vision (as remembered); empty: unknown"),
        "field_strength_t": Option("1.5", "of the one scanner (as remembered); empty: unknown"),
    },
    miniature=Miniature(
        files="""
OAS2_RAW_PART1/OAS2_9001_MR1/RAW/mpr-{1,2}.nifti.{hdr,img}
OAS2_RAW_PART1/OAS2_9001_MR1/RAW/3906-3.nifti.img
OAS2_RAW_PART1/OAS2_9001_MR2/RAW/mpr-1.nifti.{hdr,img}
OAS2_RAW_PART1/OAS2_RAW_PART1/OAS2_9002_MR1/RAW/mpr-1.nifti.{hdr,img}
OAS2_RAW_PART1/OAS2_9002_MR3/RAW/mpr-1.nifti.{hdr,img}
OAS2_RAW_PART2/OAS2_9003_MR1/RAW/mpr-1.nifti.{hdr,img}
OAS2_RAW_PART2/OAS2_9004_MR1/RAW/mpr-2.nifti.{hdr,img}
""",
        tables={
            "oasis_longitudinal_demographics-8d83e569fa2e2d30.xlsx": """\
Subject ID,MRI ID,Group,Visit,MR Delay,M/F,Hand,Age,EDUC,SES,MMSE,CDR,eTIV,nWBV,ASF
OAS2_9001,OAS2_9001_MR1,Nondemented,1,0,M,R,79,15,2,28,0,1611,0.701,1.090
OAS2_9001,OAS2_9001_MR2,Nondemented,2,611,M,R,81,15,2,29,0,1620,0.694,1.083
OAS2_9002,OAS2_9002_MR1,Converted,1,0,F,R,80,12,,29,0,1420,0.712,1.240
OAS2_9002,OAS2_9002_MR3,Converted,3,900,F,R,82,12,,,0.5,1430,0.700,1.230
OAS2_9003,OAS2_9003_MR1,Demented,1,0,F,R,77,16,3,20,1,1391,0.683,1.262
"""
        },
    ),
)
