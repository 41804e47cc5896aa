"""Settings of fidelity."""

from __future__ import annotations

from pathlib import Path

from braing3n.core.settings import Precision, Seed, Settings, setting


class FidelitySettings(Settings):
    """Distances between generated and real sets."""

    min_people: int = setting(
        4,
        "real people that a distance, and its floor, needs; with fewer it is n/a",
        ge=2,
    )
    age_window_years: float = setting(
        5.0, "largest difference of a real person's age from that of an arm", unit="year", gt=0
    )
    n_real: int = setting(
        256,
        "real people that an arm's samples are compared with, at most; those of its floor come on top",
        ge=2,
    )
    n_draws: int = setting(100, "draws of real people behind a distance and its floor", ge=1)
    inception_weights: str = setting(
        "",
        "weight file of Inception V3 for the 3D-FID (sha256 begins with 6726825d); without it, it is n/a",
    )
    radimagenet_weights: str = setting(
        "", "weight file of RadImageNet's ResNet-50 for the distance on it; without it, it is n/a"
    )
    radimagenet_sha256: str = setting(
        "08629f7e", "how that file's sha256 begins (the official ResNet50.pt); another of a converted file"
    )
    medicalnet_weights: str = setting(
        "", "weight file of MedicalNet's ResNet-50 for the distance on it; without it, it is n/a"
    )
    medicalnet_sha256: str = setting(
        "5b6189ca", "how that file's sha256 begins (resnet_50.pth; resnet_50_23dataset.pth: ff48a622)"
    )
    n_slice_draws: int = setting(
        10, "draws behind a distance on features of others and its floor, each of some seconds", ge=1
    )
    n_similar: int = setting(
        5, "volumes of an arm whose pairs measure its diversity (MS-SSIM); kept in memory", ge=2
    )
    n_segmented: int = setting(
        128,
        "real people an arm's anatomy is measured on, at most, those of its floor among them",
        ge=2,
    )
    measured: dict[str, str] = setting(
        dict,
        "tool -> TSV of volumes in ml that it measured (set, item_id, a column a volume), beside ours",
    )
    batch_size: int = setting(8, "volumes decoded and encoded at once", ge=1)
    precision: Precision = setting(
        "float32", "autocast type of decoding and encoding; that of latents, whose features are compared"
    )
    seed: Seed = setting(2025, "who is drawn")

    def list_weights(self) -> list[str]:
        """The weight files of others that are named and there."""
        named = (self.inception_weights, self.radimagenet_weights, self.medicalnet_weights)
        return [path for path in named if path and Path(path).is_file()]

    def list_measured(self) -> list[str]:
        """The tables of other tools that are there."""
        return [path for path in self.measured.values() if Path(path).is_file()]
