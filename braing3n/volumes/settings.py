"""Settings of volumes."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from braing3n.core.settings import Settings, setting

Crop = Literal["centre", "atlas_centred"]


class VolumesSettings(Settings):
    """What a model sees."""

    spacing_mm: float = setting(1.0, "a whole multiple of preprocess.spacing_mm", "given", "mm", gt=0)
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] = setting(
        (160, 192, 160), "crop or pad, L-P-S", "derived", "voxel"
    )
    crop: Crop = setting("centre", "centre of the box: the middle of SRI24's grid, or of its brain")
