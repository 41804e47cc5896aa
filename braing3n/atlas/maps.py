"""The atlas's maps on the grid of a volume in SRI24 space: tissue priors, halves, ventricles, regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from braing3n.atlas.templates import (
    SPACING_MM,
    SRI24_TO_MNI,
    find_ventricles,
    grid_positions,
    interpolate,
    load_brain_template,
    read_member,
)

BLUR_MM = 1.5  # of the priors: an affine registration leaves about so much
LEAST_PRIOR = 0.01
AROUND_VENTRICLES_MM = 6.0  # CSF so near the template's ventricles is theirs
# Places of Seitzman et al. 2020 (NeuroImage 206) and the anatomy of each; a grey voxel is of the nearest.
PLACES_MEMBER = "nilearn/datasets/data/seitzman_2018_ROIs_300inVol_MNI_allInfo.txt"
ANATOMY_MEMBER = "nilearn/datasets/data/seitzman_2018_ROIs_anatomicalLabels.txt"
REGIONS = ("cortex", "medial_temporal", "deep_grey", "cerebellum")
# Of cortex (three codes), hippocampus, amygdala, basal ganglia, thalamus and cerebellum.
REGION_OF_CODE = (0, 0, 0, 1, 1, 2, 2, 3)


@dataclass(frozen=True)
class Maps:
    """Maps on a volume's grid (D, H, W).

    tissue: priors of CSF, grey and white matter, float32 (3, D, H, W), of sum 1.
    region: the index of `REGIONS`, uint8; is_left, is_ventricle: bool.
    """

    tissue: np.ndarray
    region: np.ndarray
    is_left: np.ndarray
    is_ventricle: np.ndarray
    voxel_ml: float


def lay_maps(brain_templates_wheel: Path, shape: Sequence[int], affine: np.ndarray) -> Maps:
    """The maps on a grid; affine: voxel to SRI24 mm (RAS).

    Raises:
        ResourceError: the wheel cannot be read or lacks a template.
    """
    template = _load_template(Path(brain_templates_wheel))
    positions = grid_positions(shape, SRI24_TO_MNI @ affine)
    *tissue, ventricles = interpolate(template, positions, SPACING_MM, "border")
    priors = np.clip(np.stack(tissue), LEAST_PRIOR, None)
    return Maps(
        priors / priors.sum(axis=0),
        _find_regions(Path(brain_templates_wheel), positions),
        positions[0] < 0,
        ventricles > 0.5,
        float(abs(np.linalg.det(affine[:3, :3]))) / 1000,
    )


@lru_cache(maxsize=1)
def _load_template(wheel: Path) -> np.ndarray:
    """On the templates' grid: CSF (and all that is no brain), grey, white; 1 near the ventricles."""
    brain = load_brain_template(wheel)
    tissue = (1 - brain.gm - brain.wm, brain.gm, brain.wm)
    ventricles = find_ventricles(brain.gm + brain.wm + brain.csf > 0.5, brain.csf)
    smooth = [ndimage.gaussian_filter(part, BLUR_MM / SPACING_MM) for part in tissue]
    near = ndimage.binary_dilation(ventricles, iterations=round(AROUND_VENTRICLES_MM / SPACING_MM))
    return np.stack([*smooth, near]).astype(np.float32)


def _find_regions(wheel: Path, positions_mm: np.ndarray) -> np.ndarray:
    """The region whose place is nearest to each of positions (3, D, H, W)."""
    from scipy.spatial import KDTree

    places = np.loadtxt(
        read_member(wheel, PLACES_MEMBER).decode().splitlines(), skiprows=1, usecols=(0, 1, 2)
    )
    codes = np.loadtxt(read_member(wheel, ANATOMY_MEMBER).decode().splitlines(), skiprows=1, dtype=int)
    _, nearest = KDTree(places).query(positions_mm.reshape(3, -1).T)
    return np.array(REGION_OF_CODE, np.uint8)[codes][nearest].reshape(positions_mm.shape[1:])
