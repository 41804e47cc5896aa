"""What HBN's specification prints."""

import re

from ..fences import list_notes, take_fences
from ..fixtures import Expected, Fixture

CHAPTER = ("part_b.md", 3)
CODE = ("hbn/Site-RU/participants.tsv", "Sex", r"(?<=2BB2)\t0\t")
HANDFUL = [
    Expected(
        "NDARZZ001AA1",
        "1",
        "T1",
        "Site-RU",
        {"age_years": "9.412", "sex": "F", "handedness": "R", "site": "HBN-RU", "field_strength_t": "3.0"},
    ),
    Expected("NDARZZ003CC3", "1", "T1", "acq-VNavNorm", {"sex": "M", "handedness": "", "dx": "Paediatric"}),
    Expected("NDARZZ005EE5", "1", "T1", "Site-CUNY", {"age_years": "17.201"}, {"age_years": "releases"}),
]


def read_fences(section: str):
    """A table a site, named above its fence, and one of a release."""
    first, pair, release = re.search(
        r"^(Site-\w+):\n.*^(Site-\w+, Site-\w+) \(TAB\):\n.*^`(HBN_\w+\.csv)`:\n", section, re.M | re.S
    ).groups()
    sites = [first, *pair.split(", ")]
    return take_fences(section, *(f"hbn/{site}/participants.tsv" for site in sites), f"hbn/{release}")


def read(section: str) -> list[Expected]:
    """The scans that are named by the end of a child's id and by the site or a part of the file's name."""
    named, sexes, hands = re.search(
        r"^Expected \d+ rows \((.*)\); sex (.*); hand (.*)\.$", section, re.MULTILINE
    ).groups()
    volumes = []
    for text, sex, hand in zip(*(part.split(", ") for part in (named, sexes, hands)), strict=True):
        number, word = text.replace(" from", "").split(" ")
        paths = [path for path, _ in list_notes(section) if re.search(rf"{number}\w+_.*_T1w\.nii", path)]
        (path,) = [path for path in paths if re.search(rf"Site-{word}/|[-_]{word}_", path)]
        values = {"sex": sex, "handedness": "" if hand == "NA" else hand, "dx": "Paediatric"}
        volumes.append(Expected(re.search(r"sub-(\w+)/", path).group(1), "1", "T1", path, values))
    return volumes


def arrange(fixture: Fixture) -> Fixture:
    """The other scans of these children stay out."""
    taken = [volume.image for volume in fixture.volumes]
    scans = [file.path for file in fixture.files if file.path.endswith("_T1w.nii.gz")]
    fixture.out = {path: "ignored" for path in scans if path not in taken}
    return fixture
