"""Conditions that a user names, checked against the classes of a model, and warnings about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braing3n.core.errors import BrainG3nError

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.diffusion.model import DiT

AGES_YEARS = (0, 130)
FAR = 99.0  # percentile of the training volumes' distance above which a scan is unlike them


@dataclass(frozen=True)
class Conditions:
    """Conditions of an image; empty and NaN are not given."""

    disease: str = ""
    sex: str = ""
    modality: str = ""
    site: str = ""
    age_years: float = math.nan
    idh1: str = ""

    def over(self, other: Conditions) -> Conditions:
        """These conditions, and the other's for those that are not given."""
        mine = {name: value for name, value in vars(self).items() if value not in ("",) and value == value}
        return Conditions(**(vars(other) | mine))

    def describe(self) -> dict[str, Any]:
        """The conditions that are given."""
        return {name: value for name, value in vars(self).items() if value != "" and value == value}


def check_conditions(conditions: Conditions, model: DiT, prefix: str = "") -> None:
    """Check that the model has every class, and that the age is plausible; prefix: of the options' names.

    Raises:
        BrainG3nError: names the option, and lists the right values.
    """
    for name in ("disease", "sex", "modality", "site", "idh1"):
        check_class(prefix + name, getattr(conditions, name), getattr(model.vocabularies, name))
    check_range(f"{prefix}age", conditions.age_years, *AGES_YEARS)


def check_class(name: str, value: str, known: Iterable[str]) -> None:
    """Check that a class is one of the known ones, or is not given.

    Raises:
        BrainG3nError: names the option, and lists the right values.
    """
    if value and value not in known:
        raise BrainG3nError(
            f"--{name} {value}: this model knows {', '.join(known) or 'none'}; give one of these."
        )


def check_range(name: str, value: float, low: float, high: float, is_needed: bool = False) -> None:
    """Check that a number lies between two others, or is not given (NaN) and not needed.

    Raises:
        BrainG3nError: names the option and the range.
    """
    if (value == value or is_needed) and not low <= value <= high:
        raise BrainG3nError(f"--{name} {value:g}: give a number of {low:g} to {high:g}.")


def tabulate(conditions: Conditions, names: Iterable[str]) -> pd.DataFrame:
    """The table of samples with these conditions, one row a name."""
    import pandas as pd

    return pd.DataFrame([{"sample_id": name, "arm": "", **vars(conditions)} for name in names])


def warn_of_age(age_years: float, population: Mapping[str, Any]) -> list[str]:
    """A warning if an age lies outside those of the training people."""
    if age_years != age_years or not population["age_years"]:
        return []
    low, high = population["age_years"]["min"], population["age_years"]["max"]
    if low <= age_years <= high:
        return []
    return [f"an age of {age_years:g} years is outside the training people's, {low:g} to {high:g}"]


def warn_of_conditions(conditions: Mapping[str, Any], population: Mapping[str, Any]) -> list[str]:
    """Warnings about an age or a class of which there were hardly any training people.

    The model has a place for every configured class, also for one that it never saw.
    """
    warnings = warn_of_age(conditions.get("age_years", math.nan), population)
    for name, groups in {"disease": "diseases", "sex": "sexes", "site": "sites", "idh1": "idh1"}.items():
        value = conditions.get(name)
        if value and groups in population and not population[groups].get(value):
            warnings.append(f"hardly any or no training person has the {name} {value}")
    return warnings + warn_of_modality(conditions.get("modality", ""), population)


def warn_of_years(years: float, population: Mapping[str, Any]) -> list[str]:
    """A warning if a forecast goes farther than training people were followed; months, perhaps."""
    followed = population.get("years_followed", years)
    if years <= followed:
        return []
    return [
        f"a forecast of {years:g} years goes beyond the {followed:g} years of the training people's visits"
    ]


def warn_of_modality(modality: str, population: Mapping[str, Any]) -> list[str]:
    """A warning if hardly any or no training volume has a modality."""
    if not modality or population["modalities"].get(modality):
        return []
    return [f"hardly any or no training volume is a {modality}"]


def warn_of_scan(
    modality: str, percentile: float, lost_share: float, population: Mapping[str, Any]
) -> list[str]:
    """Warnings about one scan: an unseen modality, an unusual brain, a box that cuts it."""
    warnings = warn_of_modality(modality, population)
    if percentile > FAR:
        warnings.append(
            f"its features are farther from the training volumes' than {percentile:.1f} % of these are: "
            "what the model says of it is not to be trusted"
        )
    if lost_share > 0.001:
        warnings.append(f"the model's box cuts off {100 * lost_share:.1f} % of the brain")
    return warnings
