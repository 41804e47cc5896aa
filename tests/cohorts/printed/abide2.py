"""What ABIDE-II's specification prints."""

import csv
import io
import re
from collections import Counter
from dataclasses import replace

from ..fixtures import Expected, Fixture

CHAPTER = ("part_b.md", 6)
CODE = ("ABIDEII_Composite_Phenotypic.csv", "DX_GROUP", r"(?<=,39901,),[12],")
HANDFUL = [
    Expected("39902", "1", "T1", "/anat_2/", {"age_years": "10.63", "sex": "F", "dx": "HC"}, run="2"),
    Expected("39904", "1", "T1", "39904", {"field_strength_t": "1.5", "handedness": "A"}),
    Expected("59907", "2", "T1", "followup_1", {"age_years": "14.1", "dx": "ASD", "event": "followup_1"}),
]
SESSIONS = {"session_1": "1", "baseline": "1", "followup_1": "2"}
CODES = {
    "sex": ("SEX", {"1": "M", "2": "F"}),
    "dx": ("DX_GROUP", {"1": "ASD", "2": "HC"}),
    "handedness": ("HANDEDNESS_CATEGORY", {"1": "R", "1.0": "R", "2": "L", "3": "A"}),
}


def read(prose: str) -> list[Expected]:
    """Nothing: the text says how many rows there are of whom, the paths say which."""
    return []


def read_ages(prose: str) -> dict[str, list[str]]:
    """Subject -> the ages of its rows, where the text counts them; '' where it does not give them."""
    found = re.findall(r"(?<![.\d])(\d) for (\d{5})(?: with ages ([\d., ]*\d))?", prose)
    return {subject: ages.split(", ") if ages else [""] * int(n) for n, subject, ages in found}


def arrange(fixture: Fixture) -> Fixture:
    """A volume for each anatomical path, with what the tables' codes mean and the text says."""
    rows = {}
    for text in fixture.tables.values():
        for row in csv.DictReader(io.StringIO(text)):
            rows[row["SUB_ID"], row.get("SESSION", "Session_1")] = row
    form = re.compile(r"(ABIDEII-\w+)/(\d{5})/(\w+)/anat(?:_hires)?_(\d)/")
    found = [match.groups() for file in fixture.files if (match := form.search(file.path))]
    n_rows = Counter((subject, label) for _, subject, label, _ in found)
    field_strength_t, subject_of_it = re.search(r"field ([\d.]+) for (\d{5})", fixture.prose).groups()
    volumes, printed = [], read_ages(fixture.prose)
    for site, subject, label, number in found:
        row = rows[subject, label.capitalize()]
        values = {name: codes[row[column]] for name, (column, codes) in CODES.items()}
        values |= {"site": site, "event": label, "age_years": row["AGE_AT_SCAN "]}
        if any(printed.get(subject, [])):
            values["age_years"] = printed[subject][list(SESSIONS).index(label) - 1]
        if subject == subject_of_it:
            values["field_strength_t"] = field_strength_t
        run = number if n_rows[subject, label] > 1 else ""
        volumes.append(
            Expected(subject, SESSIONS[label], "T1", f"{site}/{subject}/{label}/anat", values, run=run)
        )
    n_found = Counter(volume.subject for volume in volumes)
    assert {subject: n_found[subject] for subject in printed} == {
        subject: len(ages) for subject, ages in printed.items()
    }
    return replace(fixture, volumes=volumes, n_subjects=len(n_found))
