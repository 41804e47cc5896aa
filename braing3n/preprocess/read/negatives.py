"""Negative intensities inside a brain: a few are noise and clipped, many are z-scores and shifted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from braing3n.core.errors import ScanError
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.settings import PreprocessSettings

LOWEST_SHARE = 1e-3  # of the brain's range: where its lowest voxel comes to lie, so that none is background


class Negatives(NamedTuple):
    """What a scan's brain held below zero, and what was done about it."""

    share: float = 0.0  # of the brain's voxels
    is_shifted: bool = False


def measure_negatives(data: np.ndarray, mask: np.ndarray) -> float:
    """The share of a mask's voxels that are below zero; 0 for an empty mask."""
    inside = data[mask]
    return float((inside < 0).mean()) if inside.size else 0.0


def lift_brain(
    name: str, scan: Volume, share: float, settings: PreprocessSettings, content: np.ndarray | None = None
) -> tuple[Volume, Negatives]:
    """The scan as it is where few of its brain's voxels are negative, else without any.

    A z-score cannot be undone, since it keeps neither zero nor gain; a shift gives N4 and the clip of
    negatives what they need, and leaves the z-scores inside the brain as they were.

    Args:
        name: of the file, for the message.
        share: of the brain's voxels that are negative.
        content: the brain (bool, X x Y x Z) where the scan holds nothing else: what surrounds it is 0, in the
            middle of its range, and stays 0. None: a whole head, whose lowest voxel is its background.

    Raises:
        ScanError: too much is negative, and `settings` say to exclude it.
    """
    if share <= settings.max_negative_share:
        return scan, Negatives(share)
    if settings.negative_policy == "exclude":
        raise ScanError(
            f"{name}: {share:.0%} of the brain's voxels are negative, as after a z-score; give the scan as "
            "it was before, or set preprocess.negative_policy to shift."
        )
    if content is None:
        return scan.with_data(scan.data - scan.data.min()), Negatives(share, True)
    inside = scan.data[content]
    step = LOWEST_SHARE * (inside.max() - inside.min())
    return scan.with_data(np.where(content, scan.data - inside.min() + step, 0)), Negatives(share, True)
