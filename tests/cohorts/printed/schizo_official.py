"""What SCHIZO's specification prints of its mode (b), the official downloads."""

from dataclasses import replace

from ..fixtures import Expected, Fixture
from .schizo import CHAPTER, read_mode, take_mode

__all__ = ["CHAPTER", "CODE", "HANDFUL", "KIND", "arrange", "read"]

KIND = "schizo"
CODE = ("participants.tsv", "dx", r"\tSchizophrenia_Strict$")
HANDFUL = [
    Expected("A90000003", "", "T1", "run-01_T1w", {"age_years": "", "site": "COBRE", "qc_flag": "no T2"}),
    Expected("A90000004", "", "T2", "20050101_T2w.nii", {"age_years": "33", "dx": "SCZ", "vendor": ""}),
    Expected("A90000007", "", "T1", "echo-01", {"age_years": "28", "vendor": "Siemens", "qc_flag": "echoes"}),
]


def read(prose: str) -> list[Expected]:
    """`A90000001 T1 (without echo) and T2 28 M SCZ; ...` of the line about this mode."""
    return read_mode(prose, "b", {"T1": "sub-{}_ses-", "T2": "sub-{}_ses-"})


def arrange(fixture: Fixture) -> Fixture:
    """The files and the table of this mode alone; an echo and a second run are noted in its line."""
    fixture = take_mode(fixture, "b", "schizconnect_", "participants.tsv")
    assert "(without echo)" in fixture.prose and "T1 run-01" in fixture.prose  # noqa: PT018
    out = {file.path: "an echo" for file in fixture.files if "_echo-" in file.path}
    out |= {file.path: "a repeat" for file in fixture.files if "_run-02" in file.path}
    return replace(fixture, out=out)
