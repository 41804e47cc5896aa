"""What OASIS-2's specification prints."""

import csv
import re
from dataclasses import replace

from ..fixtures import Expected, Fixture, read_chapter

CHAPTER = ("part_a.md", 6)
CODE = ("oasis_longitudinal_demographics-8d83e569fa2e2d30.xlsx", "Group", r"(?<=MR3),Converted,")
HANDFUL = [
    Expected("OAS2_9001", "MR1", "T1", "mpr-1", {"age_years": "79", "sex": "M", "dx": "HC", "mmse": "28"}),
    Expected("OAS2_9002", "MR3", "T1", "mpr-1", {"age_years": "82", "dx": "MCI", "dx_by_group": "MCI"}),
    Expected("OAS2_9003", "MR1", "T1", "mpr-1", {"education_years": "16", "dx": "AD", "cdr": "1"}),
]
COLUMNS = {
    "age_years": "Age",
    "sex": "M/F",
    "handedness": "Hand",
    "education_years": "EDUC",
    "mmse": "MMSE",
    "cdr": "CDR",
    "dx_detail": "Group",
}


def read(prose: str) -> list[Expected]:
    """`9001/MR1 HC, ...`."""
    found = re.findall(r"(\d{4})/(MR\d) (\w+)", prose)
    return [
        Expected(f"OAS2_{number}", session, "T1", "/mpr-1.nifti.hdr", {"dx": dx})
        for number, session, dx in found
    ]


def arrange(fixture: Fixture) -> Fixture:
    """Values also from the printed rows; runs after the first are the repeats that the chapter tells of."""
    (text,) = fixture.tables.values()
    rows = {row["MRI ID"]: row for row in csv.DictReader(text.splitlines())}
    volumes = []
    for item in fixture.volumes:
        row = rows[f"{item.subject}_{item.session}"]
        values = {column: row[name] for column, name in COLUMNS.items()}
        volumes.append(replace(item, values=values | dict(item.values)))
    first, last, word = re.search(r"Runs (\d)–(\d) are (repeat)s", read_chapter("oasis2")).groups()
    out = {f"/mpr-{number}.nifti": word for number in range(int(first), int(last) + 1)}
    return replace(fixture, volumes=volumes, out=fixture.out | out)
