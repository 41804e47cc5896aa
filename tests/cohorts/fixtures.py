"""A cohort's fixture as its specification prints it: paths, tables and what must come out.

Each file of `printed/` is one fixture of a cohort and has
    CHAPTER: the specification's file and the number of the chapter.
    read(prose): the expected volumes, read from the text around the fixture's fences.
    HANDFUL: two or three of them typed, which the cohort's miniature must give, too.
    CODE: a table's name, a coded column, and a regular expression of one of its cells with the commas.
and, where needed,
    KIND: the cohort file, if this one's name is another (the second fixture of a cohort).
    HANDFUL_TABLES: tables that the miniature lacks for the handful.
    read_fences(section): its files, tables (path below the raw folder -> text) and prose, where the section
        has a form of its own.
    arrange(fixture): the fixture, corrected where the generic reading cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

SPECIFICATIONS = Path(__file__).parents[3] / "shared" / "cohorts"
PRINTED = sorted(path.stem for path in (Path(__file__).parent / "printed").glob("*.py"))
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
# Notes beside a path that say that it stays out; some give the reason.
NOTED = ("not this one", "the option", "ignored", "stray")
NOTED_REASON = re.compile(r".*, out|a label\b.*")
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

    image: a part of the volume's path. sources: column -> a word of its source, where it is given.
    """

    subject: str
    session: str
    modality: str
    image: str
    values: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    lag_days: float | None = None
    run: str = ""


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


def load_printed(name: str) -> ModuleType:
    """One file of `printed/`."""
    return import_module(f"{__package__}.printed.{name}")


def find_kind(name: str) -> str:
    """The cohort file that a file of `printed/` is about."""
    return getattr(load_printed(name), "KIND", name)


def read_chapter(name: str) -> str:
    """The chapter of a cohort's specification."""
    file_name, number = load_printed(name).CHAPTER
    text = (SPECIFICATIONS / file_name).read_text(encoding="utf-8")
    return re.search(rf"^## {number}\. .*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL).group()


def read_fixture(name: str) -> Fixture:
    """Parse the section `Fixture` of a cohort's chapter."""
    chapter, printed = read_chapter(name), load_printed(name)
    section = re.split(r"^### \S+ Fixture.*\n", chapter, flags=re.MULTILINE)[1]
    section = re.split(r"^(?:---|### .*)$", section, flags=re.MULTILINE)[0]
    if hasattr(printed, "read_fences"):
        files, tables, prose = printed.read_fences(section)
    else:
        files, tables, prose = _read_fences(section, chapter)
    counts = re.search(r"Expected.*?(\d+) (?:T1 )?(?:volumes|rows)", prose)
    volumes = printed.read(prose)
    n_subjects = re.search(r"(\d+) subjects", prose)
    fixture = Fixture(
        files=files,
        tables=tables,
        volumes=volumes,
        n_volumes=int(counts.group(1)),
        n_subjects=int(n_subjects.group(1)) if n_subjects else len({item.subject for item in volumes}),
        out=_read_out(prose) | _read_noted(files),
        prose=prose,
    )
    return printed.arrange(fixture) if hasattr(printed, "arrange") else fixture


def _read_noted(files: list[RawFile]) -> dict[str, str]:
    """What a note beside the path says stays out; of a pair the header stands for both."""
    paths = {file.path for file in files}
    noted = [file for file in files if file.note in NOTED or NOTED_REASON.fullmatch(file.note)]
    return {
        file.path: file.note
        for file in noted
        if not (file.path.endswith(".img") and f"{file.path[:-4]}.hdr" in paths)
    }


def _read_fences(section: str, chapter: str) -> tuple[list[RawFile], dict[str, str], str]:
    """Paths, tables by name, and the text around the fences."""
    pieces = re.split(r"^```(?:\w*)\n(.*?)^```\n?", section, flags=re.MULTILINE | re.DOTALL)
    files: list[RawFile] = []
    tables: dict[str, str] = {}
    prose = pieces[::2]
    for before, content in zip(pieces[::2], pieces[1::2], strict=False):
        head = re.sub(r"\{[^}]*\}", "", content.split("\n", 1)[0])
        if not head.startswith(("#", "<")) and "," not in head:
            paths, expected, rest = content.partition("Expected")
            files += read_paths(paths)
            prose += [expected + rest] if expected else []
            continue
        names = _complete_names(TABLE_NAME.findall(before.rsplit("Expected", 1)[-1]))
        listed = [Path(file.path).name for file in files if re.search(r"\.(csv|tsv|xlsx?)$", file.path)]
        known = list(dict.fromkeys(name for name in TABLE_NAME.findall(chapter) if "…" not in name))
        names = names or [name for name in listed if name not in tables][: len(_split_blocks(content))]
        tables |= _read_tables(content, names or known[: len(_split_blocks(content))])
    return [file for file in files if Path(file.path).name not in tables], tables, "\n".join(prose)


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
    blocks = _split_blocks(content)
    assert len(blocks) == len(names), f"{len(blocks)} tables for the names {names}"
    return dict(zip(names, blocks, strict=True))


def _split_blocks(content: str) -> list[str]:
    """What empty lines part."""
    return [f"{block.strip()}\n" for block in re.split(r"\n\s*\n", content) if block.strip()]


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
    found = re.findall(r"(I\d+|\d{7} anat_\d|\w+_FU\d+d) \(([^)]*)\)", match.group(1)) if match else []
    return {image.replace(" ", "/session_1/"): reason for image, reason in found}


def read_rows(prose: str) -> list[dict[str, str]]:
    """The rows of the expected table, by column."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", prose, re.M)
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def read_values(text: str) -> dict[str, str]:
    """`UPDRS-III 27 (OFF), edu NA` -> columns of the records."""
    values = {COLUMNS[name]: value.strip() for name, value in re.findall(rf"({WORDS}) ([^,;(]+)", text)}
    event = re.match(r"(BL|SC|V\d\d|R\d\d)\b", text)
    return values | ({"event": event.group()} if event else {})


def find_key_words(reason: str) -> set[str]:
    """The words of a reason that another wording must share at least one of."""
    return set(re.findall(r"[a-z_]{2,}", reason.lower())) - STOP_WORDS
