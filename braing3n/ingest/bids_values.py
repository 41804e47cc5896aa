"""Cells of a BIDS table as values: ages with their units, codes with their levels, numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from braing3n.cohort.records import to_number

DIAGNOSES = ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "ADHD", "GBM", "Glioma", "Paediatric")
# Spellings that datasets use, without punctuation; anything else stays in dx_detail and leaves dx empty.
_SPELLINGS = {
    "HC": "control, controls, healthy, healthy control, healthy controls, healthy volunteer, "
    "healthy volunteers, healthy subject, cn, nc, hv, cognitively normal, "
    "normal control, td, tdc, typically developing, typically developing control, "
    "typically developing controls, typical, neurotypical",
    "MCI": "mild cognitive impairment",
    "AD": "alzheimer, alzheimers, alzheimers disease, alzheimer disease",
    "PD": "parkinson, parkinsons, parkinsons disease, parkinson disease",
    "ASD": "autism, autism spectrum disorder",
    "SCZ": "schizophrenia, schz, schiz",
    "ADHD": "attention deficit hyperactivity disorder",
    "GBM": "glioblastoma, glioblastoma multiforme",
}
DX_CODES = {name.lower(): name for name in DIAGNOSES} | {
    spelling: dx for dx, text in _SPELLINGS.items() for spelling in text.split(", ")
}
SEX_CODES = dict.fromkeys(("f", "female", "woman", "girl"), "F")
SEX_CODES |= dict.fromkeys(("m", "male", "man", "boy"), "M") | dict.fromkeys(("o", "other"), "")
HUMAN = ("homo sapiens", "human")
HAND_CODES = dict.fromkeys(("r", "right"), "R") | dict.fromkeys(("l", "left"), "L")
HAND_CODES |= dict.fromkeys(("a", "ambi", "ambidextrous", "both", "mixed"), "A")
EDINBURGH_CUT = 40  # of the inventory's -100 to 100: above is a right hand, below its negative a left one
LEAST_SCORE = 4  # smaller numbers may be codes
# Words around a diagnosis that say nothing: `Alzheimer Disease Group`, `patients with schizophrenia`.
PADDING = {"group", "patient", "patients", "participant", "participants", "individuals", "people", "with"}
MISSING = ("", "n/a", "na", "nan", "none", "null", "unknown")
DAYS_PER_YEAR = 365.25
# unit, as people write it -> years
UNITS = {
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 1.0),
    **dict.fromkeys(("m", "mo", "mos", "month", "months"), 1 / 12),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 7 / DAYS_PER_YEAR),
    **dict.fromkeys(("d", "day", "days"), 1 / DAYS_PER_YEAR),
}
OLDEST_YEARS = 120.0


def is_missing(text: str) -> bool:
    """Whether a cell stands for nothing."""
    return text.strip().lower() in MISSING


def parse_age(text: str, unit: str = "") -> float | None:
    """An age in years, or None where it is none: `31`, `031Y` (DICOM), `6 months`, `60` with the unit months.

    unit is what the table's description gives for a bare number; empty means years. A limit (`89+`), a range,
    a decimal comma and an age above 120 years are no ages.

    >>> parse_age("006M")
    0.5
    >>> parse_age("60", "months")
    5.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\.?", text.strip().lower())
    scale = UNITS.get((match[2] or unit.strip().lower() or "y") if match else "")
    if match is None or scale is None:
        return None
    years = float(match[1]) * scale
    return years if years <= OLDEST_YEARS else None


def spell_out(text: str, levels: Mapping[str, str]) -> str:
    """What a code means by the `Levels` of the table's description; the code itself where they are silent."""
    code = text.strip().casefold()
    number = to_number(code)
    for level, meaning in levels.items():
        if level.strip().casefold() == code or (number is not None and to_number(level) == number):
            return meaning
    return text


def decode(text: str, levels: Mapping[str, str], codes: Mapping[str, str]) -> str | None:
    """Our value of a code, by its level's meaning first; None where it has none.

    >>> decode("1", {"1": "male"}, SEX_CODES)
    'M'
    """
    for spelling in (spell_out(text, levels), text):
        plain = re.sub(r"['’.]", "", spelling).replace("_", " ").replace("-", " ").lower().split()
        for words in (plain, [word for word in plain if word not in PADDING]):
            value = codes.get(" ".join(words))
            if value is not None:
                return value
    return None


def decode_hand(text: str, levels: Mapping[str, str]) -> str | None:
    """R, L or A of a code or of a score of the Edinburgh inventory; None where it has none.

    >>> decode_hand("-84", {}), decode_hand("Right", {}), decode_hand("1", {})
    ('L', 'R', None)
    """
    score = to_number(text)
    if levels or score is None or not LEAST_SCORE <= abs(score) <= 100:
        return decode(text, levels, HAND_CODES)
    return "A" if abs(score) < EDINBURGH_CUT else "R" if score > 0 else "L"
