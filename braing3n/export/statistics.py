"""Whom the models were trained on, as numbers: for warnings, and without anybody's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.contracts import MODALITIES

AGE_PERCENTILES = (5, 25, 50, 75, 95)
PERCENTILES = np.arange(101)
OLDEST_YEARS = 90  # no higher age is published: there are too few who have it
N_FOLDS = 5
GROUPS = ("modalities", "sexes", "diseases", "sites", "idh1")


def measure_space(features: np.ndarray, groups: np.ndarray, n_components: int) -> dict[str, np.ndarray]:
    """The training features' mean, leading directions and their spread, and percentiles of the distance.

    A scan's distance is Mahalanobis' in the leading principal components, with what lies outside them as one
    more. Percentiles are of training volumes' distances in the space of the other folds' people, since those
    that had a part in a space lie nearer in it than new ones do.

    Args:
        features: (N, F) of the training split.
        groups: (N,) group ids, which keep one person's scans in one fold.
    """
    space = _fit_space(features, n_components)
    _, number = np.unique(groups, return_inverse=True)
    fold, squared = number % N_FOLDS, np.zeros(len(features))
    for k in np.unique(fold):
        others = features[fold != k] if (fold != k).any() else features
        squared[fold == k] = _square(features[fold == k], _fit_space(others, n_components))
    return space | {"percentiles": np.percentile(np.sqrt(squared), PERCENTILES)}


def _fit_space(features: np.ndarray, n_components: int) -> dict[str, np.ndarray]:
    n, width = features.shape
    k = max(1, min(n_components, n // 4, width))
    mean = features.mean(axis=0)
    _, values, directions = np.linalg.svd(features - mean, full_matrices=False)
    spread = values[:k] / np.sqrt(max(n - 1, 1))
    rest = np.sqrt((values[k:] ** 2).sum() / max(n - 1, 1))
    least = max(1e-6 * spread[0], 1e-9)  # less is rounding, as of what lies outside all directions
    space = {"mean": mean, "directions": directions[:k], "spread": np.maximum(spread, least)}
    return space | {"rest": np.array([max(rest, least)])}


def _square(features: np.ndarray, space: dict[str, np.ndarray]) -> np.ndarray:
    centred = features - space["mean"]
    along = centred @ space["directions"].T
    left = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
    return ((along / space["spread"]) ** 2).sum(axis=1) + np.maximum(left, 0) / space["rest"][0] ** 2


def is_space(space: dict[str, np.ndarray], width: int) -> bool:
    """Whether arrays have the names and shapes of a space of features (N, width), and hold numbers only."""
    k = len(space["spread"]) if space.get("spread", np.zeros(())).ndim == 1 else 0
    shapes = {"mean": (width,), "directions": (k, width), "spread": (k,), "rest": (1,)}
    shapes |= {"percentiles": (len(PERCENTILES),)}
    found = {name: array.shape for name, array in space.items()}
    return found == shapes and all(np.isfinite(array).all() for array in space.values())


def is_population(population: Any) -> bool:
    """Whether the description of the training people has the form that warnings read."""
    if not isinstance(population, dict):
        return False
    ages = population.get("age_years")
    is_aged = ages == {} or (
        isinstance(ages, dict) and all(_is_number(ages.get(name)) for name in ("min", "max"))
    )
    groups = {name: population.get(name, {}) for name in GROUPS}
    is_counted = all(
        isinstance(group, dict) and all(map(_is_number, group.values())) for group in groups.values()
    )
    is_followed = _is_number(population.get("years_followed", 0))
    return is_aged and "modalities" in population and is_counted and is_followed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def find_percentiles(features: np.ndarray, space: dict[str, np.ndarray]) -> np.ndarray:
    """The share of training volumes in percent (N,) that lie nearer to the middle than features (N, F)."""
    return np.interp(np.sqrt(_square(features, space)), space["percentiles"], PERCENTILES)


def describe_follow_up(pairs: pd.DataFrame, min_count: int) -> int:
    """Whole years over which at least `min_count` training people were followed; 0: over none."""
    own = pairs[pairs["split"] == "train"].groupby("person_id")["years"].max().sort_values()
    return int(own.iloc[-min_count]) if len(own) >= min_count else 0


def find_step_years(n_people: int) -> int:
    """The step in which ages of so many people are published; the ends of few are one person's."""
    return 1 if n_people >= 100 else 5


def round_years(years: float, n_people: int) -> int:
    """The nearest age that is published of so many people."""
    step = find_step_years(n_people)
    return min(step * round(years / step), OLDEST_YEARS)


def describe_population(labels: pd.DataFrame, min_count: int, sites: Sequence[str]) -> dict[str, Any]:
    """Ages, sexes, modalities, diseases, sites and IDH1 statuses of the training split, no small group.

    Counts are of people, volumes aside, and rounded down to multiples of `min_count`: no group of fewer is
    seen, nor can it be had as a difference. Ages are whole years of the 1st to the 99th percentile of people;
    of fewer than 100 people they are multiples of five, about all. Those of a modality are percentiles over
    at least `min_count` people, whole years or multiples of five likewise. None is above 90.

    Args:
        sites: names that may be published, those of the generator's vocabulary.
    """
    own = labels[labels["split"] == "train"]
    # One number a person: of several scans of one person the ends would be that person's.
    ages = own.groupby("person_id")["age_years"].agg(["min", "max"]).dropna()
    step = find_step_years(len(ages))
    low, high = (0, 1) if step > 1 else (0.01, 0.99)
    ends = ages["min"].quantile(low), ages["max"].quantile(high)
    known = {} if ages.empty else {"min": int(ends[0] // step * step), "max": int(-(-ends[1] // step) * step)}
    known = {name: min(years, OLDEST_YEARS) for name, years in known.items()}

    def round_down(n: int) -> int:
        return int(n) // min_count * min_count

    def count(column: str) -> dict[str, int]:
        people = own[own[column] != ""].groupby(column)["person_id"].nunique()
        return {str(name): round_down(n) for name, n in people.items() if n >= min_count}

    by_modality = {
        name: own[own["modality"] == name].groupby("person_id")["age_years"].mean().dropna()
        for name in MODALITIES
    }
    return {
        "n_people": round_down(own["person_id"].nunique()),
        "n_volumes": round_down(len(own)),
        "age_years": known,
        "age_percentiles": {
            name: {f"p{k}": round_years(ages.quantile(k / 100), len(ages)) for k in AGE_PERCENTILES}
            for name, ages in by_modality.items()
            if len(ages) >= min_count
        },
        "sexes": count("sex"),
        "modalities": count("modality"),
        "diseases": count("dx"),
        "idh1": count("idh1"),
        "sites": {name: n for name, n in count("site").items() if name in sites},
    }
