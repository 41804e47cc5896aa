"""What CoRR's specification prints."""

import re
from dataclasses import replace

from ..fixtures import Expected, Fixture

CHAPTER = ("part_b.md", 9)
CODE = ("CoRR_AggregatedPhenotypicData.csv", "SEX", r"(?<=Baseline),[12],")
HANDFUL = [
    Expected("0029901", "1", "T1", "session_1", {"age_years": "21.3", "sex": "F", "handedness": "R"}),
    Expected("0009903", "1", "T1", "BMB_1", {"age_years": "30.5", "sex": "M", "handedness": ""}),
    Expected("0029904", "1", "T1", "MPG_1", {"field_strength_t": "7.0", "dx": "HC"}),
]
NOTES = {"NoPhenotypicData", "not in csv"}  # beside the paths of people of whom nothing is known


def read(prose: str) -> list[Expected]:
    """Nothing: the text tells the sexes in the order of the paths."""
    return []


def arrange(fixture: Fixture) -> Fixture:
    """A volume for each first session, the printed sexes in order; the table has the old Mac's line ends."""
    name, text = next(iter(fixture.tables.items()))
    sexes = re.search(r"sex ((?:\w+, )+\w+);", fixture.prose).group(1).split(", ")
    field_strength_t, subject_of_it = re.search(r"field ([\d.]+) for (\d+)", fixture.prose).groups()
    notes = {file.path: file.note for file in fixture.files}
    images = [path for path in notes if path.endswith("/anat.nii.gz")]
    firsts = [path for path in images if "/session_1/" in path]
    volumes = []
    for path, sex in zip(firsts, sexes, strict=True):
        site, subject = path.split("/")[1:3]
        lines = (line.split(",") for line in text.splitlines())
        row = next((line for line in lines if line[0] == subject.lstrip("0")), [])
        values = {"sex": "" if sex == "NA" else sex, "dx": "HC", "site": row[1] if row else site}
        values["age_years"] = row[4].replace("#", "") if row else ""
        if subject.endswith(subject_of_it):
            values["field_strength_t"] = field_strength_t
        if notes[path] in NOTES:
            values["qc_flag"] = "no_phenotype"
        volumes.append(Expected(subject, "1", "T1", path, values))
    return replace(
        fixture,
        volumes=volumes,
        n_subjects=len(volumes),
        tables={name: text.replace("\n", "\r")},
        out={path: "a later session" for path in images if path not in firsts}
        | {path: note for path, note in notes.items() if note.startswith("component")},
    )
