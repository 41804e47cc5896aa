"""Settings of manifest."""

from __future__ import annotations

from braing3n.core.settings import Seed, Settings, setting


class ManifestSettings(Settings):
    """Splits by group_id, and what each cohort is expected to hold."""

    train: float = setting(0.90, "share of groups for training", gt=0, lt=1)
    validation: float = setting(0.05, "share of groups for early stopping", gt=0, lt=1)
    seed: Seed = setting(2025, "salt of the split's hash")
    near_duplicate_correlation: float = setting(
        0.6, "at 4 mm, from which two people's volumes count as one brain", gt=0, le=1
    )
    review: str = setting(
        "",
        "TSV of what a person decided: volume_id, decision (keep, drop), reason; empty: no review",
        is_apart=True,
    )
    max_outlier_score: float = setting(
        0.0,
        "exclude volumes further off their cohort's median in a quality number, unless the review keeps "
        "them; 0: exclude none",
        unit="robust deviations",
        is_apart=True,
        ge=0,
    )
    count_tolerance: float = setting(
        0.05,
        "warn when volumes or people of a cohort differ from the expected number by more",
        unit="share of the expected",
        is_apart=True,
        ge=0,
    )
