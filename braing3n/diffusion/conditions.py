"""The six conditions of a sample: vocabularies, codes with a null each, and condition dropout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n.core.contracts import MODALITIES
from braing3n.diffusion.settings import DiffusionSettings

CODED = ("disease", "sex", "modality", "site", "idh1")  # the columns of `codes`; age stands apart
N_DROPPABLE = 5  # all but modality: disease, sex, site, idh1, age


@dataclass(frozen=True)
class Vocabularies:
    """The classes of each coded condition, in the order of their codes; the code after the last is null."""

    disease: tuple[str, ...]
    sex: tuple[str, ...]
    modality: tuple[str, ...]
    site: tuple[str, ...]
    idh1: tuple[str, ...]

    def count_classes(self) -> list[int]:
        """Classes of each coded condition, null not counted."""
        return [len(getattr(self, name)) for name in CODED]

    def encode(self, conditions: pd.DataFrame) -> tuple[Tensor, Tensor]:
        """Codes (B, 5) int64 and age_years (B,) float32 of a table with the six condition columns.

        What is empty, missing or of no known class is null: the last code, or a NaN age.
        """
        columns = []
        for name in CODED:
            classes = {label: code for code, label in enumerate(getattr(self, name))}
            columns.append([classes.get(label, len(classes)) for label in conditions[name]])
        codes = torch.tensor(columns, dtype=torch.int64).reshape(len(CODED), len(conditions)).T.contiguous()
        age_years = pd.to_numeric(conditions["age_years"]).to_numpy(np.float32, copy=True)
        return codes, torch.from_numpy(age_years)


def read_conditions(labels: pd.DataFrame) -> pd.DataFrame:
    """The six condition columns of a label table; a column that the labels lack is empty."""
    columns = {"disease": "dx", "sex": "sex", "modality": "modality", "site": "site", "idh1": "idh1"}
    table = {
        name: labels[column].fillna("").astype(str) if column in labels else ""
        for name, column in columns.items()
    }
    return pd.DataFrame({**table, "age_years": labels["age_years"].astype(float)}, index=labels.index)


def build_vocabularies(training_labels: pd.DataFrame, settings: DiffusionSettings) -> Vocabularies:
    """The configured diseases and the most frequent sites of the training split (ties by name)."""
    sites = read_conditions(training_labels)["site"].value_counts().drop("", errors="ignore")
    ordered = sorted(sites.items(), key=lambda item: (-item[1], item[0]))
    return Vocabularies(
        disease=tuple(settings.diseases),
        sex=("F", "M"),
        modality=MODALITIES,
        site=tuple(site for site, _ in ordered[: settings.n_sites]),
        idh1=("wildtype", "mutant"),
    )


def drop_conditions(
    codes: Tensor, age_years: Tensor, nulls: Tensor, noise: Tensor, each: float, joint: float
) -> tuple[Tensor, Tensor]:
    """Make conditions null at random: each droppable one on its own, and all of them at once.

    noise is uniform (B, 6): one number a droppable condition, the last for the joint drop. Modality
    always stays. Independent dropout alone would almost never train the branch without conditions
    that every guided sample uses.
    """
    is_dropped = (noise[:, :N_DROPPABLE] < each) | (noise[:, N_DROPPABLE:] < joint)
    keep = torch.zeros_like(is_dropped[:, :1])
    is_code_dropped = torch.cat([is_dropped[:, :2], keep, is_dropped[:, 2:4]], dim=1)  # order of CODED
    return torch.where(is_code_dropped, nulls, codes), age_years.masked_fill(is_dropped[:, 4], torch.nan)


def nullify(codes: Tensor, age_years: Tensor, nulls: Tensor) -> tuple[Tensor, Tensor]:
    """The branch without conditions: everything null but the modality."""
    is_kept = torch.tensor([name == "modality" for name in CODED], device=codes.device)
    return torch.where(is_kept, codes, nulls), torch.full_like(age_years, torch.nan)


def isolate(codes: Tensor, age_years: Tensor, nulls: Tensor) -> list[tuple[Tensor, Tensor]]:
    """A branch for each condition that any sample has: that one alone, beside the modality."""
    null_codes, null_age = nullify(codes, age_years, nulls)
    branches = []
    for i, name in enumerate(CODED):
        if name != "modality" and (codes[:, i] != nulls[i]).any():
            alone = null_codes.clone()
            alone[:, i] = codes[:, i]
            branches.append((alone, null_age))
    return branches if age_years.isnan().all() else [*branches, (null_codes, age_years)]
