"""Tissue and regional volumes of a segmented brain, in ml of SRI24 space and as shares of the brain."""

from __future__ import annotations

import numpy as np

from braing3n.atlas.maps import REGIONS, Maps
from braing3n.atlas.segment import Segmentation, segment

TISSUES = ("csf", "grey", "white")
SIDES = ("left", "right")
VOLUMES = (
    *TISSUES,
    *(f"ventricles_{side}" for side in SIDES),
    *(f"{region}_{side}" for region in REGIONS for side in SIDES),
)


def measure_brain(image: np.ndarray, mask: np.ndarray, maps: Maps) -> tuple[np.ndarray, Segmentation]:
    """The `VOLUMES` of a brain in ml, float64 (13,), and its segmentation; as `segment`."""
    found = segment(image, mask, maps)
    return measure_volumes(found.shares, mask, maps), found


def measure_volumes(shares: np.ndarray, mask: np.ndarray, maps: Maps) -> np.ndarray:
    """The `VOLUMES` in ml of shares (3, n) of CSF, grey and white matter in a mask of n voxels.

    Ventricles are the lateral and the third, CSF near those of the template; regions hold grey matter alone.
    """
    side = np.where(maps.is_left[mask], 0, 1)
    ventricles = np.bincount(side, shares[0] * maps.is_ventricle[mask], 2)
    regions = np.bincount(2 * maps.region[mask] + side, shares[1], 2 * len(REGIONS))
    return np.concatenate([shares.sum(axis=1, dtype=np.float64), ventricles, regions]) * maps.voxel_ml
