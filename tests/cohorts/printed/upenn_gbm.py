"""What UPENN-GBM's specification prints: a count, and by its notes which paths stay out."""

import csv
from dataclasses import replace

from ..fixtures import Expected, Fixture, read_chapter

CHAPTER = ("part_a.md", 3)
CODE = ("UPENN-GBM_clinical_info_v2.1.csv", "Gender", r"(?<=90001_11),F,")
HANDFUL = [
    Expected("UPENN-GBM-90001", "11", "T1c", "_T1GD.nii", {"age_years": "61.34", "sex": "F", "dx": "GBM"}),
    Expected("UPENN-GBM-90001", "11", "T2", "_T2.nii", {"idh1": "wildtype", "mgmt": "methylated"}),
    Expected("UPENN-GBM-90002", "11", "T1", "_11_T1.nii", {"sex": "M", "idh1": "", "mgmt": "", "vendor": ""}),
]
WORDS = {"Wildtype": "wildtype", "Mutated": "mutant", "Methylated": "methylated"}


def read(prose: str) -> list[Expected]:
    """None: only their number is printed."""
    return []


def arrange(fixture: Fixture) -> Fixture:
    """Each path without a note is a volume; the baseline's row of the printed table has its values."""
    clinical, acquisition = fixture.tables
    rows = {row["ID"]: row for row in csv.DictReader(fixture.tables[clinical].splitlines())}
    scanners = {row["ID"]: row for row in csv.DictReader(fixture.tables[acquisition].splitlines())}
    assert "`T1GD` → `T1c`" in read_chapter("upenn_gbm")
    volumes = []
    for file in fixture.files:
        if file.note:
            continue
        name, series = file.path.rpartition("/")[2].removesuffix(".nii.gz").rsplit("_", 1)
        row, scanner = rows[name], scanners.get(name, {})
        values = {
            "age_years": row["Age_at_scan_years"],
            "sex": row["Gender"],
            "dx": "GBM",
            "grade": "4",
            "idh1": WORDS.get(row["IDH1"], ""),
            "mgmt": WORDS.get(row["MGMT"], ""),
            "vendor": scanner.get("Manufacturer", "").capitalize(),
            "field_strength_t": scanner.get("Magnetic Field Strength", ""),
            "raw_space": "sri24",
        }
        subject, session = name.split("_")
        modality = series.replace("T1GD", "T1c")
        volumes.append(Expected(subject, session, modality, f"/{name}_{series}.", values))
    return replace(fixture, volumes=volumes)
