"""How much the volumes of an arm differ: MS-SSIM of pairs of samples, beside reconstructions of people."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from braing3n.fidelity.arms import ARMS, CORPUS, SIMILARITY, Arm, choose_real, select_samples
from braing3n.fidelity.formulas.similarity import measure_ms_ssim
from braing3n.fidelity.settings import FidelitySettings
from braing3n.fidelity.slices import apply_window


class KeptVolumes:
    """Some volumes by their rows, float16 levels of the window; a watcher of `encode_decoded`."""

    def __init__(self, rows: np.ndarray):
        self._wanted = set(rows.tolist())
        self._kept: dict[int, np.ndarray] = {}

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows.tolist(), volumes, strict=True):
            if row in self._wanted:
                self._kept[row] = apply_window(volume, np.full(volume.shape, True)).astype(np.float16)

    def measure_pairs(self, rows: np.ndarray) -> float:
        """The mean MS-SSIM of all pairs; NaN for one volume, or where they are too small."""
        pairs = itertools.combinations([self._kept[row].astype(np.float32) for row in rows.tolist()], 2)
        values = [measure_ms_ssim(a, b, 1.0) for a, b in pairs]
        return float(np.mean(values)) if values else float("nan")


def choose_rows(arm: Arm, samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings):
    """The samples and the real volumes of an arm whose pairs are compared."""
    is_sample = select_samples(arm, samples)
    real = choose_real(arm, labels, int(is_sample.sum()), settings)
    return np.flatnonzero(is_sample)[: settings.n_similar], real[: settings.n_similar]


def list_rows(samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings):
    """Rows of all samples, and of all real volumes, that any arm's pairs are made of."""
    rows = [choose_rows(arm, samples, labels, settings) for arm in ARMS if arm.conditions]
    return tuple(np.unique(np.concatenate(part)) for part in zip(*rows, strict=True))


def measure_variety(
    generated: KeptVolumes,
    reconstructed: KeptVolumes | None,
    samples: pd.DataFrame,
    labels: pd.DataFrame,
    settings: FidelitySettings,
) -> pd.DataFrame:
    """A row an arm: `value` of samples, `floor` of as many reconstructed people; high is alike.

    A generator that draws one face for all lies above its floor.
    """
    rows = []
    for arm in ARMS:
        if not arm.conditions:
            continue
        sampled, real = choose_rows(arm, samples, labels, settings)
        row: dict[str, Any] = {
            "arm": arm.title,
            "reference": CORPUS,
            "comparison": "gen-vs-recons",
            "quantity": SIMILARITY,
            "reason": "",
        }
        row |= {"value": generated.measure_pairs(sampled), "floor": float("nan"), "floor_reason": ""}
        if reconstructed is not None:
            row["floor"] = reconstructed.measure_pairs(real)
        if not np.isfinite(row["value"]):
            row["reason"] = f"{len(sampled)} samples of this arm" if len(sampled) < 2 else "volumes too small"
        if not np.isfinite(row["floor"]):
            row["floor_reason"] = f"{len(real)} real people of this arm, or they were not decoded"
        row |= {"n_samples": len(sampled), "n_people": len(real), "n_volumes": len(real), "n_features": 0}
        row |= {"rank": 0, "n_floor_people": len(real), "n_others": 0}
        rows.append(row | dict.fromkeys(("low", "high", "floor_low", "floor_high", "floor_95"), np.nan))
    return pd.DataFrame(rows)
