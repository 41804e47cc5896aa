"""What Table 2a asks of samples: contrasts of classes, the age sweep, and spaces in which they are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

AGES = (30, 50, 70)
AGE_WINDOW_YEARS = 5.0  # held-out people this near to the age of an arm stand beside it


@dataclass(frozen=True)
class Contrast:
    """One row of Table 2a.

    Attributes:
        condition: the column of the sample table that is requested and read.
        task: the row's name.
        classes: of the probe; none: a number is read.
        modality: of samples and of the real volumes of the probe; empty: all.
        arms: whose samples are read.
        null_arm: whose samples have everything but this condition; empty: there are none.
        weights: "balanced": the probe weighs its classes alike.
    """

    condition: str
    task: str
    classes: tuple[str, ...]
    modality: str
    arms: tuple[str, ...]
    null_arm: str = ""
    weights: str = ""

    @property
    def column(self) -> str:
        """The column of conditions."""
        return "age_years" if self.condition == "age" else self.condition


def _pair(first: str, second: str) -> Contrast:
    arms = (f"disease-{first}", f"disease-{second}")
    return Contrast("disease", f"{first} vs {second}", (first, second), "T1", arms, "null-disease")


_IDH1 = ("idh1-wildtype", "idh1-mutant")
# Disease in Table 7 is HC vs AD alone: .98 at w = 2 fits the .99 of that pair in Table 2a, and not the .88
# that the four pairs have on average.
HC_AD = _pair("HC", "AD")
SEX = Contrast("sex", "F vs M", ("F", "M"), "T1", ("sex-F", "sex-M"), "null-sex")
AGE = Contrast("age", "30 / 50 / 70 y", (), "T1", tuple(f"age-{age}" for age in AGES), "null-age")
IDH1 = Contrast("idh1", "wt vs mut", ("wildtype", "mutant"), "T1c", _IDH1, "null-idh1")
CONTRASTS = (
    HC_AD,
    _pair("HC", "MCI"),
    _pair("MCI", "AD"),
    _pair("HC", "PD"),
    SEX,
    Contrast(
        "modality",
        "4-way",
        ("T1", "T2", "FLAIR", "T1c"),
        "",
        ("modality-T1", "modality-T2", "modality-FLAIR", "modality-T1c"),
    ),
    AGE,
    IDH1,
    Contrast("idh1", "wt vs mut", IDH1.classes, "T1c", _IDH1, "null-idh1", "balanced"),
)
SCALED = (HC_AD, SEX, AGE, IDH1)  # the columns of Table 7


@dataclass(frozen=True)
class Space:
    """Numbers of real volumes and of samples in which a probe reads.

    Attributes:
        reading: "encoder" (features of decoded samples) or "latent" (flattened tokens).
        real: (N, F), rows as in the labels; may lie on disk.
        sampled: (M, F), rows as in the table of samples.
        round_trip: (N, F) of real volumes that were decoded and encoded again, NaN where they were not; None:
            there is no such thing.
        has_pca: reduce to principal components of the volumes that the probe is fitted on.
        n_most: volumes that a probe is fitted on, and scored on, at most; 0: all.
    """

    reading: str
    real: np.ndarray
    sampled: np.ndarray
    round_trip: np.ndarray | None = None
    has_pca: bool = False
    n_most: int = 0


def is_given(values: pd.Series) -> np.ndarray:
    """Which values are known."""
    return (values.notna() & (values != "")).to_numpy()


def find_known(contrast: Contrast, conditions: pd.DataFrame) -> np.ndarray:
    """Mask (N,) of real volumes that a contrast's probe is of: of its modality, with one of its classes."""
    values = conditions[contrast.column]
    known = is_given(values) & ((conditions["modality"] == contrast.modality) | (contrast.modality == ""))
    return known & values.isin(contrast.classes).to_numpy() if contrast.classes else known


def choose_ceiling(conditions: pd.DataFrame, labels: pd.DataFrame, n_most: int, seed: int) -> np.ndarray:
    """Rows of held-out volumes that are decoded and encoded again: up to n_most of each class."""
    rng, chosen = np.random.default_rng(seed), [np.array([], dtype=int)]
    is_held_out = (labels["split"] != "train").to_numpy()
    order = rng.permutation(len(labels))  # one order, so that contrasts share what is decoded
    for contrast in CONTRASTS:
        known = find_known(contrast, conditions) & is_held_out
        values = conditions[contrast.column].to_numpy()
        groups = [known & (values == name) for name in contrast.classes] or [known]
        chosen += [order[group[order]][:n_most] for group in groups]
    return np.unique(np.concatenate(chosen))
