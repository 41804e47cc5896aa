"""What ADHD-200's specification prints."""

import re
from dataclasses import replace
from pathlib import Path

from ..fixtures import Expected, Fixture, RawFile, read_chapter, read_paths

CHAPTER = ("part_b.md", 8)
CODE = ("adhd200/NYU/NYU_phenotypic.csv", "DX", r'(?<="0\.65"),"3",')
HANDFUL = [
    Expected("1999001", "1", "T1", "KKI", {"age_years": "9.91", "dx": "ADHD"}, {"dx": "fix"}),
    Expected("0019902", "1", "T1", "/anat_1/", {"dx_detail": "inattentive", "handedness": "R", "sex": "F"}),
    Expected("1999005", "1", "T1", "Peking_1", {"age_years": "10.58", "dx": "ADHD"}, {"dx": "test"}),
]
# How the section calls a table -> what its path holds.
NAMES = {"Fix": "PhenotypicFix", "Peking_1 test": "Peking_1_TestRelease"}


def read_fences(section: str) -> tuple[list[RawFile], dict[str, str], str]:
    """Paths; tables of the fences behind `name:`, and those of one row in the text, under KKI's header."""
    pieces = re.split(r"^```\n(.*?)^```\n?", section, flags=re.MULTILINE | re.DOTALL)
    files, prose = read_paths(pieces[1]), "\n".join(pieces[::2])
    tables = {
        find_path(before.strip().splitlines()[-1].rstrip(":"), files): text
        for before, text in zip(pieces[2::2], pieces[3::2], strict=False)
    }
    header = tables[find_path("KKI", files)].splitlines()[0]
    for name, row in re.findall(r'^(NYU|Brown|WashU|Fix)\b.*: `("\d[^`]*)`$', prose, re.MULTILINE):
        its_header = write_washu_header(header) if name == "WashU" else header
        assert its_header.count(",") == row.count(","), name
        tables[find_path(name, files)] = f"{its_header}\n{row}\n"
    listed = {file.path for file in files if file.path.endswith(".csv")}
    assert listed == set(tables)
    return [file for file in files if file.path not in tables], tables, prose


def find_path(name: str, files: list[RawFile]) -> str:
    """The path of the table that the section calls so."""
    return next(
        file.path
        for file in files
        if file.path.endswith(".csv") and NAMES.get(name, name) in Path(file.path).name
    )


def write_washu_header(header: str) -> str:
    """The standard header with the other id column and the other end, both as the chapter prints them."""
    chapter = read_chapter("adhd200")
    name = re.search(r"WashU: id column `(\w+)`", chapter).group(1)
    end = re.search(r'WashU ends `…,"Med Status",(.*?"QC_S1_Rest_1")…("QC_S1_Rest_6".*?)`', chapter)
    first, last = end.groups()
    middle = ",".join(f'"QC_S1_Rest_{number}"' for number in range(2, 6))
    start = header.partition('"QC_Rest_1"')[0].replace("ScanDir ID", name)
    return f"{start}{first},{middle},{last}"


def read(prose: str) -> list[Expected]:
    """The volumes of the expected text."""
    line = re.search(r"^Expected \d+ rows: (.*)$", prose, re.MULTILINE).group(1).replace("**", "")
    form = r"(\d{7}) (?:dx )?(\w+)(?: \((\w+) wins\))?(?: ([FM])\b)?(?: session (\d))?(?: hand (\w+))?"
    volumes = []
    for subject, dx, winner, sex, session, hand in re.findall(form, line):
        values = {"dx": "" if dx == "NA" else dx}
        values |= {"sex": sex} if sex else {}
        values |= {"handedness": "" if hand == "NA" else hand} if hand else {}
        sources = {"dx": winner} if winner else {}
        volumes.append(Expected(subject, session or "1", "T1", subject, values, sources))
    return volumes


def arrange(fixture: Fixture) -> Fixture:
    """One of the tables has the old Mac's line ends; the path that is a repeat stays out."""
    washu = next(path for path in fixture.tables if "WashU" in path)
    tables = fixture.tables | {washu: fixture.tables[washu].replace("\n", "\r")}
    repeats = {file.path: file.note for file in fixture.files if file.note == "repeat"}
    return replace(fixture, tables=tables, out=repeats)
