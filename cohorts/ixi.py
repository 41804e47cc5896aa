"""IXI: T1 and T2 of healthy people from three London hospitals, with one old Excel sheet of labels."""

from braing3n.cohort import Cell, Cohort, Fact, Fixed, Found, Miniature, Pattern, Table
from braing3n.cohort.dates import parse_date, years_between

VENDORS = {"Guys": "Philips", "HH": "Philips", "IOP": "GE"}  # Gyroscan Intera, Intera, GE
FIELD_STRENGTHS_T = {"Guys": "1.5", "HH": "3", "IOP": "1.5"}
SEX = {"1": "M", "2": "F"}
# As the workbook's own sheet has it: 4 Black or Black British, 5 Chinese; there is no 2.
RACE = {"1": "White", "3": "Asian", "4": "Black", "5": "Asian", "6": "Other"}
EDUCATION = {"1": "none", "2": "O-level or GCSE", "3": "A-level", "4": "further education", "5": "university"}
NAME = r"(?P<subject>IXI(?P<number>\d{3}))-(?P<site>Guys|HH|IOP)-(?P<scan>\d{4})"
KEY = {"IXI_ID": "number"}
AGE_TOLERANCE_YEARS = 0.1


def strip_zeros(text):
    """`009` of a file's name is 9 in the sheet."""
    return text.strip().removesuffix(".0").lstrip("0")


def read_age(visit):
    """AGE where all rows of the person agree; two ages are none."""
    found, rows = visit.find("people", "AGE"), [row for row in visit.rows("people") if row.get("age")]
    ages = sorted({row["age"] for row in rows})
    if len(ages) > 1:
        visit.flag(f"age_years: rows of one person say {' and '.join(ages)}")
        return Found("", "people:AGE")
    if found:
        born, scanned = (parse_date(rows[0].get(name, "")) for name in ("dob", "study_date"))
        if born and scanned and abs(years_between(born, scanned) - float(found.value)) > AGE_TOLERANCE_YEARS:
            visit.flag("age_years: AGE is not STUDY_DATE - DOB")
    return found


def read_sex(visit):
    """SEX_ID where all rows of the person agree; two sexes are none."""
    columns = ("SEX_ID (1=m, 2=f)", "SEX_ID")
    codes = sorted({row.get(name.lower(), "") for row in visit.rows("people") for name in columns} - {""})
    if len(codes) > 1:
        visit.flag(f"sex: rows of one person say {' and '.join(codes)}")
        return Found("", "people:SEX_ID")
    return next(filter(None, (Cell("people", name, SEX)(visit) for name in columns)), None)


def read_scan_date(visit):
    """STUDY_DATE as an ISO date."""
    found = visit.find("people", "STUDY_DATE")
    day = parse_date(found.value) if found else None
    return Found(day.isoformat(), found.source) if day else None


COHORT = Cohort(
    title="IXI",
    source="https://brain-development.org/ixi-dataset: IXI-T1.tar, IXI-T2.tar and IXI.xls",
    licence="CC BY-SA 3.0",
    citation="brain-development.org, IXI dataset (EPSRC GR/S21533/02)",
    n_volumes=1159,
    n_people=582,
    patterns=(
        Pattern(NAME + r"-(?P<modality>T1|T2)\.nii(\.gz)?"),
        Pattern(NAME + r"-(PD|MRA|DTI(-\d\d)?)\.nii(\.gz)?", reason="neither T1 nor T2"),
    ),
    tables=(
        # Of two rows of a person the one with images (DATE_AVAILABLE 1) is asked first.
        Table(
            "people", r"IXI\.(xlsx?|csv)", KEY, sheet="Table", order="-DATE_AVAILABLE", normalise=strip_zeros
        ),
    ),
    fields={
        "scan_date": (read_scan_date,),
        "age_years": (read_age,),
        "sex": (read_sex,),
        "race": (Cell("people", "ETHNIC_ID", RACE, missing=("0",)),),
        "education_code": (Cell("people", "QUALIFICATION_ID", EDUCATION, missing=("0",)),),
        "dx": (Fixed("HC"),),
        "site": (Fact("site"),),
        "vendor": (Fact("site", VENDORS, "site table"),),
        "field_strength_t": (Fact("site", FIELD_STRENGTHS_T, "site table"),),
    },
    miniature=Miniature(
        files="""
IXI-T1/IXI900-Guys-0901-T1.nii.gz
IXI-T2/IXI900-Guys-0901-T2.nii.gz
IXI-T1/IXI009-HH-1902-T1.nii.gz
IXI-T2/IXI009-HH-1902-T2.nii.gz
IXI-T1/IXI902-IOP-0903-T1.nii.gz
IXI-T2/IXI903-IOP-1904-T2.nii.gz  3 mm
IXI-T1/IXI904-Guys-0905-T1.nii.gz
IXI-PD/IXI900-Guys-0901-PD.nii.gz
""",
        tables={
            "IXI.xls": """\
IXI_ID,"SEX_ID (1=m, 2=f)",ETHNIC_ID,QUALIFICATION_ID,DOB,DATE_AVAILABLE,STUDY_DATE,AGE
900,1,1,5,1961-03-09,1,2005-09-14,44.52
9,2,3,3,1978-01-11,1,2006-02-02,28.06
902,2,0,0,,1,2006-03-03,
903,1,6,4,1950-12-24,1,2006-05-05,55.36
903,1,6,4,1950-12-24,0,,
"""
        },
    ),
)
