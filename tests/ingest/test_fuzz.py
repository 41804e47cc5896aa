"""2,000 invented tables and 500 BIDS trees: no traceback, no wrong label, no loss without a flag."""

import os
import random
from types import SimpleNamespace

import pandas as pd
import pytest

from braing3n.core.errors import BrainG3nError
from braing3n.ingest.bids import Dataset, read_bids_records
from braing3n.inventory.bids import METADATA, SKIPPED_DIRS, find_bids_scans

N_TABLES, N_TREES, N_AT_ONCE = 2000, 500, 100
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1")
AGES = ("age", "Age", "AGE", "age_years", "Age (years)", "age_at_scan")
SEXES = ("sex", "Sex", "SEX", "gender", "Gender")
WORDS = ("", "", "n/a", "left", "a note", "Zürich", "naïve", "3", "=1+1", "x" * 300)


def write_people(rng, path):
    """A participants table of one random form; subject -> the ages and sexes that its rows say of them."""
    n, width = rng.randint(1, 7), rng.choice((1, 2, 3))
    labels = [f"{rng.randint(0, 999):0{width}d}" for _ in range(n)]
    people = {
        label: (str(rng.randint(5, 99)), rng.choice("MF"))
        for label in dict.fromkeys(labels)
        if label.isalnum()
    }
    prefix, age, sex = rng.choice(("sub-", "sub-", "")), rng.choice(AGES), rng.choice(SEXES)
    header = ["participant_id", age, sex, "note"]
    rows = [[prefix + label, *found, rng.choice(WORDS)] for label, found in people.items()]
    rng.shuffle(rows)
    order = [0, *rng.sample((1, 2, 3), 3)] if rng.random() < 0.7 else rng.sample(range(4), 4)
    lines = [[row[place] for place in order] for row in (header, *rows)]
    for change in rng.sample(CHANGES, rng.randint(0, 3)):
        change(rng, lines)
    separator = rng.choice("\t\t\t,;|")
    if rng.random() < 0.2:
        lines = [[f'"{cell}"' for cell in line] for line in lines]
    found = {label: read_cells(lines, label, age, sex) for label in people}
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(separator.join(line) for line in lines)
    text += rng.choice(("\n", "", "\n\n\n"))
    if rng.random() < 0.05:  # a transfer that broke off: what its last line says nobody knows
        text, found = text[: rng.randint(0, len(text))], dict.fromkeys(people)
    path.write_bytes(text.encode(rng.choice(ENCODINGS), errors="replace"))
    return found


def read_cells(lines, label, age, sex):
    """The ages and the sexes that stand in the rows of one person."""
    header = [cell.strip(' "') for cell in lines[0]]
    rows = [[cell.strip(' "') for cell in line] for line in lines[1:]]
    place = header.index("participant_id")
    rows = [row for row in rows if len(row) > place and row[place].removeprefix("sub-") == label]
    return [{row[i] for row in rows if i < len(row)} - {"", "n/a"} for i in map(header.index, (age, sex))]


def _any(rng, lines):
    return rng.choice(lines[1:] or lines)


CHANGES = (
    lambda rng, lines: [line.append("") for line in lines],  # a trailing tab in all rows
    lambda rng, lines: [line.append("") for line in lines[1:]],
    lambda rng, lines: _any(rng, lines).append(rng.choice(("", "more"))),
    lambda rng, lines: _any(rng, lines).__delitem__(slice(-1, None)),
    lambda rng, lines: lines.insert(rng.randint(1, len(lines)), []),
    lambda rng, lines: lines.insert(rng.randint(1, len(lines)), list(_any(rng, lines))),  # a row twice
    lambda rng, lines: lines.append(["77" if cell.isdigit() else cell for cell in _any(rng, lines)]),
    lambda rng, lines: lines.insert(rng.randint(1, len(lines)), ["", "50", "F", "nobody's"]),
    lambda rng, lines: _blank(_any(rng, lines)),
    lambda rng, lines: _open_quote(rng, _any(rng, lines)),
    lambda rng, lines: lines.append(["\0\x01", "é", "ÿ", "\ufffd"]),
    lambda rng, lines: lines[0].append(rng.choice(("age", "participant_id", "", "sex"))),
)


def _blank(line):
    line[:] = [f" {cell} " for cell in line]


def _open_quote(rng, line):
    place = rng.randrange(len(line)) if line else 0
    line[place : place + 1] = [f'"{line[place]}'] if line else []


def read_all(folder, people):
    """The records of everybody's T1; what is one sentence for the user is one."""
    dataset = Dataset(folder, tuple(people))
    paths = {label: folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz" for label in people}
    return {
        label: dataset.read(SimpleNamespace(subject_id=label, session_id="", volume_id=label, path=str(path)))
        for label, path in paths.items()
    }


@pytest.mark.parametrize("first", range(0, N_TABLES, N_AT_ONCE))
def test_a_table_of_any_form_gives_the_labels_that_it_says_or_a_flag(tmp_path, first):
    faults = []
    for seed in range(first, first + N_AT_ONCE):
        rng = random.Random(seed)
        path = tmp_path / "participants.tsv"
        people = write_people(rng, path)
        try:
            records = read_all(tmp_path, people)
        except BrainG3nError as error:
            faults += [] if "participants.tsv" in str(error) else [(seed, str(error))]
            continue
        for label, cells in people.items():
            row = records[label]
            if cells is None:
                continue
            known = "" if row["age_years"] != row["age_years"] else f"{row['age_years']:g}", row["sex"]
            is_wrong = any(value and value not in said for value, said in zip(known, cells, strict=True))
            is_lost = any(said and not value for value, said in zip(known, cells, strict=True))
            if is_wrong or (is_lost and not row["qc_flag"]):
                faults.append((seed, label, cells, known, row["qc_flag"]))
    assert faults == []


SUFFIXES = ("T1w", "T1w", "T2w", "FLAIR", "bold", "MP2RAGE", "mask", "T1w_defaced")
PARTS = (
    "",
    "",
    "_run-1",
    "_acq-x",
    "_part-phase",
    "_ce-gd",
    "_space-MNI152",
    "_desc-brain",
    "_echo-1",
    "_run-",
)
ENDS = (".nii.gz", ".nii.gz", ".nii", ".NII.GZ", ".json", ".nii.gz.tmp", "", ".mgz")
CONTENTS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b'{"Manufacturer": "GE"}',
    '{"é": 1}'.encode("latin-1"),
    b"\xff\xfe",
)
CONTENTS += (b'{"MagneticFieldStrength": "3T",}', b'{"Manufacturer": [1], "MagneticFieldStrength": null}')
TABLE_TEXTS = (
    "",
    "session_id\tage\nses-1\t40\n",
    "\t\t\n",
    "session_id\n",
    "a\tb\n1\t2\n",
    '"session_id\tage\nses-1\t4',
)
NAMES = (
    "README",
    "dataset_description.json",
    ".bidsignore",
    "participants.json",
    "notes.txt",
    "T1w.json",
    "=x.txt",
)


def write_dataset(rng, root):
    """A tree of some people with files that belong there, and others."""
    for _ in range(rng.randint(1, 4)):
        subject = rng.choice(("01", "02", "A-1", "ü", "=cmd", "0003", ""))
        session = rng.choice(("", "", "1", "pre", "-x"))
        folder = (
            root
            / f"sub-{subject}"
            / (f"ses-{session}" if session else "")
            / rng.choice(("anat", "anat", "func", "."))
        )
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"sub-{subject}" + (f"_ses-{session}" if session else "")
        for _ in range(rng.randint(0, 4)):
            name = stem + rng.choice(PARTS) + "_" + rng.choice(SUFFIXES) + rng.choice(ENDS)
            (folder / name).write_bytes(rng.choice(CONTENTS))
        if rng.random() < 0.4:
            (root / f"sub-{subject}" / f"sub-{subject}_sessions.tsv").write_text(rng.choice(TABLE_TEXTS))
        if rng.random() < 0.3:
            (folder.parent / f"{stem}_scans.tsv").write_text(
                rng.choice(("", "filename\tacq_time\nanat/x\t2\n", "x"))
            )
        if rng.random() < 0.1:
            (folder / f"{stem}_acq-gone_T1w.nii.gz").symlink_to("/nowhere/annex/object")
    for name in rng.sample(NAMES, rng.randint(0, 4)):
        (root / name).write_bytes(rng.choice((*CONTENTS, b"sub-02\n*.tmp\n!x\n", b"**/\n[\n")))
    if rng.random() < 0.3:
        (root / rng.choice(("derivatives", "code", "sub-01"))).mkdir(exist_ok=True)
    if rng.random() < 0.6:
        write_people(rng, root / "participants.tsv")


def list_expected(root):
    """Every file that has to be accounted for."""
    found = set()
    for folder, dirs, names in os.walk(root):
        dirs[:] = [name for name in dirs if name not in SKIPPED_DIRS and not name.startswith(".")]
        found |= {
            os.path.join(folder, name) for name in names if not name.startswith(".") and name not in METADATA
        }
    return found


@pytest.mark.parametrize("first", range(0, N_TREES, N_AT_ONCE))
def test_in_a_tree_of_any_form_each_file_is_accounted_for_and_each_scan_has_a_record(tmp_path, first):
    stopped = []
    for seed in range(first, first + N_AT_ONCE):
        root = tmp_path / str(seed)
        root.mkdir()
        write_dataset(random.Random(seed), root)
        try:
            walk = find_bids_scans(root, "fuzz")
            scans = pd.DataFrame(
                [[str(n), s.subject_id, s.session_id, s.path] for n, s in enumerate(walk.scans)],
                columns=["volume_id", "subject_id", "session_id", "path"],
            )
            records = read_bids_records(root, "fuzz", scans)
        except BrainG3nError as error:
            stopped.append((seed, str(error)))
            continue
        found = [scan.path for scan in walk.scans] + [scan.path for scan, _ in walk.left_out]
        found += [*walk.unused, *(path for scan in walk.scans for path in scan.segmentations.values())]
        found += map(str, walk.tables)
        assert list_expected(root) <= set(found), seed
        assert len(found) == len(set(found)), seed
        assert len(records) == len(walk.scans), seed
    assert [message for _, message in stopped if ".tsv" not in message and "raw folder" not in message] == []
    assert len(stopped) < N_AT_ONCE / 2
