"""What FCON1000's specification prints."""

import re
from dataclasses import replace

from ..fixtures import Expected, Fixture, RawFile, read_paths

CHAPTER = ("part_b.md", 7)
CODE = ("fcon1000/Cambridge_Buckner_handedness.txt", "hand", r"(?<=\t)[LR]")
HANDFUL = [
    Expected("AnnArbor_a_sub90001", "1", "T1", "anonymized", {"age_years": "21.29", "sex": "M"}),
    Expected("Oulu_sub90001", "1", "T1", "anonymized", {"age_years": "22", "sex": "F", "dx": "HC"}),
    Expected("NewYork_a_ADHD_sub90003", "1", "T1", "anonymized", {"age_years": "37.53", "dx": "ADHD"}),
]


def read_fences(section: str) -> tuple[list[RawFile], dict[str, str], str]:
    """The paths, and a table for each line `file: cells`; one of them is of a site without a path."""
    pieces = re.split(r"^```\n(.*?)^```\n?", section, flags=re.MULTILINE | re.DOTALL)
    files = read_paths(pieces[1])
    paths = [file.path for file in files if file.path.endswith(".txt")]
    tables = {}
    for label, line in re.findall(r"^([^:\n]+): +(\S.*)$", pieces[3], re.MULTILINE):
        ends = ("_handedness.txt",) if label == "handedness" else (f"/{label}_demographics.txt",)
        site = label.split("-")[0]
        path = next((path for path in paths if path.endswith(ends)), f"fcon1000/{site}_demographics.txt")
        tables[path] = f"{line}\n"
    assert set(paths) <= set(tables)
    return [file for file in files if file.path not in tables], tables, "\n".join(pieces[::2])


def read(prose: str) -> list[Expected]:
    """Nothing: the text tells what the paths and tables do not."""
    return []


def arrange(fixture: Fixture) -> Fixture:
    """A volume for each person's folder with the cells of its line, and what the text says of two."""
    stripped = re.search(r"(\d{5}) state skull_stripped", fixture.prose).group(1)
    bare = re.search(r"(\w+) row without age", fixture.prose).group(1)
    notes = {file.path: file.note for file in fixture.files}
    twins = {path: note for path, note in notes.items() if "twin" in note}
    volumes = []
    for path in (path for path in notes if path not in twins):
        site, number = path.split("/")[-4:-2]
        values = {"site": site, "dx": "ADHD" if site.endswith("ADHD") else "HC", "age_years": "", "sex": ""}
        for table, line in fixture.tables.items():
            if re.search(rf"/{site}_\w+\.txt$", table) and line.startswith(f"{number}\t"):
                values |= read_cells(line.strip().split("\t")[1:])
        assert bool(values["age_years"]) != site.startswith(bare)
        values["is_stripped"] = "1" if number.endswith(stripped) else "0"
        if not values["age_years"]:
            values["qc_flag"] = "no_phenotype"
        volumes.append(Expected(f"{site}_{number}", "1", "T1", path, values))
    return replace(fixture, volumes=volumes, n_subjects=len(volumes), out=twins)


def read_cells(cells: list[str]) -> dict[str, str]:
    """An index, an age, a sex and a hand; or a hand alone."""
    if len(cells) == 1:
        return {"handedness": cells[0]}
    _, age, sex, *hand = cells
    return {"age_years": age, "sex": sex.upper()} | ({"handedness": hand[0]} if hand else {})
