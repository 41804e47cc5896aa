"""Volumes by one tool, arm by arm: generated, reconstructed and real people against each other.

Two effects are measured: how far an arm's people differ, and, over the three arms of age, by how many ml a
volume changes with a year of age: of the age asked for in samples, of their own in real people. The latter
are of the same three windows of age, so that a change that is no line is seen by all sets alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braing3n.fidelity.anatomy.effects import SIZE, SLOPE, Effect, compare_sets
from braing3n.fidelity.arms import ARMS, Arm, choose_real, select_samples
from braing3n.fidelity.contracts import SETS
from braing3n.fidelity.measure import COMPARISONS
from braing3n.fidelity.settings import FidelitySettings

AGES = "Age 30, 50 and 70 (T1)"
AGE_ARMS = tuple(arm for arm in ARMS if "age_years" in arm.conditions)
SIZED_ARMS = tuple(arm for arm in ARMS if arm.conditions)
EMPTY: dict[str, Any] = {
    **{
        f"{name}{end}": np.nan
        for name in ("first", "second", "value", "floor")
        for end in ("", "_low", "_high")
    },
    **dict.fromkeys(("n_floor_people", "n_others"), 0),
}


@dataclass(frozen=True)
class Measured:
    """Volumes in ml by one tool.

    Attributes:
        tool: its name.
        names: of the K volumes.
        ml: by set, a row for each row of the sample table (M, K) or of the label table (N, K); NaN where a
            volume was not measured or is not relied on.
        is_seen: by set, (M,) or (N,): which were measured; those with a NaN are counted as left out.
    """

    tool: str
    names: tuple[str, ...]
    ml: dict[str, np.ndarray]
    is_seen: dict[str, np.ndarray]

    def split(self, name: str, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """Of some rows of a set those that can be used, and how many were measured and cannot."""
        seen = rows[self.is_seen[name][rows]]
        is_whole = np.isfinite(self.ml[name][seen]).all(axis=1)
        return seen[is_whole], int((~is_whole).sum())


@dataclass(frozen=True)
class Asked:
    """Which rows of each set an effect is measured on, and the ages of all rows."""

    title: str
    effect: Effect
    rows: dict[str, np.ndarray]
    age_years: dict[str, np.ndarray]


def choose_segmented(
    arm: Arm, samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings
) -> np.ndarray:
    """Rows of the real people of an arm whose anatomy is measured, the first of those of its distances."""
    n_samples = int(select_samples(arm, samples).sum())
    return choose_real(arm, labels, n_samples, settings)[: settings.n_segmented]


def list_segmented(samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings) -> np.ndarray:
    """Rows of all real people whose anatomy is measured in any arm that has samples, in order."""
    arms = [arm for arm in SIZED_ARMS if select_samples(arm, samples).any()]
    rows = (choose_segmented(arm, samples, labels, settings) for arm in arms)
    return np.unique(np.concatenate([np.zeros(0, int), *rows]))


def list_asked(samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings) -> list[Asked]:
    """The effect size of each arm, and the age slope over the arms of age."""
    ages = {"generated": samples["age_years"].to_numpy(float)}
    ages |= dict.fromkeys(("reconstructed", "real"), labels["age_years"].to_numpy(float))

    def ask(title: str, effect: Effect, sampled: np.ndarray, real: np.ndarray) -> Asked:
        rows = {"generated": np.flatnonzero(sampled), "reconstructed": real, "real": real}
        return Asked(title, effect, rows, ages)

    found = [
        ask(arm.title, SIZE, select_samples(arm, samples), choose_segmented(arm, samples, labels, settings))
        for arm in SIZED_ARMS
    ]
    aged = np.concatenate([choose_segmented(arm, samples, labels, settings) for arm in AGE_ARMS])
    _, first = np.unique(labels["group_id"].to_numpy(str)[aged], return_index=True)
    sampled = np.any([select_samples(arm, samples) for arm in AGE_ARMS], axis=0)
    return [*found, ask(AGES, SLOPE, sampled, aged[np.sort(first)])]


def compare_anatomy(
    measured: Measured,
    samples: pd.DataFrame,
    labels: pd.DataFrame,
    settings: FidelitySettings,
    why_not: str = "",
) -> pd.DataFrame:
    """A row an arm, comparison and volume; what cannot be measured has a reason.

    Args:
        measured: volumes of the samples and of real people.
        why_not: the reason why nothing was measured at all.
    """
    rows: list[dict] = []
    for asked in list_asked(samples, labels, settings):
        for comparison in COMPARISONS:
            base = {"arm": asked.title, "tool": measured.tool, "comparison": comparison}
            base["quantity"] = asked.effect.quantity
            found = compare_asked(measured, asked, comparison, settings, why_not)
            rows.extend({**base, **row} for row in found)
    return pd.DataFrame(rows)


def compare_asked(
    measured: Measured, asked: Asked, comparison: str, settings: FidelitySettings, why_not: str = ""
) -> list[dict]:
    """A row a volume of one comparison; as `compare_anatomy`."""
    first, second = COMPARISONS[comparison]
    used, left_out = {}, {}
    for name in SETS:
        used[name], left_out[name] = measured.split(name, asked.rows[name])
    if first != "generated":  # the same people on both sides
        used[first] = used[second] = np.intersect1d(used[first], used[second])
    n_samples, n_real = len(used["generated"]), len(used[second])
    has_floor = n_real >= n_samples + settings.min_people
    row: dict[str, Any] = {"reason": "", "floor_reason": "", **EMPTY}
    row |= {"n_first": len(used[first]), "n_first_left_out": left_out[first]}
    row |= {"n_second": n_real, "n_second_left_out": left_out[second]}
    if not has_floor:
        row["floor_reason"] = (
            f"{n_real} unrelated people leave fewer than {settings.min_people} beside {n_samples}"
        )
    row["reason"] = why_not or _explain(asked, used, first, second, settings)
    if not row["reason"] and first != "generated" and not has_floor:
        row["reason"] = row["floor_reason"]
    if row["reason"]:
        row["floor_reason"] = row["floor_reason"] or row["reason"]
        return [row | {"volume": name} for name in measured.names]
    of_first, of_second = (
        np.column_stack([asked.age_years[name][used[name]], measured.ml[name][used[name]]])
        for name in (first, second)
    )
    n_people = n_samples * has_floor
    row |= {"n_floor_people": n_people, "n_others": n_real - n_people}
    is_dealt = first != "generated"
    found = compare_sets(asked.effect, of_first, of_second, n_people, is_dealt, settings.seed)
    rows = [
        row | {"volume": name} | {part: float(values[k]) for part, values in found.items()}
        for k, name in enumerate(measured.names)
    ]
    alike = "all of these people have one volume"
    return [one if np.isfinite(one["value"]) else one | {"reason": alike} for one in rows]


def _explain(asked: Asked, used: dict, first: str, second: str, settings: FidelitySettings) -> str:
    """Why an effect cannot be measured, or ''."""
    n_samples = len(used["generated"])
    if n_samples < 2:
        return f"{n_samples} of {len(asked.rows['generated'])} samples of this arm have volumes to rely on"
    for name in (first, second):
        if name != "generated" and len(used[name]) < settings.min_people:
            return (
                f"{len(used[name])} {name} people with volumes to rely on, fewer than {settings.min_people}"
            )
        if asked.effect is SLOPE and len(np.unique(asked.age_years[name][used[name]])) < 2:
            return f"{name} people of one age have no slope"
    return ""
