"""A cohort's fixture as its specification prints it: paths, tables and what must come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPECIFICATIONS = Path(__file__).parents[3] / "shared" / "cohorts"
# Cohort file -> its specification and the number of its chapter.
CHAPTERS = {
    "adni": ("part_a.md", 1),
    "ppmi": ("part_a.md", 2),
    "oasis1": ("part_a.md", 5),
    "ixi": ("part_a.md", 9),
    "abide1": ("part_b.md", 5),
}
TABLE_NAME = re.compile(r"`([^`\s]+?(?:\.(?:csv|tsv|xlsx?|xml)|_…))`")
# What the specifications call a column of the records.
COLUMNS = {
    "MMSE": "mmse",
    "CDR": "cdr",
    "GDS": "gds",
    "APOE": "apoe",
    "edu": "education_years",
    "hand": "handedness",
    "race": "race",
    "qc_flag": "qc_flag",
    "UPDRS-III": "updrs3",
    "MoCA": "moca",
    "visit": "event",
}
WORDS = "|".join(COLUMNS)
# Notes beside a path that say that it stays out.
NOTED = ("not this one", "the option", "ignored")
STOP_WORDS = {"the", "of", "not", "same", "than", "over", "kept", "date", "lower", "a", "and", "mm"}


@dataclass(frozen=True)
class RawFile:
    """A path of a raw tree, how many more slices its series has, and the note beside it."""

    path: str
    n_more: int = 0
    note: str = ""


@dataclass(frozen=True)
class Expected:
    """A volume that must come out; `values` are columns of its record as text, '' for nothing.

    image: a part of the volume's path. sources: column -> a word of its source, where it is told.
    """

    subject: str
    session: str
    modality: str
    image: str
    values: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    lag_days: float | None = None


@dataclass
class Fixture:
    """What one specification prints: a raw tree, the volumes it gives, and what stays out."""

    files: list[RawFile]
    tables: dict[str, str]
    volumes: list[Expected]
    n_volumes: int
    n_subjects: int
    out: dict[str, str]  # a part of the path -> the reason
    prose: str


def read_chapter(kind: str) -> str:
    """The chapter of a cohort's specification."""
    name, number = CHAPTERS[kind]
    text = (SPECIFICATIONS / name).read_text(encoding="utf-8")
    return re.search(rf"^## {number}\. .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL).group()


def read_fixture(kind: str) -> Fixture:
    """Parse the section `Fixture` of a cohort's chapter."""
    chapter = read_chapter(kind)
    section = re.split(r"^### \S+ Fixture\n", chapter, flags=re.MULTILINE)[1]
    section = re.split(r"^(?:---|### .*)$", section, flags=re.MULTILINE)[0]
    files, tables, prose = _read_fences(section, chapter)
    counts = re.search(r"Expected.*?(\d+) (?:volumes|rows)", prose)
    volumes = READERS[kind](prose)
    n_subjects = re.search(r"(\d+) subjects", prose)
    return Fixture(
        files=files,
        tables=tables,
        volumes=volumes,
        n_volumes=int(counts.group(1)),
        n_subjects=int(n_subjects.group(1)) if n_subjects else len({item.subject for item in volumes}),
        out=_read_out(prose)
        | {file.path: file.note for file in files if file.note in NOTED and not file.path.endswith(".img")},
        prose=prose,
    )


def _read_fences(section: str, chapter: str) -> tuple[list[RawFile], dict[str, str], str]:
    """Paths, tables by name, and the text around the fences."""
    pieces = re.split(r"^```(?:\w*)\n(.*?)^```\n?", section, flags=re.MULTILINE | re.DOTALL)
    files: list[RawFile] = []
    tables: dict[str, str] = {}
    for before, content in zip(pieces[::2], pieces[1::2], strict=False):
        head = re.sub(r"\{[^}]*\}", "", content.split("\n", 1)[0])
        if not head.startswith(("#", "<")) and "," not in head:
            files += read_paths(content)
            continue
        names = _complete_names(TABLE_NAME.findall(before.rsplit("Expected", 1)[-1]))
        listed = [Path(file.path).name for file in files if re.search(r"\.(csv|tsv|xlsx?)$", file.path)]
        known = [name for name in TABLE_NAME.findall(chapter) if "…" not in name]
        names = names or [name for name in listed if name not in tables] or known[:1]
        tables |= _read_tables(content, names)
    return [file for file in files if Path(file.path).name not in tables], tables, "\n".join(pieces[::2])


def _complete_names(names: list[str]) -> list[str]:
    """`MMSE_…` after `PTDEMOG_01May2026.csv` has that one's end."""
    ends = [re.sub(r"^[^_]*", "", name) for name in names if "…" not in name]
    return [name.replace("_…", ends[-1]) if "…" in name else name for name in names]


def _read_tables(content: str, names: list[str]) -> dict[str, str]:
    """The tables of one fence, parted by empty lines or by lines `# name`."""
    if content.startswith("<"):
        return {names[0]: content}
    named = re.split(r"^# (\S+).*\n", content, flags=re.MULTILINE)
    if len(named) > 1:
        return dict(zip(named[1::2], named[2::2], strict=True))
    blocks = [f"{block.strip()}\n" for block in re.split(r"\n\s*\n", content) if block.strip()]
    assert len(blocks) == len(names), f"{len(blocks)} tables for the names {names}"
    return dict(zip(names, blocks, strict=True))


def read_paths(text: str) -> list[RawFile]:
    """Paths, one a line: `{a,b}` expands, `(+N)` are further slices, the rest of the line is a note."""
    files = []
    for line in filter(str.strip, text.splitlines()):
        path, _, note = line.strip().partition("  ")
        note = note.strip().lstrip("# ")
        more = re.search(r"\(\+(\d+)\)", note)
        note = re.sub(r"\(\+\d+\)\s*", "", note)
        files += [RawFile(name, int(more.group(1)) if more else 0, note) for name in _expand(path)]
    return files


def _expand(path: str) -> list[str]:
    match = re.search(r"\{([^}]*,[^}]*)\}", path)
    if match is None:
        return [path]
    parts = match.group(1).split(",")
    return [name for part in parts for name in _expand(path[: match.start()] + part + path[match.end() :])]


def _read_out(prose: str) -> dict[str, str]:
    """`Out, with reasons: I1 (why), I2 (why).` and `Out: 0059902 anat_2 (repeat)`."""
    match = re.search(r"^.*\bOut(?:, with reasons)?: (.*)$", prose, re.MULTILINE)
    found = re.findall(r"(I\d+|\d{7} anat_\d) \(([^)]*)\)", match.group(1)) if match else []
    return {image.replace(" ", "/session_1/"): reason for image, reason in found}


def _read_rows(prose: str) -> list[dict[str, str]]:
    """The rows of the expected table, by column."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", prose, re.M)
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def _read_loni(prose: str) -> list[Expected]:
    """ADNI's and PPMI's expected tables."""
    volumes: list[Expected] = []
    other = ""
    for row in _read_rows(prose):
        subject, session = row["subject / session"].split(" / ")
        other = other if row[list(row)[-1]] == "same" else row[list(row)[-1]]
        age, age_from = re.match(r"(\S+)(?: \((\w+)\))?", row["age"]).groups()
        dx, dx_from, lag = re.match(r"(\w+)(?: \((\w+)(?:, ([+-]\d+) d)?)?", row["dx"]).groups()
        values = {"age_years": age, "sex": row["sex"], "dx": dx} | _read_values(other)
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


def _read_values(text: str) -> dict[str, str]:
    """`UPDRS-III 27 (OFF), edu NA` -> columns of the records."""
    values = {COLUMNS[name]: value.strip() for name, value in re.findall(rf"({WORDS}) ([^,;(]+)", text)}
    event = re.match(r"(BL|SC|V\d\d|R\d\d)\b", text)
    return values | ({"event": event.group()} if event else {})


def _list_clauses(prose: str) -> list[str]:
    """What stands between semicolons after `Expected ...:`."""
    line = re.search(r"^Expected.*$", prose, re.MULTILINE).group().replace("**", "")
    return [clause.strip(" .") for clause in re.split(r": (?=\S+ )", line, maxsplit=1)[1].split(";")]


def _read_oasis1(prose: str) -> list[Expected]:
    volumes = []
    form = r"(\d{4})/(MR\d) (\S+) ([FM]) (\w+)(.*)"
    for subject, session, age, sex, dx, rest in re.findall(form, re.sub(r"; ", "\n", prose)):
        values = {"age_years": age, "sex": sex, "dx": dx} | _read_values(rest.rstrip("."))
        image = f"OAS1_{subject}_{session}_mpr"
        volumes.append(Expected(f"OAS1_{subject}", session, "T1", image, values))
    return volumes


def _read_ixi(prose: str) -> list[Expected]:
    volumes = []
    clauses = _list_clauses(prose)
    dx = next(clause.removeprefix("all ") for clause in clauses if clause.startswith("all "))
    for clause in clauses:
        match = re.match(r"(IXI\d{3}) ((?:T\d(?:, )?)+) ?(?:age )?(.*)", clause)
        if match is None:
            continue
        subject, modalities, rest = match.groups()
        values = {"dx": dx}
        if rest == "no_phenotype":
            values |= {"age_years": "", "sex": "", "qc_flag": rest}
        else:
            age, sex = rest.split()
            values |= {"age_years": "" if age == "NA" else age, "sex": sex}
        volumes += [Expected(subject, "", name, f"-{name}.nii", values) for name in modalities.split(", ")]
    return volumes


def _read_abide1(prose: str) -> list[Expected]:
    volumes = []
    form = r"(\d{7}) ([\d.]+) ([FM]) (\w+) hand (\w+) (\w+)"
    for subject, age, sex, dx, hand, site in re.findall(form, prose.replace("**", "")):
        hand = "" if hand == "NA" else hand
        values = {"age_years": age, "sex": sex, "dx": dx, "handedness": hand, "site": site}
        volumes.append(Expected(subject, "1", "T1", subject, values))
    return volumes


READERS = {
    "adni": _read_loni,
    "ppmi": _read_loni,
    "oasis1": _read_oasis1,
    "ixi": _read_ixi,
    "abide1": _read_abide1,
}


def find_key_words(reason: str) -> set[str]:
    """The words of a reason that another wording must share at least one of."""
    return set(re.findall(r"[a-z_]{2,}", reason.lower())) - STOP_WORDS
