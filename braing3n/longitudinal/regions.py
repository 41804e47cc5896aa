"""Where forecasts are wrong: the atlas's regions as masks on the models' box."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braing3n.core.errors import ResourceError
from braing3n.core.settings import parse_section
from braing3n.fidelity.anatomy.watch import open_atlas
from braing3n.longitudinal.contracts import REGIONS
from braing3n.volumes.settings import VolumesSettings

LEAST_PRIOR = 0.5  # of CSF in ventricles, of grey matter in the other regions


def find_regions(settings_dir: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Masks bool (D, H, W) of `REGIONS` on the models' box, and of those that have none the reason.

    Ventricles are the atlas's CSF at and near the template's; the others, in the atlas's order, hold its grey
    matter. settings_dir: the run's settings files.
    """
    try:
        segmenter = open_atlas(settings_dir)
    except ResourceError as error:
        return {}, dict.fromkeys(REGIONS, str(error))
    maps, shape = segmenter.maps, parse_section(VolumesSettings, settings_dir / "volumes.json").shape
    csf, grey, _ = maps.tissue > LEAST_PRIOR
    masks = [maps.is_ventricle & csf, *(grey & (maps.region == k) for k in range(len(REGIONS) - 1))]
    for axis in range(3):
        masks = [mask.repeat(segmenter.factor, axis) for mask in masks]
    inside = tuple(slice(0, n) for n in shape)
    found = {name: mask[inside] for name, mask in zip(REGIONS, masks, strict=True)}
    lacking = {name: "outside the models' box" for name, mask in found.items() if not mask.any()}
    return {name: mask for name, mask in found.items() if name not in lacking}, lacking
