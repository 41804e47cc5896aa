"""FCON1000: one defaced T1 a person from 34 sites, with tables that have no header."""

import re
from collections import defaultdict
from itertools import zip_longest

from braing3n.cohort import Cell, Cohort, Found, Miniature, Option, Pattern, Preference, Table, nitrc
from braing3n.cohort.headerless import holds_ages, holds_mostly
from braing3n.cohort.tables import read_table_file
from braing3n.core.errors import CohortError

SITES = """
AnnArbor_a AnnArbor_b Atlanta Baltimore Bangor Beijing_Zang Berlin_Margulies Cambridge_Buckner
Cambridge_Whitfield-Gabrieli Cleveland Dallas ICBM Leiden_2180 Leiden_2200 Leipzig Milwaukee_a Milwaukee_b
Munchen Newark NewHaven_a NewHaven_b NewYork_a NewYork_a_ADHD NewYork_b Ontario Orangeburg Oulu Oxford
PaloAlto Pittsburgh Queensland SaintLouis Taipei_a Taipei_b
"""
BY_CITY = defaultdict(list)
for name in SITES.split():
    BY_CITY[name.partition("_")[0]].append(name)
OF_CITY = {city: names[0] for city, names in BY_CITY.items() if len(names) == 1}
SEX = {"m": "M", "f": "F", "male": "M", "female": "F", "?": ""}
HAND = {"r": "R", "l": "L", "a": "A", "b": "A", "right": "R", "left": "L", "?": ""}  # b: both
MISSING = ("9999", "-1")
AGES = holds_ages(("?", "n/a", "NA", *MISSING))
TABLES = ("demographics", "handedness", "participants")


def name_subject(text):
    """`Oulu/sub90001` is Oulu_sub90001: the numbers of two sites are the same, those of two parts are not."""
    city, _, number = (text := re.sub(r"(_part\d+)?/(sub-?)?", "_sub", text.strip())).rpartition("_")
    return f"{OF_CITY.get(city, city)}_{number}" if city else text


def name_by_city(text):
    """`AnnArbor_a_sub90001` is AnnArbor_sub90001, as the image repository's labels have it."""
    return re.sub("_.*_", "_", name_subject(text))


def read_demographics(path):
    """A site's table without header: sex, age and hand are the columns whose cells say so, in any order."""
    site = path.stem.rpartition("_")[0]
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines() if line.strip()]
    subjects, *columns = zip_longest(*lines, fillvalue="") if lines else [()]
    found = {
        "sex": next(filter(holds_mostly(SEX), columns), ()),
        "hand": next(filter(holds_mostly(HAND), columns), ()),
        "age": next(filter(AGES, reversed(columns)), ()),
    }
    if not found["sex"] and path.stem.endswith("_demographics"):
        raise CohortError(f"{path}: no column holds m and f, so none is the sex; correct the table.")
    if path.stem.endswith("_handedness"):
        found = dict(zip(("hand",), columns, strict=False))
    rows = zip_longest((f"{site}/{subject}" for subject in subjects), *found.values(), fillvalue="")
    return [dict(zip(("person", *found), row, strict=True)) | {"site": site} for row in rows]


def read_participants(path):
    """The table of a site's folder in the BIDS release; its id column has two names."""
    rows, name = read_table_file(path, Table("", "", {"Subject": ""}, ("age",))), "subject"
    if rows is None:
        rows, name = read_table_file(path, Table("", "", {"participant_id": ""})), "participant_id"
    hands = [row.get("handed") or row.get("handedness", "") for row in rows]
    people = [f"{path.parent.name}/{row[name]}" for row in rows]
    return [row | {"person": one, "hand": hand} for row, one, hand in zip(rows, people, hands, strict=True)]


def find_city(visit):
    """The rows under a number that the label gives with the city alone; none where two sites have it."""
    rows = visit.rows("cities") if visit.facts["site"] in BY_CITY else []
    sites = sorted({row["site"] for row in rows})
    if len(sites) > 1:
        visit.flag(f"{visit.facts['subject']} is in the tables of {' and '.join(sites)}: none is read")
    return rows if len(sites) == 1 else []


def from_city(column, codes=None):
    """A source: the cell of the one site of a city that has this number."""
    return lambda visit: Cell("cities", column, codes)(visit) if find_city(visit) else None


def find_site(visit):
    """The site as the archives name it."""
    site, rows = visit.facts["site"], find_city(visit)
    return Found(rows[0]["site"], "cities") if rows else Found(OF_CITY.get(site, site), "path:site")


def diagnose(visit):
    """Healthy by the paper's table; the people of one site are adults with ADHD."""
    is_adhd = visit.ask("site").lower() == "newyork_a_adhd" and not visit.options["fcon_adhd_as_hc"]
    return Found("ADHD" if is_adhd else "HC", "site")


SITE = rf"(?P<site>{'|'.join(map(re.escape, SITES.split()))})(_part\d+)?"
CLASSIC = rf"(?P<subject>{SITE}/sub\d{{5}})/anat/mprage"
BIDS = rf"(?P<subject>{SITE}/sub-\w+)/anat/sub-[^/]+_T1w\.nii(\.gz)?"
LABEL = rf"(?P<subject>(?P<site>{'|'.join(map(re.escape, (*SITES.split(), *BY_CITY)))})_sub\d{{5}})"
ANONYMIZED, STRIPPED = (
    nitrc.image_path(LABEL, f"anat_mprage_{name}") for name in ("anonymized", "(?P<twin>skullstripped)")
)
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
        Pattern(BIDS, "T1", is_defaced=True, facts=SESSION | {"layout": "BIDS"}),
        Pattern(ANONYMIZED, "T1", is_defaced=True, facts=SESSION | {"layout": "NITRC"}),
        Pattern(STRIPPED, "T1", is_stripped=True, facts=SESSION | {"layout": "NITRC"}),
        Pattern(r"(func/|func_rest/.*)[^/]+\.nii(\.gz)?", reason="functional"),
    ),
    name_subject=name_subject,
    prefer=(
        Preference("the skull-stripped twin", lambda facts, options: bool(facts.get("twin"))),
        Preference("the same person in another layout", lambda facts, options: facts.get("layout", "")),
    ),
    tables=(
        Table("demographics", r".+_demographics\.txt", read=read_demographics, **READ),
        Table("handedness", r".+_handedness\.txt", read=read_demographics, **READ),
        Table("participants", r"participants\.tsv", read=read_participants, **READ),
        Table(
            "cities", r".+_demographics\.txt", read=read_demographics, **(READ | {"normalise": name_by_city})
        ),
    ),
    fields={
        "age_years": (Cell("demographics", "age"), Cell("participants", "age"), from_city("age")),
        "sex": (Cell("demographics", "sex", SEX), Cell("participants", "sex", SEX), from_city("sex", SEX)),
        "handedness": (*(Cell(name, "hand", HAND) for name in TABLES), from_city("hand", HAND)),
        "dx": (diagnose,),
        "site": (find_site,),
    },
    options={"fcon_adhd_as_hc": Option(False, "call the adults with ADHD of NewYork_a_ADHD healthy, too")},
    layouts="AnnArbor_sub90006/anat_mprage_anonymized/NIfTI/scan_mprage_anonymized.nii.gz",
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
