"""Settings of memorization."""

from __future__ import annotations

from braing3n.core.settings import Seed, Settings, setting


class ContrastiveSettings(Settings):
    """The contrastive copy detector: its network, its training, and how far two views of a volume differ."""

    is_on: bool = setting(True, "train the copy detector; otherwise its tables are empty")
    width: int = setting(32, "channels of the first of three layers; the others have twice as many", ge=1)
    n_numbers: int = setting(64, "numbers of a volume's code", ge=2)
    n_steps: int = setting(2000, "training steps", ge=1)
    batch_size: int = setting(64, "volumes a step", ge=2)
    n_views: int = setting(4, "augmented views of a volume in a step", ge=2)
    temperature: float = setting(0.1, "of the loss; lower: the nearest others count more", gt=0)
    lr: float = setting(3e-3, "peak learning rate", gt=0)
    max_shift_voxels: int = setting(1, "shift of a view along each axis, in voxels of 8 mm", ge=0)
    max_blur: float = setting(0.4, "share that a voxel takes from each neighbour", ge=0, le=0.5)
    max_gain: float = setting(0.4, "change of a view's gain, and its offset in deviations", ge=0, lt=1)
    max_noise: float = setting(0.15, "deviation of a view's noise on voxels of 8 mm, in the brain's", ge=0)
    seed: Seed = setting(2025, "weights, data order and views")


class MemorizationSettings(Settings):
    """The nearest-neighbour audit."""

    percentile: float = setting(1.0, "percentile of real-real distances that flags a copy", gt=0, lt=100)
    n_reference: int = setting(
        1000,
        "real volumes of a modality that the copy detector is asked about, at most, for its threshold",
        ge=2,
    )
    n_planted: int = setting(
        32, "training volumes that every detector must find, each in every disguise", ge=1
    )
    contrastive: ContrastiveSettings = setting(ContrastiveSettings, "the copy detector that is trained")
    n_draws: int = setting(200, "draws of people behind the interval of membership inference", ge=20)
    seed: Seed = setting(2025, "which volumes these are, and draws of people")
