"""Carry what was delineated on a scan to SRI24 through that scan's own transform."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from braing3n.core.errors import ScanError
from braing3n.preprocess.read.scan import read_scan
from braing3n.preprocess.space.grid import Atlas, is_on_grid, resample, store_as_lps

POSITION_TOLERANCE_MM = 0.05  # headers round
MAX_LABEL = 255


class OnGrid(Protocol):
    """A scan that went to SRI24: the grid that it came on, and its transform."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def affine(self) -> np.ndarray: ...

    @property
    def matrix(self) -> np.ndarray: ...


def carry_segmentation(
    path: str | Path, scans: Sequence[OnGrid], atlas: Atlas
) -> tuple[np.ndarray, dict[str, float]]:
    """Bring a segmentation to SRI24 by nearest neighbour.

    Args:
        scans: those of the visit that were kept; the first with the segmentation's grid lends its transform.

    Returns:
        uint8 (L, P, S) on the SRI24 grid, and `native_ml` (all labels) and `carried_share`: the volume in
        SRI24 over the native one times the transform's enlargement, below 1 where a part is lost.

    Raises:
        ScanError: unreadable, empty, no whole numbers from 0 to 255, or on no grid of the scans.
    """
    scan = read_scan(path)
    name = Path(path).name
    is_whole = np.array_equal(scan.data, np.round(scan.data))
    if not is_whole or scan.data.min() < 0 or scan.data.max() > MAX_LABEL:
        raise ScanError(f"{name}: holds other values than whole numbers from 0 to {MAX_LABEL}.")
    home = next((item for item in scans if _is_same_grid(scan, item)), None)
    if home is None:
        raise ScanError(f"{name}: lies on no grid of its visit's kept scans; bring it to one of theirs.")
    if np.array_equal(home.matrix, np.eye(4)) and is_on_grid(scan, atlas.grid):
        labels = store_as_lps(scan)
    else:
        labels = resample(scan, home.matrix, atlas.grid, "nearestNeighbor")
    labels = np.round(labels).astype(np.uint8)
    native_ml = float((scan.data > 0).sum()) * scan.voxel_ml
    enlargement = float(1 / np.linalg.det(home.matrix[:3, :3]))
    sri24_ml = float((labels > 0).sum()) * atlas.grid.spacing_mm**3 / 1000
    share = sri24_ml / (native_ml * enlargement)
    return labels, {"native_ml": round(native_ml, 3), "carried_share": round(share, 4)}


def _is_same_grid(scan, other: OnGrid) -> bool:
    return scan.data.shape == tuple(other.shape) and bool(
        np.allclose(scan.affine, other.affine, atol=POSITION_TOLERANCE_MM)
    )
