"""Settings of diffusion."""

from __future__ import annotations

from typing import Annotated, Literal

from braing3n.core.settings import (
    EachOnce,
    OptimiserSettings,
    Precision,
    Seed,
    Settings,
    Solver,
    given_weights,
    setting,
)

Times = Literal["uniform", "logit_normal"]
GuidanceForm = Literal["joint", "per_condition"]


class SamplingSettings(Settings):
    """How the trained DiT is sampled."""

    guidance: float = setting(2.0, "classifier-free guidance scale w", ge=0)
    guidance_form: GuidanceForm = setting(
        "joint", "v(null) + w (v(c) - v(null)), or v(null) + the sum over conditions of w (v(c_k) - v(null))"
    )
    n_steps: int = setting(50, "steps from the noise to the data", "given", ge=1)
    solver: Solver = setting(
        "euler", "adams_bashforth is of second order and evaluates as often; edits take Euler's", "given"
    )
    n_samples: int = setting(64, "samples an arm", "given", ge=1)
    precision: Precision = setting("bfloat16", "autocast type")
    batch_size: int = setting(32, "samples at once, whatever their arms", ge=1)
    seed: Seed = setting(2025, "seed of a sample's noise, together with its id")


class DiffusionSettings(Settings):
    """The conditional flow-matching DiT and its samples."""

    depth: int = setting(12, "blocks", "given", ge=1)
    width: int = setting(1024, "hidden width", ge=6)
    n_heads: int = setting(16, "heads", ge=1)
    mlp_ratio: float = setting(4.0, "MLP width over hidden width", gt=0)
    position_code: Literal["wide", "short"] = setting(
        "wide", "sines and cosines from 6.3 tokens to far beyond a grid; short: from 2.5 to 20, centred"
    )
    diseases: Annotated[tuple[str, ...], EachOnce] = setting(
        ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "GBM", "Glioma"),
        "classes of the disease condition",
    )
    n_sites: int = setting(19, "most frequent sites of the training split", "given", ge=1)
    condition_dropout: float = setting(
        0.1, "probability that a droppable condition is dropped on its own", ge=0, lt=1
    )
    joint_dropout: float = setting(
        0.1, "probability that all droppable conditions are dropped at once", ge=0, lt=1
    )
    modality_balance: float = setting(
        0.0,
        "b: a volume weighs 1 / (volumes of its modality)^b in the loss; 0: all volumes alike",
        ge=0,
        le=1,
    )
    times: Times = setting("uniform", "how times are drawn in training; logit_normal: more in the middle")
    time_shift: float = setting(
        1.0,
        "training and sampling spend so many times more on times near the noise; 1: evenly",
        ge=1e-3,  # beyond these, steps have no length in float32, or an infinite one
        le=1e3,
    )
    ema_decay: float = setting(0.9999, "ceiling of min(decay, (1 + n) / (10 + n))", gt=0, lt=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(n_epochs=400, weight_decay=0.01, gradient_clip=1.0, betas=(0.9, 0.999)),
        "DiT training",
        given=("precision",),
    )
    seed: Seed = setting(2025, "weights, data order and noise")
    weights: str = given_weights()
    sampling: SamplingSettings = setting(SamplingSettings, "drawing samples", is_apart=True)
