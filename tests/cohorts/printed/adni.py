"""What ADNI's specification prints."""

import re

from ..fixtures import COLUMNS, WORDS, Expected, read_rows, read_values

CHAPTER = ("part_a.md", 1)
CODE = ("PTDEMOG_01May2026.csv", "PTGENDER", r"(?<=-\d\d),[12],")
HANDFUL = [
    Expected("901_S_0001", "20060302", "T1", "I900001", {"age_years": "74.38", "sex": "F", "dx": "MCI"}),
    Expected("902_S_4002", "20120514", "T1", "I900011", {"age_years": "71.00", "sex": "M", "dx": "HC"}),
    Expected("905_S_0005", "20100105", "T1", "I900030", {"age_years": "", "qc_flag": "no_phenotype"}),
]


def read(prose: str) -> list[Expected]:
    """The rows of the expected table, which is PPMI's form, too."""
    volumes: list[Expected] = []
    other = ""
    for row in read_rows(prose):
        subject, session = row["subject / session"].split(" / ")
        other = other if row[list(row)[-1]] == "same" else row[list(row)[-1]]
        age, age_from = re.match(r"(\S+)(?: \((\w+)\))?", row["age"]).groups()
        dx, dx_from, lag = re.match(r"(\w+)(?: \((\w+)(?:, ([+-]\d+) d)?)?", row["dx"]).groups()
        values = {"age_years": age, "sex": row["sex"], "dx": dx} | read_values(other)
        sources = {"age_years": age_from, "dx": dx_from if dx != "NA" else None}
        sources |= {COLUMNS[name]: "xml" for name in re.findall(rf"({WORDS}) \S+ \(XML", other)}
        volumes.append(
            Expected(
                subject,
                session,
                row.get("modality", "T1"),
                re.match(r"\w+", row["image"]).group(),
                {name: "" if text == "NA" else text for name, text in values.items()},
                {name: text.lower() for name, text in sources.items() if text},
                float(lag) if lag else None,
            )
        )
    return volumes
