"""Sources of fields that several cohorts need: ages from birth, genotypes, flags, sums, what is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from braing3n.cohort import Cell, Found, Source, Table, Visit
from braing3n.cohort.dates import parse_date, years_between
from braing3n.cohort.headers import normalise_vendor, round_field_strength
from braing3n.cohort.nitrc import count_session
from braing3n.cohort.records import NO_PHENOTYPE, to_number
from braing3n.core.errors import CohortError

# The words of the Reproducible Brain Charts, in lower case; the years of a school's end are a convention.
EDUCATION_YEARS = {
    **{"pre-kindergarten": "0", "kindergarten": "0", "1st grade": "1", "2nd grade": "2", "3rd grade": "3"},
    **{f"{number}th grade": str(number) for number in range(4, 13)},
    **{"high school diploma": "12", "some college": "14", "bachelor's degree": "16", "graduate degree": "18"},
}
CHARTS = {
    "age_years": Cell("charts", "age"),
    "sex": Cell("charts", "sex", {"male": "M", "female": "F", "other": ""}),
    "handedness": Cell("charts", "handedness", {"right": "R", "left": "L", "ambidextrous": "A"}),
    "ethnicity": Cell(
        "charts",
        "ethnicity",
        {"not hispanic or latino": "Not Hispanic", "hispanic or latino": "Hispanic"},
    ),
    "race": Cell("charts", "race", {"white": "White", "black": "Black", "asian": "Asian", "other": "Other"}),
    "education_years": Cell("charts", "participant_education", EDUCATION_YEARS),
    "education_is_coded": Cell("charts", "participant_education", dict.fromkeys(EDUCATION_YEARS, "true")),
}
# The facts of `sidecar_table`.
SCANNER = {
    "vendor": Cell("sidecar", "Manufacturer"),
    "field_strength_t": Cell("sidecar", "MagneticFieldStrength"),
}


def _find_cells(visit: Visit, table: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[Found]]]:
    """The alternatives that are complete, and their cells; `a+b` are two columns that belong together."""
    for names in columns:
        found = [visit.find(table, name) for name in names.split("+")]
        cells = [cell for cell in found if cell]
        if len(cells) == len(found):
            yield f"{table}:{names}", cells


def read_birth_age(table: str, *columns: str) -> Source:
    """A source of age: the years from the birth to the scan.

    Args:
        columns: alternatives: a date or month of birth, or `month+year`.
    """

    def find_age(visit: Visit) -> Found | None:
        scan_day = parse_date(visit.facts.get("date", ""))
        for source, cells in _find_cells(visit, table, columns):
            text = "/".join(cell.value for cell in cells)
            birth_day = parse_date(text)
            if scan_day and birth_day:
                return Found(f"{years_between(birth_day, scan_day):.4f}", source)
            if birth_day is None and not text.startswith("9999"):
                visit.flag(f"{source}: {text!r} is no date")
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
    """What several columns say, each in codes of its own: the nearest row counts, then the columns' order.

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
    """A source from columns of 0 and 1, column -> value; `several` where more than one is 1."""

    def find_flags(visit: Visit) -> Found | None:
        cells = {column: visit.find(table, column) for column in flags}
        described = [column for column, cell in cells.items() if cell and to_number(cell.value) == 1]
        value = flags[described[0]] if len(described) == 1 else several
        return Found(value, f"{table}:{'+'.join(described)}") if described else None

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


def read_sidecar(path: Path) -> list[dict[str, str]]:
    """A BIDS sidecar as the one row of a table: `image` (its name), `manufacturer`, `magneticfieldstrength`.

    Raises:
        CohortError: it is not empty, but no JSON object either.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8-sig") or "{}")
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        raise CohortError(f"{path}: is not a valid sidecar (JSON); correct or remove it.")
    strength = to_number(
        re.sub(r"\s*T(esla)?$", "", str(described.get("MagneticFieldStrength", "")), flags=re.I)
    )
    return [
        {
            "image": path.stem,
            "manufacturer": normalise_vendor(str(described.get("Manufacturer", ""))),
            "magneticfieldstrength": round_field_strength(strength) if strength else "",
        }
    ]


def charts_table(study: str, **key: str) -> Table:
    """The table `charts`: what the Reproducible Brain Charts give of a study; further columns of its key."""
    files = rf"study-{study}_desc-participants\.tsv"
    return Table("charts", files, {"participant_id": "subject", **key}, normalise=strip_prefix)


def strip_prefix(text: str) -> str:
    """`sub-A00099901` is A00099901, `ses-BAS1` is BAS1, and `clg_2` is CLG2."""
    return re.sub(r"^(sub|ses)-", "", text.strip()).replace("_", "").upper()


def sidecar_table(suffixes: str = "T1w|T2w|FLAIR") -> Table:
    """The table `sidecar` of a BIDS tree; its key is the scan's fact `image`, the name without `.nii.gz`."""
    files = rf"sub-.*_({suffixes})\.json"
    return Table("sidecar", files, {"image": "image"}, read=read_sidecar, is_newest_only=False)


def need_row(*tables: str) -> Source:
    """A source without a value: it flags a scan that none of these tables knows; a sidecar is no label."""

    def check_rows(visit: Visit) -> None:
        if not any(visit.rows(table) for table in tables):
            visit.flag(NO_PHENOTYPE)

    return check_rows


# `session_1`, `ses-1`, or as in the NITRC Image Repository `NYU_19902_1` and `BNU_29901_baseline`.
SESSION_DIR = re.compile(
    r"(session_|ses-|[^/]*\d{4}_)(\d{1,3}|baseline|retest_\d+|followup_\d+)", re.IGNORECASE
)


def list_session_dirs(visit: Visit) -> list[tuple[int, Path]]:
    """The session folders of the scan's subject with their numbers, in order."""
    folder = Path(visit.facts["folder"])
    paths = (folder, *folder.parents)
    matches = ((match, path.parent) for path in paths if (match := SESSION_DIR.fullmatch(path.name)))
    own, subject_dir = next(matches, (None, folder))
    if own is None:
        return []
    prefix = own[1].lower()
    found = [(SESSION_DIR.fullmatch(path.name), path) for path in subject_dir.iterdir()]
    return sorted(
        (int(count_session(match[2])), path) for match, path in found if match and match[1].lower() == prefix
    )


def keep_first_session(images: tuple[str, ...], option: str) -> Callable[[Visit], str]:
    """Leaves out a subject's later sessions, unless the option is on.

    Args:
        images: globs below a session's folder; an earlier session without such a file does not count.
    """

    def explain(visit: Visit) -> str:
        if visit.options[option]:
            return ""
        earlier = [path for number, path in list_session_dirs(visit) if number < int(visit.facts["session"])]
        taken = (image for path in earlier for glob in images for image in sorted(path.glob(glob)))
        first = next(taken, None)
        return f"a later session; {first.as_posix()} is taken" if first else ""

    return explain


def from_field(field: str, codes: Mapping[str, str], source: str) -> Source:
    """A source for what follows from another field's value, by codes; unknown there: no value."""
    return lambda visit: Found(codes[value], source) if (value := visit.ask(field)) in codes else None


def from_option(name: str) -> Source:
    """A source for a fact that no file gives: the option of that name."""
    return lambda visit: Found(visit.options[name], f"option:{name}")
