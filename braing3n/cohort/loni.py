"""What downloads of the LONI archive share: the folder scheme, collection tables and an XML file an image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from braing3n.cohort import Cell, Fact, Found, Source, Table, Visit
from braing3n.cohort.dates import parse_date
from braing3n.cohort.headers import normalise_vendor
from braing3n.cohort.records import to_number
from braing3n.cohort.sources import read_genotype
from braing3n.core.errors import CohortError

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


def find_roster_id(text: str) -> str:
    """`901_S_0001` and the roster id 1 are one participant."""
    return text.strip().upper().rpartition("_S_")[2].removesuffix(".0").lstrip("0")


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
    """Whether the header gives echo times, all as short as T1-weighted heads have them."""
    times_ms = [to_number(text) for text in facts.get("echo_times_ms", "").split(",")]
    return all(time_ms is not None and time_ms <= max_ms for time_ms in times_ms)


def classify_size(facts: Mapping[str, str], max_spacing_mm: float, min_voxels: int) -> str:
    """What `Cohort.classify` says of a series that is too thick or too small by its header; empty: it is not.

    The slices of all echoes count: a dual-echo series may have few of each.
    """
    spacing_mm = to_number(facts.get("spacing_mm", ""))
    if spacing_mm is not None and spacing_mm > max_spacing_mm:
        return f"-spacing {spacing_mm:g} mm, over {max_spacing_mm:g} mm"
    n_echoes = len(facts.get("echo_times_ms", "").split(","))
    known = [to_number(facts.get(name, "")) for name in ("rows", "columns", "n_slices")]
    sizes = [size for size in known if size is not None]
    if len(sizes) < 3 or min(sizes[0], sizes[1], sizes[2] * n_echoes) >= min_voxels:
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
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: of its encoding
        raise CohortError(f"{path}: cannot be read as XML ({error}); download it again.") from None
    image = root.find(".//{*}derivedProduct/{*}imageUID")
    image = root.find(".//{*}imagingProtocol/{*}imageUID") if image is None else image
    if image is None or not image.text or not image.text.strip():
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
# The archive's answer to a search, whose columns the user picks; without the image's id the day joins.
_SEARCHES = r"idaSearch.*\.csv"
SEARCH = image_table("search", _SEARCHES, "image id", ("subject id",))
SEARCH_SUBJECTS = Table(
    "search_subjects", _SEARCHES, {"subject id": "subject"}, ("subject id",), is_newest_only=False
)
SEARCH_DAYS = Table(
    "search_days",
    _SEARCHES,
    {"subject id": "subject"},
    ("study date",),
    date="study date",
    within_days=0,
    is_newest_only=False,
)
TABLES = (XML, COLLECTION, COLLECTION_SUBJECTS, SEARCH, SEARCH_DAYS, SEARCH_SUBJECTS)
_VISIT_COLUMNS = {"collection": "visit", "search": "visit", "search_days": "visit", "xml": "visitidentifier"}


def read_vendor(visit: Visit) -> Found | None:
    """A source of the vendor: the XML's manufacturer, one spelling a vendor."""
    found = visit.find(XML.name, "manufacturer")
    return found and replace(found, value=normalise_vendor(found.value))


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
            n_months = math.inf if months is None else abs(months)
            if value is not None and (name in wanted or n_months <= MAX_MONTHS):
                place = wanted.index(name) if name in wanted else len(wanted) + n_months
                start, end = parse_date(scan_date), parse_date(date)
                lag_days = (end - start).days if start and end else math.nan
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
            if found and re.fullmatch(r"SC|BL|[VRUT]\d\d|ST|PW|RS1|TRANS|LOG|SCREEN", code):
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
COLLECTION_SEX = Cell(COLLECTION_SUBJECTS.name, "sex", SEXES)
SEARCH_AGE = Cell(SEARCH_DAYS.name, "age")
VISITS = tuple(Cell(name, column) for name, column in _VISIT_COLUMNS.items())
SEARCH_SEX = Cell(SEARCH_SUBJECTS.name, "sex", SEXES)
XML_APOE = read_genotype(XML.name, "apoe a1+apoe a2")
# Columns of the enrolment group: of the image's own XML, else of any image of the participant.
GROUPS = (
    (XML.name, "researchgroup"),
    (COLLECTION_SUBJECTS.name, "group"),
    (SEARCH_SUBJECTS.name, "research group"),
)
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
