"""Precision, recall, density and coverage: who lies in whose neighbourhood, in feature space."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

N_NEAREST = 5  # as Naeem et al. (2020) choose


def measure_neighbourhoods(
    generated: np.ndarray, real: np.ndarray, n_nearest: int = N_NEAREST
) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi 2019), density and coverage (Naeem 2020) of (n, F) and (m, F) features.

    A row's neighbourhood is the closed ball that reaches its n_nearest-th neighbour in its own set.

    - precision: share of generated rows in the neighbourhood of a real one;
    - recall: share of real rows in the neighbourhood of a generated one;
    - density: how many real neighbourhoods hold a generated row, over n_nearest;
    - coverage: share of real rows whose neighbourhood holds a generated one.

    Each set needs more than n_nearest rows; else all are NaN.
    """
    if min(len(generated), len(real)) <= n_nearest:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    across = cdist(generated, real)  # (n, m)
    is_near_real = across <= _reach(real, n_nearest)[None, :]
    is_near_generated = across <= _reach(generated, n_nearest)[:, None]
    return {
        "precision": float(is_near_real.any(axis=1).mean()),
        "recall": float(is_near_generated.any(axis=0).mean()),
        "density": float(is_near_real.sum(axis=1).mean() / n_nearest),
        "coverage": float(is_near_real.any(axis=0).mean()),
    }


def _reach(features: np.ndarray, n_nearest: int) -> np.ndarray:
    """Distance (n,) of each row to its n_nearest-th neighbour, itself not counted."""
    return np.partition(cdist(features, features), n_nearest, axis=1)[:, n_nearest]
