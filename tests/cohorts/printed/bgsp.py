"""What BGSP's specification prints."""

import re

from ..fences import list_notes, take_fences
from ..fixtures import Expected, Fixture

CHAPTER = ("part_b.md", 4)
CODE = ("gsp/GSP_list_140630.csv", "Sex", r"(?<=9001_Ses1),F,")
HANDFUL = [
    Expected("Sub9001", "2", "T1", "Ses2", {"age_years": "21.25", "sex": "F", "age_precision": "bin"}),
    Expected("Sub9002", "1", "T1", "Scan_02_ANAT1", {"age_years": "25", "handedness": "L", "race": "Other"}),
    Expected("Sub9004", "1", "T1", "Sub9004", {"age_years": "", "dx": "HC", "qc_flag": "no_phenotype"}),
]


def read_fences(section: str):
    """Its two tables are the two that the tree lists, in that order."""
    return take_fences(section, *(path for path, _ in list_notes(section) if path.endswith(".csv")))


def read(section: str) -> list[Expected]:
    """`9001/2 (21.25)`, `9002/1`, `9004/1 (no phenotype)`."""
    line = re.search(r"^Expected \d+ rows: (.*)\.$", section, re.MULTILINE).group(1)
    volumes = []
    for text in line.split(", "):
        number, session, note = re.fullmatch(r"(\d{4})/(\d)(?: \((.*)\))?", text).groups()
        values = {"dx": "HC"}
        if note == "no phenotype":
            values |= {"age_years": "", "qc_flag": "no_phenotype"}
        elif note:
            values |= {"age_years": note}
        volumes.append(Expected(f"Sub{number}", session, "T1", f"Sub{number}_Ses{session}_Scan", values))
    return volumes


def arrange(fixture: Fixture) -> Fixture:
    """The copy of a first session stays out."""
    copies = [file for file in fixture.files if file.note.startswith("duplicate")]
    assert len(copies) == 1
    fixture.out |= {file.path: "ignored" for file in copies}
    return fixture
