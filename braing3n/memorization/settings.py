"""Settings of memorization."""

from __future__ import annotations

from braing3n.core.settings import Settings, setting


class MemorizationSettings(Settings):
    """The nearest-neighbour audit."""

    percentile: float = setting(1.0, "percentile of real-real distances that flags a copy", gt=0, lt=100)
    n_reference: int = setting(
        1000,
        "real volumes of a modality that the copy detector is asked about, at most, for its threshold",
        ge=2,
    )
    n_draws: int = setting(200, "draws of people behind the interval of membership inference", ge=20)
    seed: int = setting(2025, "which volumes these are, and draws of people")
