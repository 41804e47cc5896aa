"""What a DICOM series says of its scan, from a list of harmless tags; nobody's name is ever read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

# Only these elements are read from a file; the two sequences hold the geometry of multi-frame images.
TAGS = (
    "Manufacturer",
    "ManufacturerModelName",
    "MagneticFieldStrength",
    "AcquisitionDate",
    "SeriesDate",
    "StudyDate",
    "PatientAge",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "EchoTime",
    "ImageType",
    "SeriesDescription",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
NUMBERS = re.compile(r"(\d+)")
VENDORS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "canon": "Canon",
    "toshiba": "Canon",
    "uih": "United Imaging",
    "united imaging": "United Imaging",
    "general electric": "GE",
    "ge": "GE",
}
FIELD_STRENGTHS_T = (0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 3.0, 4.0, 4.7, 7.0, 9.4)
MAX_TESLA = 20.0
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def read_header(paths: Sequence[str | Path]) -> dict[str, str]:
    """The facts of one DICOM series, all as text; a fact that is missing is left out.

    The first file's header is read and, of several files, the last one's for the other echo.

    Args:
        paths: all files of the series, in any order; they count as its slices.

    Returns:
        vendor, model, field_strength_t, scan_date (ISO), age_years, rows, columns, n_slices (of one echo),
        spacing_mm (the largest of the three), extent_mm (of the shortest side), echo_times_ms
        (comma-separated, shortest first), image_type, description. Empty where the file cannot be read or is
        no DICOM.
    """
    files = [(_order_naturally(path), path) for path in map(str, paths)]
    ends = dict.fromkeys((min(files)[1], max(files)[1])) if files else ()
    headers = [_read(Path(path)) for path in ends]
    if not headers or headers[0] is None:
        return {}
    first, groups = headers[0], _list_groups(headers[0])
    echo_times = sorted({time for header in headers if header is not None for time in _list_echoes(header)})
    n_frames = len(files) * max(1, _try(lambda: int(first.NumberOfFrames)) or 1)
    spacing = _find_spacing(groups)
    counts = [_try(lambda n=name: int(first[n].value)) for name in ("Rows", "Columns")]
    counts.append(n_frames // max(1, len(echo_times)))
    facts = {
        "vendor": _try(lambda: normalise_vendor(first.Manufacturer)),
        "model": _try(lambda: str(first.ManufacturerModelName).strip()),
        "field_strength_t": _try(lambda: round_field_strength(float(first.MagneticFieldStrength))),
        "scan_date": _find_date(first),
        "age_years": _try(lambda: _read_age(first.PatientAge)),
        "rows": _try(lambda: str(int(first.Rows))),
        "columns": _try(lambda: str(int(first.Columns))),
        "n_slices": str(n_frames // max(1, len(echo_times))),
        "spacing_mm": f"{max(spacing):g}" if spacing else "",
        "extent_mm": _find_extent(counts, spacing),
        "echo_times_ms": ",".join(f"{time:g}" for time in echo_times),
        "image_type": _try(lambda: "\\".join(first.ImageType)),
        "description": _try(lambda: str(first.SeriesDescription).strip()),
    }
    return {name: value for name, value in facts.items() if value}


def normalise_vendor(text: str) -> str:
    """Siemens, GE, Philips, Canon or United Imaging, however it is spelled; another as it stands."""
    words = str(text).strip()
    for spelling, vendor in VENDORS.items():
        if re.search(rf"(?<![a-z]){spelling}" + ("(?![a-z])" if spelling == "ge" else ""), words.lower()):
            return vendor
    return words


def round_field_strength(value: float) -> str:
    """Text in tesla: the usual strength within a tenth of it (1.494 is 1.5); above 20 the value is gauss.

    Empty where it is no scanner's: under 0.01 tesla or above 20.
    """
    tesla = value / 10_000 if value > MAX_TESLA else value
    usual = min(FIELD_STRENGTHS_T, key=lambda strength: abs(strength - tesla))
    nominal = usual if abs(usual - tesla) <= 0.1 * usual else round(tesla, 2)
    return f"{nominal:g}" if 0 < nominal <= MAX_TESLA else ""


def _order_naturally(path: str) -> list:
    """Numbers in a name count as numbers, so that the last file is the last image."""
    parts = NUMBERS.split(path.rpartition("/")[2])
    parts[1::2] = map(int, parts[1::2])  # what the split keeps stands at odd places
    return parts


def _read(path: Path):
    """The whitelisted elements of a file; None where it is no DICOM."""
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the values that are odd
            return dcmread(path, stop_before_pixels=True, specific_tags=_list_tags())
    except Exception:  # whatever is wrong with it, its message may quote the file
        return None


@cache
def _list_tags() -> list:
    """The whitelist as numbers, which pydicom would look up for every file."""
    from pydicom.tag import Tag

    return [Tag(name) for name in TAGS]


def _try(read: Callable[..., Any]) -> Any:
    """A fact, or nothing where its element is missing or unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except Exception:
        return ""


def _list_groups(header) -> list:
    """Where geometry and echoes stand: the header, and its functional groups, shared ones first."""
    groups = [header]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in _try(lambda name=name: list(header[name].value)) or []:
            for inner in ("PixelMeasuresSequence", "MREchoSequence"):
                groups += _try(lambda item=item, inner=inner: list(item[inner].value)) or []
    return groups


def _list_echoes(header) -> set[float]:
    """Echo times, ms."""
    groups = _list_groups(header)
    names = ("EchoTime", "EffectiveEchoTime")
    times = {_try(lambda g=group, n=name: round(float(g[n].value), 3)) for group in groups for name in names}
    return {time for time in times if time}


def _find_spacing(groups: list) -> list[float]:
    """Edges of a voxel in mm; the distance of slices before their thickness."""
    for group in groups:
        edges = _try(lambda group=group: [float(edge) for edge in group.PixelSpacing])
        if edges:
            break
    else:
        return []
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        for group in groups:
            distance = _try(lambda group=group, name=name: abs(float(group[name].value)))
            if distance:
                return [*edges, distance]
    return edges


def _find_extent(counts: list, edges_mm: list[float]) -> str:
    """The smallest side of what the series shows; empty where it cannot be known."""
    if len(edges_mm) < 3 or not all(counts):
        return ""
    return f"{min(n * edge for n, edge in zip(counts, edges_mm, strict=True)):g}"


def _find_date(header) -> str:
    """ISO, of the acquisition if given, else of the series or the study."""
    for name in ("AcquisitionDate", "SeriesDate", "StudyDate"):
        date = _try(lambda name=name: datetime.strptime(str(header[name].value), "%Y%m%d").date().isoformat())
        if date:
            return date
    return ""


def _read_age(text: str) -> str:
    """Years from `062Y`, `018M`, `030W` or `100D`; a bare number is years."""
    match = re.fullmatch(r"\s*(\d+)\s*([YMWD]?)\s*", str(text).upper())
    return f"{round(int(match[1]) * YEARS[match[2] or 'Y'], 2):g}" if match else ""
