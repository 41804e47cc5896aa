"""The arms of Table 8: which samples and which real volumes stand against each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from braing3n.fidelity.settings import FidelitySettings

DROPPABLE = ("disease", "sex", "site", "age_years", "idh1")
# Whose real volumes stand against the samples: everybody's, as in the paper, or one side's of the split.
CORPUS, TRAINING, HELD_OUT = REFERENCES = ("corpus", "training", "held-out")
# Quantities that networks or tensors measure, named here so that who reads tables loads neither.
FID, KID = "3D-FID on Inception V3 features", "KID on Inception V3 features"
RADIMAGENET = "Fréchet distance on RadImageNet features"
MEDICALNET = "Fréchet distance on MedicalNet features"
SIMILARITY = "MS-SSIM of pairs"


@dataclass(frozen=True)
class Arm:
    """One row of Table 8.

    Attributes:
        title: the row's name in the paper.
        conditions: what its samples were asked for, by column of the sample table; what is not
            named was null. Empty: a pooled row, over the samples of all arms.
        modality: the pooled row's modality; empty: every one.
        dx: diagnosis of its real volumes, where no sample condition says so.
    """

    title: str
    conditions: dict[str, str | float] = field(default_factory=dict)
    modality: str = ""
    dx: str = ""


ARMS = (
    Arm("Disease HC (T1)", {"disease": "HC", "modality": "T1"}),
    Arm("Disease AD (T1)", {"disease": "AD", "modality": "T1"}),
    Arm("Sex F (T1)", {"sex": "F", "modality": "T1"}),
    Arm("Sex M (T1)", {"sex": "M", "modality": "T1"}),
    Arm("Modality T1", {"modality": "T1"}),
    Arm("Modality T2", {"modality": "T2"}),
    Arm("Modality FLAIR", {"modality": "FLAIR"}),
    Arm("Modality T1c", {"modality": "T1c"}),
    Arm("Age 30 (T1)", {"age_years": 30.0, "modality": "T1"}),
    Arm("Age 50 (T1)", {"age_years": 50.0, "modality": "T1"}),
    Arm("Age 70 (T1)", {"age_years": 70.0, "modality": "T1"}),
    Arm("IDH1 wildtype (T1c, GBM)", {"idh1": "wildtype", "modality": "T1c"}, dx="GBM"),
    Arm("IDH1 mutant (T1c, GBM)", {"idh1": "mutant", "modality": "T1c"}, dx="GBM"),
    Arm("T1 pooled", modality="T1"),
    Arm("Pooled across all arms"),
)


def select_samples(arm: Arm, samples: pd.DataFrame) -> np.ndarray:
    """Mask (M,) of the samples drawn under exactly this arm's conditions, or of those it pools.

    A disease beside an IDH1 condition is allowed, where it is the arm's own diagnosis.
    """
    if not arm.conditions:
        is_in_an_arm = np.any([select_samples(other, samples) for other in ARMS if other.conditions], axis=0)
        return is_in_an_arm & (True if not arm.modality else (samples["modality"] == arm.modality).to_numpy())
    chosen = np.full(len(samples), True)
    for column in ("modality", *DROPPABLE):
        is_null = (samples[column].isna() | (samples[column] == "")).to_numpy()
        if column in arm.conditions:
            chosen &= ~is_null & (samples[column] == arm.conditions[column]).to_numpy()
        elif column == "disease" and arm.dx:
            chosen &= is_null | (samples[column] == arm.dx).to_numpy()
        else:
            chosen &= is_null
    return chosen


def select_real(arm: Arm, labels: pd.DataFrame, age_window_years: float) -> np.ndarray:
    """Mask (N,) of the real volumes that answer to the arm; ages within the window count."""
    chosen = np.full(len(labels), True)
    modality = arm.conditions.get("modality", arm.modality)
    dx = arm.conditions.get("disease", arm.dx)
    for column, value in (("modality", modality), ("dx", dx)):
        if value:
            chosen &= (labels[column] == value).to_numpy()
    for column in ("sex", "idh1"):
        if column in arm.conditions:
            chosen &= (labels[column] == arm.conditions[column]).to_numpy()
    if "age_years" in arm.conditions:
        chosen &= ((labels["age_years"] - arm.conditions["age_years"]).abs() <= age_window_years).to_numpy()
    return chosen


def select_reference(labels: pd.DataFrame, reference: str) -> np.ndarray:
    """Mask (N,) of the volumes of one of `REFERENCES`."""
    if reference == CORPUS:
        return np.full(len(labels), True)
    return ((labels["split"] == "train") == (reference == TRAINING)).to_numpy()


def choose_real(
    arm: Arm, labels: pd.DataFrame, n_samples: int, settings: FidelitySettings, reference: str = CORPUS
) -> np.ndarray:
    """Rows of the real volumes that an arm is measured on: one a group, at random, bounded in number.

    People of one group (relatives, or one brain under two ids) would make real lie near real. One order of
    all groups serves every arm and reference, so that what these share is decoded once.

    Args:
        n_samples: of the arm; as many real people behind its floor come on top of `settings.n_real`.
    """
    rng = np.random.default_rng(settings.seed)
    groups, names = pd.factorize(labels["group_id"], sort=True)
    order = np.lexsort((rng.permutation(len(labels)), rng.permutation(len(names))[groups]))
    is_real = select_real(arm, labels, settings.age_window_years) & select_reference(labels, reference)
    order = order[is_real[order]]
    _, first = np.unique(groups[order], return_index=True)
    return order[np.sort(first)][: n_samples + settings.n_real]


def list_real(samples: pd.DataFrame, labels: pd.DataFrame, settings: FidelitySettings) -> np.ndarray:
    """Rows of all real volumes that any arm is measured on, in order."""
    counts = [int(select_samples(arm, samples).sum()) for arm in ARMS]
    chosen = [
        choose_real(arm, labels, n, settings, reference)
        for arm, n in zip(ARMS, counts, strict=True)
        for reference in REFERENCES
    ]
    return np.unique(np.concatenate(chosen))
