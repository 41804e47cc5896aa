"""Pairs of an earlier and a later visit of one person, with what is known at the earlier one."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from braing3n.longitudinal.contracts import PAIRS
from braing3n.longitudinal.settings import LongitudinalSettings

MIN_TRAINING_PAIRS = 2  # whose differences have a deviation


def list_visits(labels: pd.DataFrame, settings: LongitudinalSettings) -> pd.DataFrame:
    """One volume a visit of the configured cohorts and modality, each person's in order of age.

    Of several scans of a visit the first by name is taken. The index is that of the labels.
    """
    is_wanted = labels["modality"] == settings.modality
    if settings.cohorts:
        is_wanted &= labels["cohort"].isin(settings.cohorts)
    visits = labels[is_wanted].sort_values("volume_id")
    visits = visits.drop_duplicates(["person_id", "cohort", "subject_id", "session_id"])
    return visits.sort_values(["person_id", "age_years", "volume_id"])


def list_pairs(labels: pd.DataFrame, settings: LongitudinalSettings) -> tuple[pd.DataFrame, list[str]]:
    """Every earlier-later pair of visits of a person, and sentences about visits that make none.

    The years between are the difference of the ages, so a visit without an age is in no pair, and visits at
    one age are not ordered. Of the later visit only its age and its scanner are used.
    """
    rows, ageless, ageing_not = [], 0, 0
    for _, visits in list_visits(labels, settings).groupby("person_id", sort=True):
        known = visits[visits["age_years"].notna()]
        ageless += len(visits) - len(known) if len(visits) > 1 else 0
        ageing_not += len(known) > 1 and known["age_years"].nunique() == 1
        for earlier, later in combinations(known.itertuples(), 2):
            years = later.age_years - earlier.age_years
            if years >= settings.min_years and earlier.dx in settings.diseases:
                rows.append(describe_baseline(earlier) | describe_later(earlier, later))
    flags = []
    if ageless:
        flags.append(f"{ageless} visits of people with several have no age and are in no pair")
    if ageing_not:
        flags.append(f"{ageing_not} people have one age at several visits; these visits are in no pair")
    kinds = {name: {str: "str", float: "float64"}[kind] for name, (kind, _) in PAIRS.items()}
    return pd.DataFrame(rows, columns=list(PAIRS)).astype(kinds), flags


def describe_baseline(visit) -> dict:
    """What a pair or a forecast takes from the earlier visit, a row of the label table."""
    names = ("volume_id", "person_id", "group_id", "split", "sex", "age_years", "cdr")
    return {name: getattr(visit, name) for name in names} | {"disease": visit.dx}


def describe_later(earlier, later) -> dict:
    """The later visit's volume, the years until then, and whether the scanner is another one."""
    facts = [(getattr(earlier, name), getattr(later, name)) for name in ("vendor", "field_strength_t")]
    is_known = all(a == a and b == b and a != "" and b != "" for a, b in facts)
    is_other = any(a == a and b == b and "" not in (a, b) and a != b for a, b in facts)
    scanner = "other" if is_other else "same" if is_known else "unknown"
    years = later.age_years - earlier.age_years
    return {"later_volume_id": later.volume_id, "years": years, "scanner": scanner}


def explain_absence(pairs: pd.DataFrame, settings: LongitudinalSettings) -> str:
    """Why no bridge can be trained on these pairs, or '' where one can."""
    n = (pairs["split"] == "train").sum()
    if n >= MIN_TRAINING_PAIRS:
        return ""
    whose = ", ".join(settings.cohorts) or "any cohort"
    return (
        f"{n} pairs of {settings.modality} visits of {whose} in the training split, of people with "
        f"{', '.join(settings.diseases)}, at least {settings.min_years:g} years apart"
    )
