"""What NKI-RS 2's specification prints."""

import re

from ..fences import list_notes, take_fences
from ..fixtures import Expected, Fixture, read_fixture

CHAPTER = ("part_b.md", 2)
CODE = ("nki_rs_participants.tsv", "sex", r"(?<=31\.0)\tFEMALE\t")
FLAG = "age_years: only that of an NKI-RS scan is known"
HANDFUL = [
    Expected(
        "A00099901",
        "",
        "T1",
        "ses-MRI1_T1w",
        {"sex": "F", "handedness": "R", "age_years": "", "event": "MRI1", "field_strength_t": "3"},
        {"sex": "nki_rs", "field_strength_t": "sidecar"},
    ),
    Expected("A00099951", "", "T1", "_run-1_", {"sex": "", "dx": "HC", "site": "NKI", "qc_flag": ""}),
    Expected("M10999001", "", "T1", "MRI1_T1w", {"age_years": "44.25", "sex": "M"}, {"sex": "sessions"}),
]


def read_fences(section: str):
    """Its one table is of ids."""
    return take_fences(section, "nki_rs2/participants.tsv")


def read(section: str) -> list[Expected]:
    """The T1 of the tree that are not dropped; what is said of the first."""
    scans = [path for path, note in list_notes(section) if "_T1w.nii" in path and "drop" not in note]
    n_rows, sex, hand, flag = re.search(
        r"^Expected (\d+) rows; first has sex (\w), handedness (\w), age NA \((flag)\)", section, re.M
    ).groups()
    assert len(scans) == int(n_rows)
    assert flag
    labels = {"sex": sex, "handedness": hand, "age_years": "", "qc_flag": FLAG}
    return [
        Expected(re.search(r"sub-(\w+)/", path).group(1), "", "T1", path, labels if path == scans[0] else {})
        for path in scans
    ]


def arrange(fixture: Fixture) -> Fixture:
    """The first is described by the table of the other cohort's fixture; the repeat stays out."""
    fixture.tables["nki_rs_participants.tsv"] = read_fixture("nki_rs").tables["nki_rs/participants.tsv"]
    fixture.out |= {file.path: file.note.split(":")[0] for file in fixture.files if "drop" in file.note}
    assert len(fixture.out) == 1
    return fixture
