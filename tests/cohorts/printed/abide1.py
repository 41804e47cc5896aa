"""What ABIDE-I's specification prints."""

import re

from ..fixtures import Expected

CHAPTER = ("part_b.md", 5)
CODE = ("Phenotypic_V1_0b.csv", "DX_GROUP", r"(?<=,59\d{3}),[12],")
HANDFUL = [
    Expected("0059903", "1", "T1", "0059903", {"age_years": "10.6", "dx": "ASD", "site": "UCLA_1"}),
    Expected("0059906", "1", "T1", "sub-0059906", {"age_years": "9.88", "sex": "F", "handedness": "A"}),
]


def read(prose: str) -> list[Expected]:
    """The volumes of the expected text."""
    volumes = []
    form = r"(\d{7}) ([\d.]+) ([FM]) (\w+) hand (\w+) (\w+)"
    for subject, age, sex, dx, hand, site in re.findall(form, prose.replace("**", "")):
        hand = "" if hand == "NA" else hand
        values = {"age_years": age, "sex": sex, "dx": dx, "handedness": hand, "site": site}
        volumes.append(Expected(subject, "1", "T1", subject, values))
    return volumes
