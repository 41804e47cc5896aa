"""Settings of control."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import NonNegativeFloat, PositiveInt

from braing3n.core.settings import EachOnce, Precision, Seed, Settings, setting

ChangeName = Literal["age", "sex", "HC to AD", "AD to HC", "T1 to T2", "IDH1"]


class ScalesSettings(Settings):
    """The sweep over guidance scales, of Table 7."""

    guidance: Annotated[tuple[NonNegativeFloat, ...], EachOnce] = setting(
        (1.5, 2.0, 3.0), "guidance scales", "given", min_length=1
    )
    n_samples: int = setting(64, "samples an arm and scale", "given", ge=2)
    n_steps: int = setting(50, "Euler steps", "given", ge=1)


class CounterfactualSettings(Settings):
    """Held-out people under other conditions."""

    changes: Annotated[tuple[ChangeName, ...], EachOnce] = setting(
        ("age", "sex", "HC to AD", "AD to HC", "T1 to T2", "IDH1"),
        "conditions that are changed",
        min_length=1,
    )
    n_people: int = setting(64, "held-out people of each change", ge=1)
    n_steps: int = setting(50, "Euler steps, and as many back", ge=1)
    guidance: float = setting(2.0, "classifier-free guidance scale w", ge=0)
    years: float = setting(
        20.0, "by which a person is made older, or younger above the middle age", "chosen", "year", gt=0
    )
    top_share: float = setting(
        0.1,
        "share of tokens, those in which two classes differ most, that are the region of expected change",
        gt=0,
        lt=1,
    )
    batch_size: int = setting(16, "people at once", ge=1)


class NetworkSettings(Settings):
    """The small network beside the probe: it sees decoded volumes, averaged to voxels of about 8 mm."""

    n_draws: int = setting(3, "draws of the rare class's people; 0: there is no network", ge=0)
    n_people: int = setting(256, "people of a class that are decoded for it, trained on and held out", ge=1)
    n_steps: int = setting(60, "training steps", ge=1)
    batch_size: int = setting(32, "volumes a step, half of each class", ge=2)
    lr: float = setting(3e-3, "step size of AdamW", gt=0)


class UsefulnessSettings(Settings):
    """Whether samples help a probe of a rare class."""

    counts: Annotated[tuple[PositiveInt, ...], EachOnce] = setting(
        (4, 16, 64), "real training people of the rare class", min_length=1
    )
    n_draws: int = setting(10, "draws of these people", ge=3)
    network: NetworkSettings = setting(NetworkSettings, "a small network beside the probe")


class ControlSettings(Settings):
    """Whether samples have what they were asked for."""

    n_latents: int = setting(2000, "volumes that a probe of flattened latents is fitted on, at most", ge=10)
    n_ceiling: int = setting(
        128, "held-out volumes of a class that are decoded and encoded again, at most", ge=1
    )
    n_draws: int = setting(200, "draws of held-out people behind an interval", ge=20)
    batch_size: int = setting(8, "volumes decoded and encoded at once", ge=1)
    precision: Precision = setting("float32", "autocast type of decoding and encoding; that of latents")
    seed: Seed = setting(2025, "which volumes take part, and draws of people")
    scales: ScalesSettings = setting(ScalesSettings, "guidance scales, of Table 7")
    counterfactuals: CounterfactualSettings = setting(
        CounterfactualSettings, "held-out people under other conditions"
    )
    usefulness: UsefulnessSettings = setting(
        UsefulnessSettings, "whether samples help a probe of a rare class"
    )
