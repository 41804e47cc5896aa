"""What OASIS-1's specification prints."""

import re

from ..fixtures import Expected, read_values

CHAPTER = ("part_a.md", 5)
CODE = ("oasis_cross-sectional-5708aa0a98d82080.xlsx", "M/F", r",[FM],")
HANDFUL = [
    Expected("OAS1_9002", "MR1", "T1", "_t88_gfc", {"age_years": "83", "sex": "M", "dx": "AD"}),
    Expected("OAS1_9003", "MR2", "T1", "_t88_gfc", {"age_years": "26", "sex": "F", "dx": "HC"}),
    Expected("OAS1_9005", "MR1", "T1", "_t88_gfc", {"age_years": "66", "dx": "HC", "mmse": "30"}),
]


def read(prose: str) -> list[Expected]:
    """The volumes of the expected text."""
    volumes = []
    form = r"(\d{4})/(MR\d) (\S+) ([FM]) (\w+)(.*)"
    for subject, session, age, sex, dx, rest in re.findall(form, re.sub(r"; ", "\n", prose)):
        values = {"age_years": age, "sex": sex, "dx": dx} | read_values(rest.rstrip("."))
        image = f"OAS1_{subject}_{session}_mpr"
        volumes.append(Expected(f"OAS1_{subject}", session, "T1", image, values))
    return volumes
