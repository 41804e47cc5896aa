"""What HCP-YA's specification prints: a count, and a package whose paths are its volumes."""

import csv
import re
from dataclasses import replace

from ..fixtures import Expected, Fixture

CHAPTER = ("part_a.md", 8)
CODE = ("RESTRICTED_user_1_2_2026_3_6_7.csv", "Race", r"(?<=90002),White,")
HANDFUL = [
    Expected("900001", "", "T2", "T2w_acpc", {"age_years": "27", "handedness": "R", "race": "White"}),
    Expected("900002", "", "T1", "T1w_acpc", {"sex": "F", "handedness": "L", "ethnicity": "Hispanic"}),
    Expected("900003", "", "T1", "T1w_acpc", {"race": "", "education_years": "17", "qc_flag": "no T2"}),
]
RACE = {"White": "White", "Black or African Am.": "Black"}
ETHNICITY = {"Not Hispanic/Latino": "Not Hispanic", "Hispanic/Latino": "Hispanic"}


def read(prose: str) -> list[Expected]:
    """None: only their number is printed."""
    return []


def arrange(fixture: Fixture) -> Fixture:
    """Each stripped image is a volume; the printed rows have its values."""
    opened, restricted = (
        {row["Subject"]: row for row in csv.DictReader(text.splitlines())} for text in fixture.tables.values()
    )
    volumes = []
    for file in fixture.files:
        match = re.search(r"/(\d{6})/T1w/((T\d)w_acpc_dc_restore_brain)", file.path)
        if match is None:
            continue
        row = opened[match[1]] | restricted[match[1]]
        values = {
            "age_years": row["Age_in_Yrs"],
            "sex": row["Gender"],
            "handedness": "L" if row["Handedness"].startswith("-") else "R",
            "handedness_score": row["Handedness"],
            "race": RACE.get(row["Race"], ""),
            "ethnicity": ETHNICITY.get(row["Ethnicity"], ""),
            "education_years": row["SSAGA_Educ"],
            "mmse": row["MMSE_Score"],
            "dx": "HC",
        }
        lacking = {"qc_flag": "no T2"} if "no T2" in file.note else {}
        volumes.append(Expected(match[1], "", match[3], match[2], values | lacking))
    other = next(file.path for file in fixture.files if file.note == "the other package").split("/T1w_")[0]
    out = {file.path: "the option" for file in fixture.files if file.path.startswith(other)}
    return replace(fixture, volumes=volumes, out=fixture.out | out)
