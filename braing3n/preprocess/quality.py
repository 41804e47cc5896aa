"""Quality numbers of one volume, taken while its visit is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from braing3n.preprocess.read.extremes import measure_saturation
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.space.grid import Grid, map_to_scan

N_POINTS = 100_000  # of the brain's; more change no number by its third digit
FIELD_PERCENTILES = (5, 95)
MAD_TO_DEVIATION = 0.6745  # of a normal distribution
# Good runs on real heads end at 1435 to 1643 ml in SRI24 (a mismatch of at most 0.12), wrong ones from 0.15.
MAX_SIZE_MISMATCH = 0.14
# Of 17 real visits at most 0.0009, with the front 30 % of a brain erased 0.073 and 0.080.
MAX_MISSING_SHARE = 0.01
MAX_SATURATED_SHARE = 0.01


def measure_quality(
    raw: Volume, scan: Volume, matrix: np.ndarray, mask: np.ndarray, grid: Grid
) -> dict[str, float | None]:
    """How noisy a scan is and how shaded it was; None: no such number.

    Args:
        raw: the scan as it came; the same object as `scan` where it was not bias-corrected.
        matrix: 4 x 4, LPS mm, points of SRI24 -> points of the scan.
        mask: of the brain (bool, L x P x S) on the SRI24 grid.
    """
    voxels = list_brain_voxels(scan, matrix, grid, mask)
    numbers = {
        "bias_field_range": None if raw is scan else measure_field_range(raw, scan, voxels),
        "noise": measure_noise(scan, voxels),
        "saturated_share": measure_saturation(raw, voxels),
    }
    return {name: None if value is None else round(value, 6) for name, value in numbers.items()}


def list_warnings(cell: Mapping) -> list[str]:
    """What is not believable about a volume that is kept, from the numbers of its row."""
    warnings = []
    if (cell["size_mismatch"] or 0) > MAX_SIZE_MISMATCH:
        sri24_ml = cell["native_brain_ml"] * cell["affine_determinant"]
        warnings.append(
            f"its brain has {sri24_ml:.0f} ml in SRI24, too far from the atlas's: the mask or the affine is "
            "wrong; look at the picture"
        )
    if (cell["missing_share"] or 0) > MAX_MISSING_SHARE:
        warnings.append(
            f"its mask lacks {cell['missing_share']:.0%} of the atlas's brain, 8 mm and more inside it: a "
            "part was lost or resected; look at the picture"
        )
    if (cell["saturated_share"] or 0) > MAX_SATURATED_SHARE:
        warnings.append(
            f"{cell['saturated_share']:.0%} of its brain have the scan's highest value: it is saturated"
        )
    return warnings


def list_brain_voxels(scan: Volume, matrix: np.ndarray, grid: Grid, mask: np.ndarray) -> np.ndarray:
    """The scan's voxels (N, 3) nearest to points taken evenly from a mask on the grid; none outside it."""
    index = np.argwhere(mask)
    points = np.rint(map_to_scan(scan, matrix, grid, index[:: -(-len(index) // N_POINTS)])).astype(int).T
    return points[((points >= 0) & (points < scan.data.shape)).all(axis=1)]


def measure_field_range(raw: Volume, corrected: Volume, voxels: np.ndarray) -> float | None:
    """How much stronger the receiver was in the brain's bright parts than in its dark ones; 1: no shading.

    The ratio of the 95th to the 5th percentile of the field that N4 took away.
    """
    before, after = (scan.data[tuple(voxels.T)] for scan in (raw, corrected))
    used = (before > 0) & (after > 0)
    if not used.any():
        return None
    low, high = np.percentile(before[used] / after[used], FIELD_PERCENTILES)
    return float(high / low)


def measure_noise(scan: Volume, voxels: np.ndarray) -> float | None:
    """The noise's standard deviation over the brain's median intensity, an inverse signal-to-noise ratio.

    From the scan's own voxels, before any interpolation: the median absolute value of the finest diagonal
    Haar wavelet (2 x 2 x 2 neighbours with alternating signs), which anatomy hardly reaches. Sources: Donoho
    1995, IEEE Transactions on Information Theory 41 (3); Coupé et al. 2010, Medical Image Analysis 14 (4).
    """
    voxels = voxels[(voxels + 1 < scan.data.shape).all(axis=1)]
    if not len(voxels):
        return None
    detail = sum(
        (-1) ** sum(corner) * scan.data[tuple((voxels + corner).T)].astype(np.float64)
        for corner in product((0, 1), repeat=3)
    )
    level = float(np.median(scan.data[tuple(voxels.T)]))
    if not level > 0:
        return None
    return float(np.median(np.abs(detail)) / np.sqrt(8) / MAD_TO_DEVIATION / level)
