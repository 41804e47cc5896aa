"""What SCHIZO's specification prints of its mode (a), the stripped copies."""

import re
from dataclasses import replace

from ..fixtures import Expected, Fixture

CHAPTER = ("part_a.md", 7)
CODE = ("SCHIZO_metadata.tsv", "sex", r"(?<=28)\tmale\t")
HANDFUL = [
    Expected("A90000001", "", "T2", "A90000001/T2", {"age_years": "28", "sex": "M", "dx": "SCZ"}),
    Expected("A90000002", "", "T1", "A90000002/T1", {"dx": "HC", "site": "COBRE", "qc_flag": "no T2"}),
]
FLAGS = {"missing T2": "no T2", "no_phenotype": "no_phenotype"}


def read(prose: str) -> list[Expected]:
    """`A90000001 T1 and T2 28 M SCZ; ...` of the line about this mode."""
    return read_mode(prose, "a", {"T1": "/T1.nii.gz", "T2": "/T2.nii.gz"})


def arrange(fixture: Fixture) -> Fixture:
    """The files and the table of this mode alone."""
    return take_mode(fixture, "a", "SCHIZO/", "SCHIZO_metadata.tsv")


def find_mode(prose: str, mode: str) -> tuple[str, int, int, str]:
    """The table of a mode, its number of volumes and of subjects, and what is said of each."""
    form = rf"mode \({mode}\), with (\S+): (\d+) volumes, (\d+) subjects: (.*)"
    table, n_volumes, n_subjects, text = re.search(form, prose).groups()
    return table, int(n_volumes), int(n_subjects), text


def read_mode(prose: str, mode: str, images: dict[str, str]) -> list[Expected]:
    """The volumes of one mode; `images` are parts of their paths."""
    volumes = []
    for clause in find_mode(prose, mode)[3].split("; "):
        match = re.match(r"(A\d+) (T1)(?: \([^)]*\)| run-01)?,?( and T2)?,? ?(.*)", clause)
        if match is None:
            continue
        subject, _, has_t2, rest = match.groups()
        flags = [flag for word, flag in FLAGS.items() if word in rest]
        person = re.match(r"(\d+) ([FM]) (\w+)", rest)
        age, sex, dx = person.groups() if person else ("", "", "")
        values = {"age_years": age, "sex": sex, "dx": dx, "qc_flag": "; ".join(flags)}
        for name in ("T1", "T2") if has_t2 else ("T1",):
            volumes.append(Expected(subject, "", name, images[name].format(subject), values))
    return volumes


def take_mode(fixture: Fixture, mode: str, folder: str, table: str) -> Fixture:
    """The fixture of one mode."""
    name, n_volumes, n_subjects, _ = find_mode(fixture.prose, mode)
    assert name == table
    files = [file for file in fixture.files if file.path.startswith(folder)]
    tables = {table: fixture.tables[table]}
    return replace(fixture, files=files, tables=tables, n_volumes=n_volumes, n_subjects=n_subjects)
