"""Masks of a scan: its largest piece, and what is not zero."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from braing3n.preprocess.read.scan import Volume

FindBrain = Callable[[Volume], np.ndarray]  # a whole head -> the bool mask of its brain, on the scan's grid


def fill_largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a boolean mask with its holes filled; empty stays empty."""
    from scipy import ndimage

    pieces, n_pieces = ndimage.label(mask)
    if n_pieces == 0:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(pieces == sizes.argmax())


def find_nonzero(scan: Volume) -> np.ndarray:
    """The mask of a scan that holds a brain only: its nonzero voxels, largest piece, holes filled.

    Where all corners share another value, as after a z-score of the whole array, that is its zero.
    """
    corners = np.unique(
        scan.data[:: scan.data.shape[0] - 1, :: scan.data.shape[1] - 1, :: scan.data.shape[2] - 1]
    )
    return fill_largest(scan.data != (corners[0] if len(corners) == 1 else 0))
