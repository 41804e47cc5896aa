"""The bridge DiT: a velocity from an earlier visit's tokens to a later one's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n.longitudinal.settings import LongitudinalSettings
from braing3n.nets.conditioning import ConditionedTransformer

SEXES = ("F", "M")
# Scalars count in decades and tenths of a CDR. A shorter unit of the years would tell months apart, and needs
# more pairs to learn that change grows with time (docs/decisions.md).
SCALARS = {"age": 10.0, "cdr": 0.1, "years": 10.0}
N_DROPPABLE = 3  # sex, baseline age, CDR; disease and years are never dropped


class Conditions(NamedTuple):
    """Codes (B, 2) of disease and sex, the last null; baseline age and CDR (B,), NaN null; years (B,)."""

    codes: Tensor
    age_years: Tensor
    cdr: Tensor
    years: Tensor


class Bridge(ConditionedTransformer):
    """Flow-matching transformer between two visits (Albergo et al. 2023, stochastic interpolants).

    At time t in [0, 1] the input is (1 - t) earlier + t later + sigma sqrt(t (1 - t)) noise, in standardised
    tokens, and the output approaches later - earlier. The noise is zero at both ends, and there is none in
    sampling.

    Args:
        settings: sizes; the paper's are the defaults.
        d: channels a token.
        grid: tokens along each axis.

    Attributes:
        token_mean: (T, d) mean of the training pairs' volumes at each place.
        token_scale: () their deviation from it, over all places and channels.
        change_scale: () root mean square of later - earlier, in that deviation.
        nulls: (2,) the null codes of disease and sex.
    """

    SETTINGS = LongitudinalSettings

    token_mean: Tensor
    token_scale: Tensor
    change_scale: Tensor

    def __init__(self, settings: LongitudinalSettings, d: int, grid: tuple[int, int, int]):
        super().__init__(settings, [len(settings.diseases), len(SEXES)], SCALARS, d, grid)
        self.settings = settings
        self.register_buffer("token_mean", torch.zeros(self.n_tokens, d))
        self.register_buffer("token_scale", torch.ones(()))
        self.register_buffer("change_scale", torch.ones(()))
        self.initialise()

    def forward(self, x: Tensor, t: Tensor, *conditions: Tensor) -> Tensor:
        """The velocity (B, T, d) of standardised tokens x (B, T, d) at times t (B,); see `Conditions`."""
        return self.change_scale * self.transform(x, t, *conditions)

    def guide(self, x: Tensor, t: Tensor, conditions: Conditions, guidance: float) -> Tensor:
        """v(null) + guidance (v(c) - v(null)), disease and years kept in both branches, in one batch."""
        branches = conditions, self.nullify(conditions)
        stacked = (torch.cat(part) for part in zip(*branches, strict=True))
        conditional, null = self(x.repeat(2, 1, 1), t.repeat(2), *stacked).chunk(2)
        return null + guidance * (conditional - null)

    def nullify(self, conditions: Conditions) -> Conditions:
        """The branch that knows disease and years alone."""
        codes, nan = conditions.codes.clone(), torch.full_like(conditions.age_years, torch.nan)
        codes[:, 1] = self.nulls[1]
        return Conditions(codes, nan, nan, conditions.years)

    def encode(self, table: pd.DataFrame) -> Conditions:
        """The conditions of a table with disease, sex, age_years, cdr and years.

        Raises:
            KeyError: a disease that the bridge was not configured for; it is never null.
        """
        diseases = {name: code for code, name in enumerate(self.settings.diseases)}
        sexes = {name: code for code, name in enumerate(SEXES)}
        codes = [
            [diseases[disease], sexes.get(sex, len(SEXES))]
            for disease, sex in zip(table["disease"], table["sex"], strict=True)
        ]
        numbers = (
            torch.from_numpy(table[name].to_numpy(np.float32, copy=True))
            for name in ("age_years", "cdr", "years")
        )
        found = Conditions(torch.tensor(codes, dtype=torch.int64).reshape(len(table), 2), *numbers)
        return Conditions(*(part.to(self.nulls.device) for part in found))

    def standardise(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, d) less the training pairs' mean, in units of the deviation from it, float32."""
        return (tokens.float() - self.token_mean) / self.token_scale

    def restore(self, x: Tensor) -> Tensor:
        """The tokens (B, T, d) of standardised ones."""
        return x * self.token_scale + self.token_mean

    def describe(self) -> dict:
        """The record that a weight file needs to build this model again."""
        settings = self.settings.model_dump(mode="json")
        return {"settings": settings, "d": self.d, "grid": list(self.grid), "units": SCALARS}

    @classmethod
    def from_record(cls, settings: LongitudinalSettings, record: dict[str, Any]) -> Bridge:
        """The model of a weight file's record, with random weights."""
        if record["units"] != SCALARS:
            raise ValueError(f"its scalars count in {record['units']}, and here in {SCALARS}")
        return cls(settings, record["d"], tuple(record["grid"]))


def drop_conditions(
    given: Conditions, nulls: Tensor, chance: Tensor, each: float, joint: float
) -> Conditions:
    """Make sex, baseline age and CDR null at random: each on its own, and all of them at once.

    chance is uniform (B, 4): one number each, the last for the joint drop.
    """
    is_dropped = (chance[:, :N_DROPPABLE] < each) | (chance[:, N_DROPPABLE:] < joint)
    codes = given.codes.clone()
    codes[:, 1] = torch.where(is_dropped[:, 0], nulls[1], codes[:, 1])
    age_years = given.age_years.masked_fill(is_dropped[:, 1], torch.nan)
    return Conditions(codes, age_years, given.cdr.masked_fill(is_dropped[:, 2], torch.nan), given.years)
