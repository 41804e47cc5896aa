"""What UCSF-PDGM's specification prints."""

import re
from dataclasses import replace

from ..fixtures import Expected, Fixture

CHAPTER = ("part_a.md", 4)
CODE = ("UCSF-PDGM-metadata_v5.csv", "IDH", r"(?<=unknown),wildtype,")
HANDFUL = [
    Expected("UCSF-PDGM-9004", "", "T1c", "_T1c_bias", {"age_years": "61", "sex": "M", "dx": "GBM"}),
    Expected("UCSF-PDGM-0904", "", "T2", "_T2_bias", {"age_years": "", "idh": "mutant", "idh1": "wildtype"}),
    Expected("UCSF-PDGM-0905", "", "FLAIR", "-905_FLAIR_bias", {"dx": "GBM", "dx_by_diagnosis": "Glioma"}),
]
MODALITIES = ("T1", "T1c", "T2", "FLAIR")


def read(prose: str) -> list[Expected]:
    """The people between the semicolons, each with four images."""
    volumes = []
    for clause in re.split(r"; ", prose):
        number = re.search(r"(?:^|: )(\d{4}) ", clause)
        if number is None:
            continue
        text = clause[number.end() :]
        values = {"age_years": "" if "age NA" in text else re.search(r"\b\d\d\b", text).group()}
        values |= {"sex": re.search(r"\b[FM]\b", text).group(), "dx": re.search(r"GBM|Glioma", text).group()}
        for column, word in (("grade", "grade"), ("mgmt", "MGMT"), ("idh", "IDH"), ("idh1", "IDH1")):
            found = re.search(rf"\b{word} (\d|\w+ted|wildtype|mutant)\b", text)
            values |= {column: found[1]} if found else {}
        other = re.search(r"\((\w+) by diagnosis", text)
        values |= {"dx_by_diagnosis": other[1]} if other else {}
        for name in MODALITIES:
            volumes.append(Expected(f"UCSF-PDGM-{number[1]}", "", name, f"_{name}_bias", values))
    return volumes


def arrange(fixture: Fixture) -> Fixture:
    """The option of the other copies leaves them out."""
    assert "`_bias` by default" in fixture.prose
    plain = [file.path for file in fixture.files if re.search(r"\d_(T1c?|T2|FLAIR)\.nii", file.path)]
    return replace(fixture, out=fixture.out | dict.fromkeys(plain, "the option"))
