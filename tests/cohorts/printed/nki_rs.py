"""What NKI-RS's specification prints."""

import re

from ..fences import list_notes, take_fences
from ..fixtures import Expected, Fixture

CHAPTER = ("part_b.md", 1)
CODE = ("nki_rs/participants.tsv", "sex", r"(?<=67\.0)\tMALE\t")
HANDFUL = [
    Expected("A00099901", "FLU1", "T1", "ses-FLU1", {"age_years": "32.45", "sex": "F", "handedness": "R"}),
    Expected(
        "A00099902",
        "BAS2",
        "T1",
        "ses-BAS2",
        {"age_years": "67.0", "sex": "M", "race": "White", "qc_flag": "age_source=participant_level"},
        {"age_years": "participants", "field_strength_t": "sidecar"},
    ),
    Expected(
        "A00099905", "BAS1", "T1", "A00099905", {"age_years": "", "dx": "HC", "qc_flag": "no_phenotype"}
    ),
]


def read_fences(section: str):
    """Its three tables are distinguished by the words above them."""
    names = re.findall(r"`(participants\.tsv)`, S3|comma in (aws_links\.csv)|^(COINS) form", section, re.M)
    assert [name for group in names for name in group if name] == [
        "participants.tsv",
        "aws_links.csv",
        "COINS",
    ]
    tables = ("participants.tsv", "aws_links.csv", "8100_Demos_20180806.csv")
    return take_fences(section, *(f"nki_rs/{name}" for name in tables))


def read(section: str) -> list[Expected]:
    """The T1 in the order of the tree, with the ages that are listed in that order."""
    line = re.search(r"^Expected: .*; ages (.*); all (\w+)\.", section, re.MULTILINE)
    scans = [(path, note) for path, note in list_notes(section) if path.endswith("_T1w.nii.gz")]
    volumes = []
    for (path, note), text in zip(scans, line.group(1).split(", "), strict=True):
        subject, session = re.search(r"sub-(\w+)/ses-(\w+)/", path).groups()
        age, level = re.fullmatch(r"([\d.]+|NA)(?:\((\w+) level\))?", text).groups()
        values = {"age_years": "" if age == "NA" else age, "dx": line.group(2)}
        values |= {"qc_flag": "no_phenotype"} if "absent from every table" in note else {}
        values |= {"qc_flag": f"age_source={level}_level"} if level else {}
        source = {"age_years": level} if level else {}
        volumes.append(Expected(subject, session, "T1", path.rsplit("/", 1)[1], values, source))
    return volumes


def arrange(fixture: Fixture) -> Fixture:
    """A T2 stays out by an option."""
    fixture.out |= {file.path: "the option" for file in fixture.files if "not become a T1" in file.note}
    assert len(fixture.out) == 1
    return fixture
