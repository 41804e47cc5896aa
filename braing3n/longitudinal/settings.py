"""Settings of longitudinal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from braing3n.core.settings import (
    EachOnce,
    OptimiserSettings,
    Precision,
    Seed,
    Settings,
    given_weights,
    setting,
)

Modality = Literal["T1", "T1c", "T2", "FLAIR"]
Target = Literal["difference", "velocity"]


class ForecastSettings(Settings):
    """How the trained bridge is sampled."""

    guidance: float = setting(1.5, "classifier-free guidance scale w", ge=0)
    n_steps: int = setting(100, "Euler steps", "given", ge=1)
    years: Annotated[tuple[PositiveFloat, ...], EachOnce] = setting(
        (1.0, 2.0, 3.0, 5.0),
        "times after the earlier visit; a forecast of 0 years is always made",
        min_length=1,
        unit="years",
    )
    n_baselines: int = setting(64, "held-out people who are forecast", "given", ge=1)
    precision: Precision = setting("bfloat16", "autocast type")
    batch_size: int = setting(32, "forecasts at once", ge=1)


class EvaluationSettings(Settings):
    """What forecasts are worth."""

    guidance: Annotated[tuple[NonNegativeFloat, ...], EachOnce] = setting(
        (1.0, 1.5, 2.0, 3.0), "guidance scales that are compared, beside the forecasts' own", min_length=1
    )
    batch_size: int = setting(8, "volumes decoded and encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of decoding and encoding; that of latents")


class LongitudinalSettings(Settings):
    """The bridge between two visits of one person."""

    cohorts: Annotated[tuple[str, ...], EachOnce] = setting(
        ("adni",), "cohorts whose visits are used; none: every cohort", "given"
    )
    modality: Modality = setting("T1", "modality of both visits", "given")
    diseases: Annotated[tuple[str, ...], EachOnce] = setting(
        ("HC", "MCI", "AD"), "diagnoses at the earlier visit", "given", min_length=1
    )
    min_years: float = setting(0.25, "smallest time between the visits", unit="years", gt=0)
    depth: int = setting(12, "blocks", "given", ge=1)
    width: int = setting(1024, "hidden width", ge=6)
    n_heads: int = setting(16, "heads", ge=1)
    mlp_ratio: float = setting(4.0, "MLP width over hidden width", gt=0)
    position_code: Literal["wide", "short"] = setting("wide", "as of the DiT")
    noise: float = setting(
        0.1, "sigma of the interpolant's noise sigma sqrt(t (1 - t)), in deviations of the latents", ge=0
    )
    target: Target = setting(
        "difference", "of the loss: later minus earlier visit; velocity: plus the derivative of the noise"
    )
    condition_dropout: float = setting(
        0.1, "probability that sex, baseline age or CDR is dropped, each on its own", ge=0, lt=1
    )
    joint_dropout: float = setting(0.1, "probability that these three are dropped at once", ge=0, lt=1)
    ema_decay: float = setting(0.9999, "ceiling of min(decay, (1 + n) / (10 + n))", gt=0, lt=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(
            batch_size=128, n_epochs=75, weight_decay=0.01, gradient_clip=1.0, betas=(0.9, 0.999)
        ),
        "training of the bridge",
        given=("n_epochs",),
    )
    seed: Seed = setting(2025, "weights, data order and noise")
    weights: str = given_weights()
    forecast: ForecastSettings = setting(ForecastSettings, "forecasts of held-out people", is_apart=True)
    evaluation: EvaluationSettings = setting(EvaluationSettings, "evaluation of forecasts", is_apart=True)
