"""Every arm's distances: generated, reconstructed and real, each beside a floor and its numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.config import FidelitySettings
from braing3n.errors import ContractError
from braing3n.fidelity.arms import ARMS, Arm, select_real, select_samples
from braing3n.fidelity.frechet import measure_floor, measure_frechet

QUANTITY = "Fréchet distance on MAE features"
NO_RECONSTRUCTIONS = "reconstructions were not encoded (no --tokens given)"


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
            rows in the order of `labels`.

    Raises:
        ContractError: features and tables differ in length.
    """
    if len(generated) != len(samples) or len(real) != len(labels):
        raise ContractError(
            "fidelity: features and tables differ in length; rerun the latents and diffusion stages."
        )
    rows = []
    for arm in ARMS:
        is_real, is_sample = select_real(arm, labels, settings.age_window_years), select_samples(arm, samples)
        rows.extend(_measure_arm(arm, generated[is_sample], is_real, real, reconstructed, labels, settings))
    return pd.DataFrame(rows)


def _measure_arm(arm: Arm, generated, is_real, real, reconstructed, labels, settings) -> list[dict]:
    people = labels.loc[is_real, "person_id"].to_numpy()
    n_people = len(np.unique(people))
    base = {
        "arm": arm.title,
        "quantity": QUANTITY,
        "n_people": n_people,
        "n_volumes": len(people),
        "n_features": real.shape[1],
        "n_samples": len(generated),
    }
    here = real[is_real]
    decoded = None if reconstructed is None else reconstructed[is_real]
    pairs = {
        "gen-vs-real": (generated, here),
        "gen-vs-recons": (generated, decoded),
        "recons-vs-real": (decoded, here),
    }
    rows = []
    for comparison, (first, second) in pairs.items():
        row = {**base, "comparison": comparison, "value": np.nan, "floor": np.nan, "rank": 0}
        row |= {"n_floor_people": 0, "n_floor_volumes": 0, "reason": ""}
        if first is None or second is None:
            row["reason"] = NO_RECONSTRUCTIONS
        elif n_people < settings.min_people:
            row["reason"] = f"{n_people} real people, fewer than {settings.min_people}"
        elif len(first) < 2:
            row["reason"] = f"{len(first)} samples of this arm"
        else:
            row["value"] = measure_frechet(first, second)
            row["rank"] = min(len(first) - 1, len(second) - 1, real.shape[1])
            floor = measure_floor(here, people, len(first), settings.n_floor_splits, settings.seed)
            row["floor"], row["n_floor_people"], row["n_floor_volumes"] = floor
        rows.append(row)
    return rows
