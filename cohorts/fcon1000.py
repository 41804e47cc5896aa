"""FCON1000: one defaced T1 a person from 34 sites, with tables that have no header."""

import re
from dataclasses import replace
from itertools import zip_longest

from braing3n.cohort import Cell, Cohort, Fact, Found, Miniature, Option, Pattern, Preference, Table
from braing3n.errors import CohortError
from braing3n.ingest.records import to_number
from braing3n.ingest.tables import read_table_file
from braing3n.inventory.scans import find_scans

SITES = """
AnnArbor_a AnnArbor_b Atlanta Baltimore Bangor Beijing_Zang Berlin_Margulies Cambridge_Buckner
Cambridge_Whitfield-Gabrieli Cleveland Dallas ICBM Leiden_2180 Leiden_2200 Leipzig Milwaukee_a Milwaukee_b
Munchen Newark NewHaven_a NewHaven_b NewYork_a NewYork_a_ADHD NewYork_b Ontario Orangeburg Oulu Oxford
PaloAlto Pittsburgh Queensland SaintLouis Taipei_a Taipei_b
"""
SEX = {"m": "M", "f": "F", "?": ""}
HAND = {"r": "R", "l": "L", "a": "A", "right": "R", "left": "L", "?": ""}
MISSING = ("9999", "-1")
TABLES = ("demographics", "handedness", "participants")


def name_subject(text):
    """`Oulu/sub90001` is Oulu_sub90001: the numbers of two sites are the same, those of two parts are not."""
    return re.sub(r"(_part\d+)?/(sub-?)?", "_sub", text.strip())


def find_people(raw_dir, key):
    """The scans, named by their site; of a person in two layouts the classic one is taken."""
    walk = find_scans(replace(COHORT, find_scans=None), raw_dir, key, {}, lambda paths, stamp: {})
    scans = sorted(walk.scans, key=lambda scan: "_T1w" in scan.path)
    walk.left_out = [(rename(scan, key), reason) for scan, reason in walk.left_out]
    taken = {}
    for scan in (rename(scan, key) for scan in scans):
        first = taken.setdefault(scan.subject_id, scan)
        if first is not scan:
            walk.left_out.append((scan, f"the same person in another layout; {first.path} is taken"))
    walk.scans = [taken[subject] for subject in sorted(taken)]
    return walk


def rename(scan, key):
    """The scan under its site's and its own number."""
    subject = name_subject(scan.subject_id)
    return replace(scan, subject_id=subject, person_id=f"{key}/{subject}", group_id=f"{key}/{subject}")


def read_demographics(path):
    """A site's table without header: sex, age and hand are the columns whose cells say so, in any order."""
    site = path.stem.rpartition("_")[0]
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines() if line.strip()]
    subjects, *columns = zip_longest(*lines, fillvalue="") if lines else [()]
    found = {
        "sex": next(filter(holds_only(SEX), columns), ()),
        "hand": next(filter(holds_only(HAND), columns), ()),
        "age": next(filter(is_age, reversed(columns)), ()),
    }
    if not found["sex"] and path.stem.endswith("_demographics"):
        raise CohortError(f"{path}: no column holds m and f alone, so none is the sex; mend the table.")
    if path.stem.endswith("_handedness"):
        found = dict(zip(("hand",), columns, strict=False))
    rows = zip_longest((f"{site}/{subject}" for subject in subjects), *found.values(), fillvalue="")
    return [dict(zip(("person", *found), row, strict=True)) for row in rows]


def holds_only(words):
    """Whether a column holds nothing but these words."""
    return lambda cells: any(cells) and {cell.lower() for cell in cells} <= {"", *words}


def is_age(cells):
    """Whether a column holds nothing but numbers that people's ages can be."""
    numbers = [to_number(cell) for cell in cells if cell not in ("", "?", "n/a", "NA", *MISSING)]
    return bool(numbers) and all(5 <= (number or 0) <= 100 for number in numbers)


def read_participants(path):
    """The table of a site's folder in the BIDS release; its id column has two names."""
    rows, name = read_table_file(path, Table("", "", {"Subject": ""}, ("age",))), "subject"
    if rows is None:
        rows, name = read_table_file(path, Table("", "", {"participant_id": ""})), "participant_id"
    hands = [row.get("handed") or row.get("handedness", "") for row in rows]
    people = [f"{path.parent.name}/{row[name]}" for row in rows]
    return [row | {"person": one, "hand": hand} for row, one, hand in zip(rows, people, hands, strict=True)]


def diagnose(visit):
    """Healthy by the paper's table; the people of one site are adults with ADHD."""
    is_adhd = visit.facts["site"].lower() == "newyork_a_adhd" and not visit.options["fcon_adhd_as_hc"]
    return Found("ADHD" if is_adhd else "HC", "path:site")


SITE = rf"(?P<site>{'|'.join(map(re.escape, SITES.split()))})(_part\d+)?"
CLASSIC = rf"(?P<subject>{SITE}/sub\d{{5}})/anat/mprage"
BIDS = rf"(?P<subject>{SITE}/sub-\w+)/anat/sub-[^/]+_T1w\.nii(\.gz)?"
SESSION = {"session": "1"}
READ = {"key": {"person": "subject"}, "missing": MISSING, "normalise": name_subject}

COHORT = Cohort(
    title="FCON1000",
    source="https://fcon_1000.projects.nitrc.org/fcpClassic/FcpTable.html (archives), or its BIDS release",
    licence="CC BY-NC",
    citation="Biswal et al. 2010, PNAS 107 (10)",
    n_volumes=1197,
    n_people=1197,
    patterns=(
        Pattern(rf"{CLASSIC}_anonymized\.nii(\.gz)?", "T1", is_defaced=True, facts=SESSION),
        Pattern(rf"{CLASSIC}_(?P<twin>skullstripped)\.nii(\.gz)?", "T1", is_stripped=True, facts=SESSION),
        Pattern(BIDS, "T1", is_defaced=True, facts=SESSION),
        Pattern(r"func/[^/]+\.nii(\.gz)?", reason="functional"),
    ),
    prefer=(Preference("the skull-stripped twin", lambda facts, options: bool(facts.get("twin"))),),
    find_scans=find_people,
    tables=(
        Table("demographics", r".+_demographics\.txt", read=read_demographics, **READ),
        Table("handedness", r".+_handedness\.txt", read=read_demographics, **READ),
        Table("participants", r"participants\.tsv", read=read_participants, **READ),
    ),
    fields={
        "age_years": (Cell("demographics", "age"), Cell("participants", "age")),
        "sex": (Cell("demographics", "sex", SEX), Cell("participants", "sex", SEX)),
        "handedness": tuple(Cell(name, "hand", HAND) for name in TABLES),
        "dx": (diagnose,),
        "site": (Fact("site"),),
    },
    options={"fcon_adhd_as_hc": Option(False, "call the adults with ADHD of NewYork_a_ADHD healthy, too")},
    miniature=Miniature(
        files="""
AnnArbor_a/sub90001/anat/mprage_anonymized.nii.gz
AnnArbor_a/sub90001/anat/mprage_skullstripped.nii.gz
Oulu/sub90001/anat/mprage_anonymized.nii.gz
Cambridge_Buckner_part2/Cambridge_Buckner/sub90002/anat/mprage_skullstripped.nii.gz
NewYork_a_ADHD_part1/NewYork_a_ADHD/sub90003/anat/mprage_anonymized.nii.gz
Taipei_a/sub90004/anat/mprage_anonymized.nii.gz
""",
        tables={
            "AnnArbor_a_demographics.txt": "sub90001\t1\t21.29\tm\tR\n",
            "Oulu/Oulu_demographics.txt": "sub90001\t1\t22\tf\n",
            "Cambridge_Buckner_part2/Cambridge_Buckner_demographics.txt": "sub90002\t17\t25\tF\n",
            "Cambridge_Buckner_handedness.txt": "sub90002\tL\n",
            "Bangor_demographics.txt": "sub90005\t3\tm\t24\n",
            "NewYork_a_ADHD_demographics.txt": "sub90003\t2\t37.53\tm\n",
        },
    ),
)
