"""Every arm's distances: generated, reconstructed and real, each beside a floor and its numbers.

A Fréchet distance between small sets is biased upwards, the more the smaller they are. So a distance and its
floor have the same numbers on both sides. A draw deals the arm's real people into `people`, as many as there
are samples, and `others`: the distance of the samples to the others is the value, that of the people to the
same others the floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.errors import ContractError
from braing3n.fidelity.arms import ARMS, Arm, choose_real, select_real, select_samples
from braing3n.fidelity.formulas.frechet import measure_frechet
from braing3n.fidelity.settings import FidelitySettings

QUANTITY = "Fréchet distance on MAE features"
NO_RECONSTRUCTIONS = "reconstructions were not encoded (no --tokens given)"
# What stands on the samples' side, and on the real side.
COMPARISONS = {
    "gen-vs-real": ("generated", "real"),
    "gen-vs-recons": ("generated", "reconstructed"),
    "recons-vs-real": ("reconstructed", "real"),
}


def measure_arms(
    generated: np.ndarray,
    samples: pd.DataFrame,
    real: np.ndarray,
    reconstructed: np.ndarray | None,
    labels: pd.DataFrame,
    settings: FidelitySettings,
) -> pd.DataFrame:
    """A row an arm and comparison; what cannot be measured has a reason.

    Args:
        generated: (M, F) features of the samples, whose conditions are `samples`.
        real: (N, F) features, and reconstructed: (N, F) of the same volumes through the tokenizer,
            rows in the order of `labels`; of the latter only those of `list_real` are read.

    Raises:
        ContractError: features and tables differ in length.
    """
    if len(generated) != len(samples) or len(real) != len(labels):
        raise ContractError(
            "fidelity: features and tables differ in length; rerun the latents and diffusion stages."
        )
    rows: list[dict] = []
    for arm in ARMS:
        is_sample = select_samples(arm, samples)
        chosen = choose_real(arm, labels, int(is_sample.sum()), settings)
        features = {"generated": generated[is_sample], "real": real, "reconstructed": reconstructed}
        base = {**_describe(arm, labels, settings), "n_features": real.shape[1], "n_samples": is_sample.sum()}
        rows.extend({**base, **row} for row in _measure_arm(features, chosen, settings))
    return pd.DataFrame(rows)


def _describe(arm: Arm, labels: pd.DataFrame, settings: FidelitySettings) -> dict:
    people = labels.loc[select_real(arm, labels, settings.age_window_years), "person_id"]
    return {
        "arm": arm.title,
        "quantity": QUANTITY,
        "n_people": people.nunique(),
        "n_volumes": len(people),
    }


def _measure_arm(features: dict, chosen: np.ndarray, settings: FidelitySettings) -> list[dict]:
    n_samples, n_real = len(features["generated"]), len(chosen)
    has_floor = n_real >= n_samples + settings.min_people
    no_floor = f"{n_real} unrelated people leave fewer than {settings.min_people} beside {n_samples}"
    rows = []
    for comparison, (first, second) in COMPARISONS.items():
        row: dict[str, Any] = {"comparison": comparison, "reason": ""}
        row["floor_reason"] = "" if has_floor else no_floor
        row |= dict.fromkeys(("value", "floor", "floor_low", "floor_high"), np.nan)
        row |= dict.fromkeys(("rank", "n_floor_people", "n_others"), 0)
        if features[first] is None or features[second] is None:
            row["reason"] = NO_RECONSTRUCTIONS
        elif n_real < settings.min_people:
            row["reason"] = f"{n_real} unrelated real people, fewer than {settings.min_people}"
        elif n_samples < 2:
            row["reason"] = f"{n_samples} samples of this arm"
        elif first != "generated" and not has_floor:
            row["reason"] = no_floor
        else:
            row |= _measure_pair(features, first, second, chosen, n_samples * has_floor, settings)
        rows.append(row)
    return rows


def _measure_pair(features, first, second, chosen, n_people, settings) -> dict:
    """The mean distance over the draws, and where the draws have people the floor's mean and interval."""
    rng, values, floors = np.random.default_rng(settings.seed), [], []
    for _ in range(settings.n_draws if n_people else 1):
        drawn = rng.permutation(chosen)
        people, others = drawn[:n_people], features[second][drawn[n_people:]]
        asked = features[first] if first == "generated" else features[first][people]
        values.append(measure_frechet(asked, others))
        if n_people:
            floors.append(measure_frechet(features[second][people], others))
    found = {"value": np.mean(values), "n_floor_people": n_people, "n_others": len(others)}
    found["rank"] = min(len(asked) - 1, len(others) - 1, others.shape[1])
    if floors:
        low, high = np.percentile(floors, [2.5, 97.5])
        found |= {"floor": np.mean(floors), "floor_low": low, "floor_high": high}
    return found
