"""Settings of preprocess."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt, field_validator

from braing3n.core.settings import Seed, Settings, setting

Extractor = Literal["hd-bet", "hd-bet-v1", "deepbet", "none"]


class PreprocessSettings(Settings):
    """From a raw head to a brain in SRI24."""

    spacing_mm: float = setting(1.0, "voxel size of the SRI24 grid", "given", "mm", gt=0)
    brain_extraction: Extractor = setting(
        "hd-bet-v1", "method of brain extraction; a stripped scan keeps its own brain"
    )
    fallback_extraction: Extractor = setting(
        "deepbet",
        "method tried once more if a mask fails its checks (volume, pieces, border); none: no second one",
    )
    n_hd_bet_folds: int = setting(1, "HD-BET v1 networks averaged", ge=1, le=5)
    n_deepbet_networks: int = setting(
        2,
        "1: the brain as deepbet's first network sees it at 128^3; 2: found again by its second at 256^3",
        ge=1,
        le=2,
    )
    use_hd_bet_mirroring: bool = setting(False, "test-time mirroring of both HD-BETs, over eight flips")
    n4_spacing_mm: float = setting(7.0, "approximate voxel size on which N4 fits the field", unit="mm", gt=0)
    n4_iterations: tuple[PositiveInt, ...] = setting(
        (50, 50, 50, 50), "largest number of N4 iterations on each level", min_length=1
    )
    n4_tolerance: float = setting(1e-3, "a level of N4 ends when the field changes by less", gt=0)
    affine: Literal["staged", "Affine"] = setting(
        "staged", "ANTs' 12 parameters: in sparse stages down to 2 mm, or ANTs' own slow default"
    )
    interpolation: Literal["bSpline", "linear"] = setting("bSpline", "resampling; negatives are clipped")
    brain_ml: tuple[NonNegativeFloat, NonNegativeFloat] = setting(
        (400.0, 2500.0), "exclude brain volumes outside this range", unit="ml"
    )
    min_atlas_dice: float = setting(0.70, "exclude a centre that overlaps SRI24 less", ge=0, le=1)
    min_coverage: float = setting(
        0.80, "exclude a scan that shows less of SRI24's brain, or of its visit's", ge=0, le=1
    )
    min_atlas_information: float = setting(
        0.03,
        "exclude a volume that shares less mutual information with SRI24: it shows no brain",
        unit="nat",
        ge=0,
    )
    min_centre_information: float = setting(
        0.1,
        "exclude a companion that shares less with its visit's centre: it is registered wrongly",
        unit="nat",
        ge=0,
    )
    max_negative_share: float = setting(
        0.01, "share of a brain's voxels; a scan with more negative ones counts as z-scored", ge=0, le=1
    )
    negative_policy: Literal["shift", "exclude"] = setting(
        "shift", "treatment of a brain with more negatives; fewer are clipped to 0"
    )
    max_failure_rate: float = setting(0.5, "stop a shard above this share of failed visits", ge=0, le=1)
    seed: Seed = setting(2025, "ANTs' random seed, the same for every subject")

    @field_validator("brain_ml")
    @classmethod
    def _is_a_range(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if ends[0] >= ends[1]:
            raise ValueError("the lower end comes first")
        return ends
