"""The diffusion transformer: a velocity for every token, given the time and six conditions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from braing3n.core.contracts import MODALITIES
from braing3n.diffusion.conditions import CODED, Vocabularies, isolate, nullify
from braing3n.diffusion.settings import DiffusionSettings, GuidanceForm
from braing3n.nets.conditioning import ConditionedTransformer

# In years, people of 60 and 63 would look as far apart as any two, and few are of one age.
AGE_UNIT_YEARS = 10.0


def compute_skip(t: Tensor, variance: Tensor) -> Tensor:
    """What times x_t is the velocity of independent normal numbers of these variances (T, d): (B, T, d).

    E[data - noise | x_t] for data ~ N(0, variance), so that the blocks learn only what numbers have to do
    with each other and with the conditions (preconditioning; Karras et al. 2022).
    """
    t = t[:, None, None]
    return (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2).clamp(min=1e-6)


def shift_times(t: Tensor, shift: float) -> Tensor:
    """Times (n,) in [0, 1], moved towards 0, the noise; at 0 they lie `shift` times as densely.

    The more numbers a volume has, the earlier its large features stand out from the noise (Esser et al.
    2024, section 5.3.2). A sum over 19,200 numbers, such as the size of a head, does so at t = .02.
    """
    return t / (shift - (shift - 1) * t)


class DiT(ConditionedTransformer):
    """Conditional flow-matching transformer (Peebles & Xie 2023; Lipman et al. 2023).

    At time t in [0, 1] the input is (1 - t) noise + t data and the output approaches data - noise.

    Args:
        settings: sizes; the paper's are the defaults.
        vocabularies: classes of the coded conditions.
        d: channels a token.
        grid: tokens along each axis.

    Attributes:
        token_mean: (4, T, d) mean of the training split's volumes of each modality at each place.
        token_scale: (4,) deviation of a modality's next volume from that mean, over all places and channels.
        token_variance: (T, d) of standardised tokens; 1 on average.
        nulls: (5,) the null code of each coded condition.
    """

    SETTINGS = DiffusionSettings

    token_mean: Tensor
    token_scale: Tensor
    token_variance: Tensor

    def __init__(
        self, settings: DiffusionSettings, vocabularies: Vocabularies, d: int, grid: tuple[int, int, int]
    ):
        super().__init__(settings, vocabularies.count_classes(), {"age": AGE_UNIT_YEARS}, d, grid)
        self.settings, self.vocabularies = settings, vocabularies
        self.register_buffer("token_mean", torch.zeros(len(MODALITIES), self.n_tokens, d))
        self.register_buffer("token_scale", torch.ones(len(MODALITIES)))
        self.register_buffer("token_variance", torch.ones(self.n_tokens, d))
        self.initialise()

    def forward(self, x: Tensor, t: Tensor, codes: Tensor, age_years: Tensor) -> Tensor:
        """The velocity (B, T, d) of standardised tokens x (B, T, d) at times t (B,)."""
        return compute_skip(t, self.token_variance) * x + self.transform(x, t, codes, age_years)

    def standardise(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Tokens (B, T, d) less the mean of their modality, in units of the deviation from it, float32."""
        modality = codes[:, CODED.index("modality")]
        return (tokens.float() - self.token_mean[modality]) / self.token_scale[modality, None, None]

    def restore(self, x: Tensor, codes: Tensor) -> Tensor:
        """The tokens (B, T, d) of standardised ones."""
        modality = codes[:, CODED.index("modality")]
        return x * self.token_scale[modality, None, None] + self.token_mean[modality]

    def guide(
        self,
        x: Tensor,
        t: Tensor,
        codes: Tensor,
        age_years: Tensor,
        guidance: float | Tensor,
        form: GuidanceForm = "joint",
    ) -> Tensor:
        """v(null) + guidance (v(c) - v(null)), the modality kept in both branches (Ho & Salimans 2022).

        The scale is one for all, or (B, 1, 1).

        The form `per_condition` has a branch for each condition alone, and adds up their differences from
        v(null) (Liu et al. 2022, "Compositional visual generation"). All branches are one batch. At a
        guidance of 1 the joint form is v(c), and nothing else is evaluated.
        """
        if form == "joint" and not isinstance(guidance, Tensor) and guidance == 1:
            return self(x, t, codes, age_years)
        given = [(codes, age_years)] if form == "joint" else isolate(codes, age_years, self.nulls)
        branches = [*given, nullify(codes, age_years, self.nulls)]
        n = len(branches)
        all_codes, all_ages = (torch.cat(part) for part in zip(*branches, strict=True))
        *conditional, unconditional = self(x.repeat(n, 1, 1), t.repeat(n), all_codes, all_ages).chunk(n)
        return unconditional + guidance * sum(velocity - unconditional for velocity in conditional)

    @classmethod
    def from_record(cls, settings: DiffusionSettings, record: dict[str, Any]) -> DiT:
        """The model of a weight file's record, with random weights."""
        classes = {name: tuple(labels) for name, labels in record["vocabularies"].items()}
        return cls(settings, Vocabularies(**classes), record["d"], tuple(record["grid"]))

    def describe(self) -> dict:
        """The record that a weight file needs to build this model again."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "vocabularies": asdict(self.vocabularies),
            "d": self.d,
            "grid": list(self.grid),
        }
