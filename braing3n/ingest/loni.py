"""What downloads of the LONI archive share: the folder scheme, collection tables and an XML file an image."""

from __future__ import annotations

import math
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
_XML_LEAVES = {"subjectIdentifier": "ptid", "siteKey": "site", "processedDataLabel": "description"}
_XML_LEAVES |= {"researchGroup": "researchgroup", "subjectSex": "subjectsex", "subjectAge": "subjectage"}
_XML_LEAVES |= {"ageQualifier": "agequalifier", "visitIdentifier": "visitidentifier"}
_XML_NAMED = {"subjectInfo": "item", "assessmentScore": "attribute", "protocol": "term"}
MAX_MONTHS = 6  # between a scan and a score of another visit
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


def image_table(name: str, files: str, key: str, needs: tuple[str, ...] = ()) -> Table:
    """A table with a row an image; all exports of its kind are read."""
    return Table(name, files, {key: "image"}, needs=needs, normalise=normalise_image_id, is_newest_only=False)


def normalise_image_id(text: str) -> str:
    """`I900003` and `900003` are one image."""
    return text.strip().upper().removeprefix("I")


def list_words(series: str) -> str:
    """A series' name in upper case, a blank for whatever is no letter or digit."""
    return " ".join(re.findall("[A-Z0-9]+", series.upper()))


def rank_name(names: str) -> Callable[[Mapping[str, str], Mapping[str, Any]], bool]:
    """A rank for `Preference`: series whose name (case aside) holds the expression come later."""
    return lambda facts, options: re.search(names, facts["series"], re.IGNORECASE) is not None


def rank_image(facts: Mapping[str, str], options: Mapping[str, Any]) -> int:
    """A rank for `Preference`: the lowest id first."""
    return int(facts["image"] or 0)


def has_short_echo(facts: Mapping[str, str], max_ms: float = 10.0) -> bool:
    """Whether the header tells echo times, all as short as T1-weighted heads have them."""
    times_ms = [to_number(text) for text in facts.get("echo_times_ms", "").split(",")]
    return None not in times_ms and max(times_ms) <= max_ms


def classify_size(facts: Mapping[str, str], max_spacing_mm: float, min_voxels: int) -> str:
    """What `Cohort.classify` says of a series that is too thick or too small by its header; empty: it is not.

    The slices of all echoes count: a dual-echo series may have few of each.
    """
    spacing_mm = to_number(facts.get("spacing_mm", ""))
    if spacing_mm is not None and spacing_mm > max_spacing_mm:
        return f"-spacing {spacing_mm:g} mm, over {max_spacing_mm:g} mm"
    n_echoes = len(facts.get("echo_times_ms", "").split(","))
    sizes = [to_number(facts.get(name, "")) for name in ("rows", "columns", "n_slices")]
    if None in sizes or min(sizes[0], sizes[1], sizes[2] * n_echoes) >= min_voxels:
        return ""
    return f"-{'x'.join(f'{size:g}' for size in sizes)} voxels, a side under {min_voxels}"


def read_image_xml(path: Path) -> list[dict[str, str]]:
    """The facts of one image as one row; none where the file is a stub.

    Columns: imageuid, ptid, site, researchgroup, subjectsex, subjectage (years), visitidentifier,
    description, and by their own names in lower case the subject's infos (`apoe a1`), the scores
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
        tag = str(element.tag).rpartition("}")[2]
        name = element.get(_XML_NAMED[tag], "") if tag in _XML_NAMED else _XML_LEAVES.get(tag, "")
        if name:
            row.setdefault(name.lower(), (element.text or "").strip())
    if row.get("agequalifier", "") not in ("", "Y"):
        row["subjectage"] = ""
    return [row]


XML = replace(image_table("xml", r".*\.xml", "imageuid"), read=read_image_xml)
# The archive's list of what was downloaded; its name is the user's.
_COLLECTION_COLUMNS = ("image data id", "subject", "group", "acq date")
COLLECTION = image_table("collection", r".*\.csv", "image data id", _COLLECTION_COLUMNS)
COLLECTION_SUBJECTS = replace(
    COLLECTION, name="collection_subjects", key={"subject": "subject"}, normalise=str.strip
)
SEARCH = image_table("search", r"idaSearch.*\.csv", "image id")
TABLES = (XML, COLLECTION, COLLECTION_SUBJECTS, SEARCH)
_VISIT_COLUMNS = {"collection": "visit", "search": "visit", "xml": "visitidentifier"}


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


def keep_only(field: str, option: str) -> Callable[[Visit], str]:
    """Leaves out what a field says, unless the option lists it; where the field is empty a scan is kept."""

    def explain(visit: Visit) -> str:
        value = visit.ask(field)
        return "" if value in ("", *visit.options[option]) else f"{value} not kept"

    return explain


def leave_out_visits(known: str, option: str) -> Callable[[Visit], str]:
    """Leaves out visits, `<subject>/<code>` with blanks between, unless the option is on."""

    def explain(visit: Visit) -> str:
        is_known = f"{visit.facts['subject']}/{visit.ask('visit')}" in known.split()
        return "a visit with a known bad conversion" if is_known and not visit.options[option] else ""

    return explain


def read_flags(table: str, flags: Mapping[str, str], several: str) -> Source:
    """A source told by columns of 0 and 1, column -> value; `several` where more than one is 1."""

    def find_flags(visit: Visit) -> Found | None:
        cells = {column: visit.find(table, column) for column in flags}
        told = [column for column, cell in cells.items() if cell and to_number(cell.value) == 1]
        value = flags[told[0]] if len(told) == 1 else several
        return Found(value, f"{table}:{'+'.join(told)}") if told else None

    return find_flags


def read_number(column: str, low: float, high: float) -> Callable[[Mapping[str, str]], float | None]:
    """Reads a score from a row; None outside its range, which is where unrateable items end."""

    def read(row: Mapping[str, str]) -> float | None:
        number = to_number(row.get(column, ""))
        return number if number is not None and low <= number <= high else None

    return read


def sum_items(points: Mapping[str, Mapping[str, int]]) -> Callable[[Mapping[str, str]], float | None]:
    """Reads a score that is the sum of items, column -> answer -> points; None where one is not answered."""

    def read(row: Mapping[str, str]) -> float | None:
        answers = {item: to_number(row.get(item, "")) for item in points}
        texts = {item: "" if number is None else f"{number:g}" for item, number in answers.items()}
        if any(text not in points[item] for item, text in texts.items()):
            return None
        return float(sum(points[item][text] for item, text in texts.items()))

    return read


def count_months(first: str, second: str) -> int | None:
    """Calendar months from one date to another; None where one is no date."""
    start, end = parse_date(first), parse_date(second)
    return (end.year - start.year) * 12 + end.month - start.month if start and end else None


def read_at_visit(
    table: str,
    column: str,
    score: Callable[[Mapping[str, str]], float | None],
    find_event: Source,
) -> Source:
    """A source of a score: that of the scan's EVENT_ID, else the nearest within six months.

    Of several rows of one visit the first in the table's order counts.

    Args:
        column: what its source is called.
        score: reads it from a row.
        find_event: the scan's EVENT_ID; at the baseline (BL) what was filed under screening (SC) counts, too.
    """

    def find_score(visit: Visit) -> Found | None:
        event, scan_date = find_event(visit), visit.facts.get("date", "")
        wanted = {"BL": ("BL", "SC")}.get(event.value, (event.value,)) if event else ()
        found = []
        for row in visit.rows(table):
            value, name, date = score(row), row.get("event_id", ""), row.get("infodt", "")
            months = count_months(scan_date, date)
            is_near = months is not None and abs(months) <= MAX_MONTHS
            if value is not None and (name in wanted or is_near):
                place = wanted.index(name) if name in wanted else len(wanted) + abs(months)
                lag_days = (parse_date(date) - parse_date(scan_date)).days if months is not None else math.nan
                found.append((place, Found(f"{value:g}", f"{table}:{column}", lag_days)))
        return min(found, key=lambda item: item[0])[1] if found else None

    return find_score


def read_at_events(cell: Source, find_event: Source, events: tuple[str, ...]) -> Source:
    """A source that holds for some visits only."""

    def find_at_events(visit: Visit) -> Found | None:
        event = find_event(visit)
        return cell(visit) if event and event.value in events else None

    return find_at_events


def read_event(events: Mapping[str, str], visits: tuple[str, str], is_done: tuple[str, str]) -> Source:
    """A source of the visit's short code: by lists of images, else by the month of the scan, else UNK.

    Args:
        events: long name of a visit -> its code; of what is neither, a flag is set.
        visits: a table of imaging visits and its column of months; the nearest within three months counts.
        is_done: its column and value of visits that took place.
    """

    def find_event(visit: Visit) -> Found:
        for table, column in _VISIT_COLUMNS.items():
            found = visit.find(table, column)
            code = events.get(found.value, found.value) if found else ""
            if re.fullmatch(r"SC|BL|[VRUT]\d\d|ST|PW|RS1|TRANS|LOG|SCREEN", code):
                return replace(found, value=code)
            if found:
                visit.flag(f"the visit {found.value!r} has no known code")
        table, month = visits
        rows = [row for row in visit.rows(table) if row.get(is_done[0]) == is_done[1]]
        lags = [(count_months(visit.facts.get("date", ""), row.get(month, "")), row) for row in rows]
        near = [(abs(lag), row["event_id"]) for lag, row in lags if lag is not None and abs(lag) <= 3]
        return Found(min(near)[1], f"{table}:{month}") if near else Found("UNK", "no table")

    return find_event


XML_AGE = Cell(XML.name, "subjectage")
XML_SEX = Cell(XML.name, "subjectsex", SEXES)
COLLECTION_AGE = Cell(COLLECTION.name, "age")
COLLECTION_VISIT, XML_VISIT = Cell(COLLECTION.name, "visit"), Cell(XML.name, "visitidentifier")
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
