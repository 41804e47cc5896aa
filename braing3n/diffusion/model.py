"""The diffusion transformer: a velocity for every token, given the time and six conditions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.contracts import MODALITIES
from braing3n.core.errors import ConfigurationError
from braing3n.diffusion.conditions import CODED, Vocabularies, isolate, nullify
from braing3n.diffusion.settings import DiffusionSettings, GuidanceForm
from braing3n.nets.transformer import (
    NORM_EPS,
    Attention,
    Mlp,
    encode_positions,
    encode_scalars,
    encode_short_positions,
    initialise_linear,
)

# The sinusoids' shortest wavelength is 2 pi. Times in [0, 1] are stretched to use them all. Ages are counted
# in decades: in years, people of 60 and 63 would look as far apart as any two, and few are of one age.
TIME_SCALE = 1000.0
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


class ScalarEmbedding(nn.Module):
    """Sines and cosines of a scalar through two layers: (B,) to (B, width)."""

    def __init__(self, width: int, n_channels: int = 256):
        super().__init__()
        self.n_channels = n_channels
        self.layers = nn.Sequential(nn.Linear(n_channels, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, values: Tensor) -> Tensor:
        return self.layers(encode_scalars(values, self.n_channels))


class ConditionEmbedding(nn.Module):
    """The sum of six embeddings, each with its own null vector."""

    def __init__(self, n_classes: list[int], width: int):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n + 1, width) for n in n_classes)
        self.age = ScalarEmbedding(width)
        self.null_age = nn.Parameter(torch.randn(width) * 0.02)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, codes: Tensor, age_years: Tensor) -> Tensor:
        """Codes (B, 5), a condition's number of classes meaning null, and ages (B,), NaN null: (B, width)."""
        is_null = age_years.isnan()[:, None]
        total = torch.where(is_null, self.null_age, self.age(age_years.nan_to_num() / AGE_UNIT_YEARS))
        for i, table in enumerate(self.tables):
            total = total + table(codes[:, i])
        return total


class ModulatedBlock(nn.Module):
    """A transformer block whose norms and residuals the condition scales; starts as identity (adaLN-Zero)."""

    def __init__(self, width: int, n_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.attention = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.mlp = Mlp(width, mlp_ratio)
        self.modulate = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(condition)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
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

    def __init__(
        self, settings: DiffusionSettings, vocabularies: Vocabularies, d: int, grid: tuple[int, int, int]
    ):
        super().__init__()
        width = settings.width
        if width % settings.n_heads:
            raise ConfigurationError(
                f"diffusion.width: {width} is not divisible by {settings.n_heads} heads."
            )
        self.settings, self.vocabularies, self.d, self.grid = settings, vocabularies, d, tuple(grid)
        self.n_tokens = grid[0] * grid[1] * grid[2]
        n_classes = vocabularies.count_classes()
        self.embed = nn.Linear(d, width)
        self.time = ScalarEmbedding(width)
        self.conditions = ConditionEmbedding(n_classes, width)
        self.blocks = nn.ModuleList(
            ModulatedBlock(width, settings.n_heads, settings.mlp_ratio) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, NORM_EPS, elementwise_affine=False)
        self.modulate = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, d)
        encode = encode_short_positions if settings.position_code == "short" else encode_positions
        self.register_buffer("positions", encode(self.grid, width)[None], persistent=False)
        self.register_buffer("nulls", torch.tensor(n_classes), persistent=False)
        self.register_buffer("token_mean", torch.zeros(len(MODALITIES), self.n_tokens, d))
        self.register_buffer("token_scale", torch.ones(len(MODALITIES)))
        self.register_buffer("token_variance", torch.ones(self.n_tokens, d))
        self._initialise()

    def _initialise(self) -> None:
        self.apply(initialise_linear)
        for layer in (*(block.modulate for block in self.blocks), self.modulate, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, t: Tensor, codes: Tensor, age_years: Tensor) -> Tensor:
        """The velocity (B, T, d) of standardised tokens x (B, T, d) at times t (B,)."""
        condition = functional.silu(self.time(TIME_SCALE * t) + self.conditions(codes, age_years))
        h = self.embed(x) + self.positions
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulate(condition)[:, None].chunk(2, dim=-1)
        return compute_skip(t, self.token_variance) * x + self.leave(self.norm(h) * (1 + scale) + shift)

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
        guidance: float,
        form: GuidanceForm = "joint",
    ) -> Tensor:
        """v(null) + guidance (v(c) - v(null)), the modality kept in both branches (Ho & Salimans 2022).

        The form `per_condition` has a branch for each condition alone, and adds up their differences from
        v(null) (Liu et al. 2022, "Compositional visual generation"). All branches are one batch.
        """
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
