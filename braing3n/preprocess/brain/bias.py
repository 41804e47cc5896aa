"""Shading: the mask of a head, and N4."""

from __future__ import annotations

import numpy as np

from braing3n.preprocess.read.masks import fill_largest
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.space.grid import to_ants

MIN_SHRUNK_SLICES = 8  # N4 fits a cubic field; a thin volume is shrunk less


def find_head(scan: Volume) -> np.ndarray:
    """The head (bool, X x Y x Z): Otsu's threshold on the smoothed scan, its largest piece, holes filled."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(scan.data, 2.0 / scan.spacing_mm)
    return fill_largest(smooth > find_otsu_threshold(smooth))


def find_otsu_threshold(data: np.ndarray, n_bins: int = 256) -> float:
    """The threshold that parts the histogram into two classes with the largest variance between them.

    Intensities above the 99.5th percentile count as that percentile, so that bright fat does not decide.
    Source: Otsu 1979, IEEE Transactions on Systems, Man, and Cybernetics 9 (1).
    """
    top = np.percentile(data, 99.5)
    counts, edges = np.histogram(np.minimum(data, top), bins=n_bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][np.nanargmax(between[:-1])])


def correct_bias(scan: Volume, spacing_mm: float, n_iterations: tuple[int, ...], tolerance: float) -> Volume:
    """Divide by the smooth field that N4 fits to the positive voxels.

    All of the scan counts, air too. Within the head alone, or with the closer knots of a crop around it, the
    field follows the tissues: real brains then share less information with the atlas.
    Source: Tustison et al. 2010, IEEE Transactions on Medical Imaging 29 (6).

    Args:
        spacing_mm: the field is fitted on every n-th voxel, about so far apart, and applied to every voxel.
            Voxels are skipped and not averaged: averages mix the tissues whose peaks N4 sharpens.
        n_iterations: at most, one number a level.
        tolerance: a level ends when the field changes by less (coefficient of variation of the change).
    """
    import ants

    image = to_ants(scan)
    positive = image.new_image_like((scan.data > 0).astype(np.float32))
    n_each = round(spacing_mm / float(np.prod(scan.spacing_mm)) ** (1 / 3))
    shrink = max(1, min(n_each, min(image.shape) // MIN_SHRUNK_SLICES))
    convergence = {"iters": list(n_iterations), "tol": tolerance}
    corrected = ants.n4_bias_field_correction(
        image, mask=positive, shrink_factor=shrink, convergence=convergence
    )
    return scan.with_data(corrected.numpy())
