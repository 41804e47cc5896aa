"""What downloads of the LONI archive share: the folder scheme, collection tables and an XML file an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from braing3n.cohort import Cell, Fact, Found, Source, Table, Visit
from braing3n.errors import CohortError
from braing3n.ingest.dates import parse_date, years_between
from braing3n.ingest.records import to_number
from braing3n.inventory.headers import normalise_vendor

# A masked date (9999-09-09) is none; each such image is then a session of its own.
_DATE = r"(?:(?=9999[^/]*/(?:S\d+/[^/]*_)?(?P<session>I\d+))|)(?P<date>\d{4}-\d{2}-\d{2})[^/]*"
# The image's id: the folder's name, or in old downloads (folder S<series>) the end of the file's name.
_IMAGE = r"(?:(?=(?:S\d+/[^/]*_)?I(?P<image>\d+))|)[IS]\d+"
_XML_LEAVES = {
    "projectidentifier": "project",
    "sitekey": "site",
    "subjectidentifier": "ptid",
    "researchgroup": "researchgroup",
    "subjectsex": "subjectsex",
    "visitidentifier": "visitidentifier",
    "subjectage": "subjectage",
    "agequalifier": "agequalifier",
    "dateacquired": "dateacquired",
    "processeddatalabel": "processeddatalabel",
}
_XML_NAMED = {"subjectinfo": "item", "assessmentscore": "attribute", "protocol": "term"}
SEXES = {"F": "F", "M": "M", "Female": "F", "Male": "M", "X": "", "U": ""}


def scan_path(subject: str, file: str, series: str = r"[^/]+") -> str:
    """A pattern for `<subject>/<series>/<date>/<I or S id>/<file>` with the facts series, date and image.

    Args:
        subject: regular expression with the group `subject`, and whatever stands between it and the series.
    """
    return rf"{subject}/(?P<series>{series})/{_DATE}/{_IMAGE}/{file}"


def study_table(name: str, files: str = "", key: str = "ptid", **more: Any) -> Table:
    """One study table, a row or more a participant.

    Args:
        files: pattern for the name of its exports, without the day of the export; empty: `name`.
        key: the participant's column.
        more: what else `Table` takes.
    """
    day = r"(?:_\d{1,2}[A-Z]{3}\d{4}|_\d{8})?(?: \(\d+\))?"
    return Table(name, rf"{files or name}{day}\.(?:csv|tsv|xlsx?)", {key: "subject"}, **more)


def normalise_image_id(text: str) -> str:
    """`I900003` and `900003` are one image."""
    return text.strip().upper().removeprefix("I")


def rank_name(names: str) -> Callable[[Mapping[str, str], Mapping[str, Any]], bool]:
    """A rank for `Preference`: series whose name (case aside) holds the expression come later."""
    return lambda facts, options: re.search(names, facts["series"], re.IGNORECASE) is not None


def rank_image(facts: Mapping[str, str], options: Mapping[str, Any]) -> int:
    """A rank for `Preference`: the lowest id first."""
    return int(facts["image"] or 0)


def read_image_xml(path: Path) -> list[dict[str, str]]:
    """The facts of one image as one row; none where the file is a stub.

    Columns: imageuid, ptid, site, researchgroup, subjectsex, subjectage (years), visitidentifier,
    dateacquired, and by their own names in lower case the subject's infos (`apoe a1`), the scores
    (`mmscore`) and the terms of the protocol (`manufacturer`, `field strength`).

    Raises:
        CohortError: the file is not XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: cannot be read as XML ({error}); download it again.") from None
    image = root.find(".//{*}derivedProduct/{*}imageUID")
    image = root.find(".//{*}imagingProtocol/{*}imageUID") if image is None else image
    if image is None or not (image.text or "").strip():
        return []
    row = {"imageuid": image.text.strip()}
    for element in root.iter():
        # The root has a namespace, what is below it has another or none.
        tag = str(element.tag).rpartition("}")[2].lower()
        name = element.get(_XML_NAMED[tag], "") if tag in _XML_NAMED else _XML_LEAVES.get(tag, "")
        if name:
            row.setdefault(name.lower(), (element.text or "").strip())
    if row.get("agequalifier", "") not in ("", "Y"):
        row["subjectage"] = ""
    return [row]


XML = Table(
    "xml",
    r".*\.xml",
    {"imageuid": "image"},
    normalise=normalise_image_id,
    is_newest_only=False,
    read=read_image_xml,
)
# The archive's list of what was downloaded; its name is the user's.
_COLLECTION_COLUMNS = ("image data id", "subject", "group", "acq date")
COLLECTION = Table(
    "collection",
    r".*\.csv",
    {"image data id": "image"},
    needs=_COLLECTION_COLUMNS,
    normalise=normalise_image_id,
    is_newest_only=False,
)
COLLECTION_SUBJECTS = Table(
    "collection_subjects",
    COLLECTION.files,
    {"subject": "subject"},
    needs=_COLLECTION_COLUMNS,
    is_newest_only=False,
)
TABLES = (XML, COLLECTION, COLLECTION_SUBJECTS)


def _find_cells(visit: Visit, table: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[Found]]]:
    """The alternatives that are told whole, and their cells; `a+b` are two columns that belong together."""
    for names in columns:
        cells = [visit.find(table, name) for name in names.split("+")]
        if all(cells):
            yield f"{table}:{names}", cells


def read_birth_age(table: str, *columns: str) -> Source:
    """A source of age: the years from the birth to the scan.

    Args:
        columns: alternatives: a date or month of birth, or `month+year`.
    """

    def find_age(visit: Visit) -> Found | None:
        scan_day = parse_date(visit.facts.get("date", ""))
        for source, cells in _find_cells(visit, table, columns):
            birth_day = parse_date("/".join(cell.value for cell in cells))
            if scan_day and birth_day:
                return Found(f"{years_between(birth_day, scan_day):.4f}", source)
        return None

    return find_age


def read_genotype(table: str, *columns: str) -> Source:
    """A source of APOE, as `E3/E4`.

    Args:
        columns: alternatives: one column with both alleles (`3/4`, `E3/E4`, `34.0`), or `allele+allele`.
    """

    def find_genotype(visit: Visit) -> Found | None:
        for source, cells in _find_cells(visit, table, columns):
            texts = [re.sub(r"\.0+$|\(.*", "", cell.value) for cell in cells]
            alleles = sorted(re.findall(r"\d", "".join(texts)))
            if len(alleles) == 2 and set(alleles) <= set("234"):
                return Found("/".join(f"E{allele}" for allele in alleles), source)
            return visit.decode(table, cells[0], {})
        return None

    return find_genotype


def read_baseline_age(table: str, age: str, start: str) -> Source:
    """A source of age: the age at the first visit and the years from that day to the scan."""

    def find_age(visit: Visit) -> Found | None:
        scan_day = parse_date(visit.facts.get("date", ""))
        for source, (found, first) in _find_cells(visit, table, (f"{age}+{start}",)):
            first_age, first_day = to_number(found.value), parse_date(first.value)
            if scan_day and first_day and first_age is not None:
                return Found(f"{first_age + years_between(first_day, scan_day):.4f}", source)
        return None

    return find_age


def find_nearest(
    visit: Visit, table: str, codes: Mapping[str, Mapping[str, str]], veto: tuple[str, str] = ("", "")
) -> Found | None:
    """What several columns tell, each in codes of its own: the nearest row counts, then the columns' order.

    Args:
        codes: column -> its codes; 0 stands for nothing in all of them.
        veto: (value, column): where that column of the same row is 1, the value counts as nothing.
    """
    found = [(cell, codes[column]) for column in codes if (cell := visit.find(table, column, ("0",)))]
    if not found:
        return None
    value = visit.decode(table, *min(found, key=lambda item: abs(item[0].lag_days)))
    other = visit.find(table, veto[1], ("0",)) if value.value == veto[0] else None
    if other is None or other.value != "1" or other.lag_days != value.lag_days:
        return value
    return replace(other, value="")


def read_joined(table: str, column: str, codes: Mapping[str, str], several: str) -> Source:
    """A source whose cell holds one code, or several that are joined (`4|5`)."""

    def find_joined(visit: Visit) -> Found | None:
        found = visit.find(table, column)
        if found is None or not re.search(r"\d\D+\d", found.value.removesuffix(".0")):
            return found and visit.decode(table, found, codes)
        return Found(several, found.source)

    return find_joined


def read_vendor(visit: Visit) -> Found | None:
    """A source of the vendor: the XML's manufacturer, one spelling a vendor."""
    found = visit.find(XML.name, "manufacturer")
    return found and replace(found, value=normalise_vendor(found.value))


def read_visit(table: str, column: str, missing: tuple[str, ...], known: str, flag: str) -> Source:
    """A source of the visit's code, by the table's nearest row, else by the collection.

    Args:
        missing: codes that are no visit.
        known: visits that get the flag, `<subject>/<code>`, with blanks between.
    """

    def find_visit(visit: Visit) -> Found | None:
        found = visit.find(table, column, missing) or visit.find(COLLECTION.name, "visit")
        if found and f"{visit.facts['subject']}/{found.value}" in known.split():
            visit.flag(flag)
        return found

    return find_visit


XML_AGE = Cell(XML.name, "subjectage")
XML_SEX = Cell(XML.name, "subjectsex", SEXES)
COLLECTION_AGE = Cell(COLLECTION.name, "age")
COLLECTION_SEX = Cell(COLLECTION_SUBJECTS.name, "sex", SEXES)
XML_APOE = read_genotype(XML.name, "apoe a1+apoe a2")
# Columns of the enrolment group: of the image's own XML, else of any image of the participant.
GROUPS = ((XML.name, "researchgroup"), (COLLECTION_SUBJECTS.name, "group"))
VENDOR = (read_vendor, Fact("vendor", source="header:vendor"))
FIELD_STRENGTH = (
    Cell(XML.name, "field strength"),
    Fact("field_strength_t", source="header:field_strength_t"),
)


def list_images(project: str, images: str) -> str:
    """Paths as the archive names them, for a miniature, from lines `subject series day_time leaf .suffix`.

    The leaf is `I<image>` or, as in old downloads, `S<series>-I<image>`; a note after two spaces stays.
    """
    lines = []
    for line in images.strip().splitlines():
        words, _, note = line.strip().partition("  ")
        subject, series, moment, leaf, suffix = words.split()
        folder = f"{project}/{subject}/{series}/{moment}.0/{leaf.partition('-')[0]}"
        stem = f"{project}_{Path(subject).name}_MR_{series}__br_raw_20150101101010101_1_S1"
        name = f"{stem}_{leaf.rpartition('-')[2]}{suffix}"
        lines.append(f"{folder}/{name}" + (f"  {note.strip()}" if note else ""))
    return "\n".join(lines)


def split_tables(text: str) -> dict[str, str]:
    """Tables of a miniature: each begins with the line `# <file name>`."""
    parts = re.split(r"^# *(\S+)\n", text.strip() + "\n", flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
