"""Checks of a registration: the volume in SRI24 shows a brain there, in the right orientation."""

from __future__ import annotations

from itertools import product

import numpy as np

from braing3n.core.errors import ScanError
from braing3n.preprocess.space.grid import Atlas
from braing3n.preprocess.space.starts import sum_information

N_BINS = 16
OUTLIERS = (0.5, 99.5)  # percentiles; else a few bright voxels leave one bin for all tissue
TURN_SPACING_MM = 4.0  # at which a volume is compared with the turned atlas
MIN_TURN_RATIO = 1.5  # of what it shares then; a brain that lies askew shares a little more with some turn
AXES = ("left and right", "front and back", "top and bottom")


def measure_atlas_information(volume: np.ndarray, mask: np.ndarray, atlas: Atlas) -> float:
    """Mutual information (nats) of a volume's and SRI24's intensities, 8 mm and more inside both brains.

    Seen at 1 mm: real brains 0.07 (FLAIR) to 0.19 (T1); a neck, a ball of one grey, noise and smooth noise at
    most 0.02.

    Args:
        volume, mask: float and bool (L, P, S) on the atlas's grid.
    """
    return measure_information(volume, atlas.volume, mask & atlas.inside)


def measure_information(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """Mutual information (nats) of two volumes' intensities within a mask.

    The bias of few voxels is taken off (Miller and Madow; Roulston 1999, Physica D 125).
    """
    if not inside.any():
        return 0.0
    x, y = (np.clip(image[inside], *np.percentile(image[inside], OUTLIERS)) for image in (one, other))
    counts = np.histogram2d(x, y, bins=N_BINS)[0]
    used = counts > 0
    n_free = used.sum() - used.any(axis=1).sum() - used.any(axis=0).sum() + 1
    return float(sum_information(counts) - n_free / (2 * inside.sum()))


def find_wrong_turn(volume: np.ndarray, mask: np.ndarray, atlas: Atlas) -> str:
    """Which axes of the atlas must be turned round so that a volume fits it better; empty: none.

    Mirroring left and right alone is not asked: both sides of a brain are too alike.
    """
    step = max(1, round(TURN_SPACING_MM / atlas.grid.spacing_mm))
    volume, mask, inside, brain = (
        array[::step, ::step, ::step] for array in (volume, mask, atlas.inside, atlas.volume)
    )
    found = {}
    for turns in product((False, True), repeat=3):
        if turns == (True, False, False):
            continue
        axes = [axis for axis in range(3) if turns[axis]]
        turned, where = (_turn(array, inside, axes) for array in (brain, inside))
        found[turns] = measure_information(volume, turned, mask & inside & where)
    best = max(found, key=found.__getitem__)
    if found[best] < MIN_TURN_RATIO * max(0.0, found[False, False, False]):
        return ""
    return " and ".join(what for what, is_turned in zip(AXES, best, strict=True) if is_turned)


def _turn(array: np.ndarray, inside: np.ndarray, axes: list[int]) -> np.ndarray:
    """An array turned round about the middle of the atlas's brain."""
    for axis in axes:
        used = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        array = np.roll(np.flip(array, axis), used[0] + used[-1] + 1 - array.shape[axis], axis)
    return array


def check_atlas_information(
    name: str, volume: np.ndarray, mask: np.ndarray, atlas: Atlas, least: float
) -> float:
    """What a volume shares with SRI24 (nats).

    Raises:
        ScanError: less than `least`, or more with SRI24 turned round.
    """
    shared = measure_atlas_information(volume, mask, atlas)
    if shared < least:
        raise ScanError(
            f"{name}: shows no brain, or one at the wrong place (it shares {max(0, shared):.3f} nats "
            f"with SRI24, {least:g} are needed)."
        )
    if turned := find_wrong_turn(volume, mask, atlas):
        raise ScanError(
            f"{name}: fits SRI24 better with {turned} changed over; its header gives a wrong orientation."
        )
    return shared


def check_centre_information(
    name: str, volume: np.ndarray, centre: np.ndarray, inside: np.ndarray, via: str, least: float
) -> float:
    """What a companion shares with the centre of its visit, whose modality is `via` (nats).

    Raises:
        ScanError: less than `least`.
    """
    shared = measure_information(volume, centre, inside)
    if shared < least:
        raise ScanError(
            f"{name}: is registered wrongly to its visit's {via} or shows something else (they share "
            f"{max(0, shared):.3f} nats, {least:g} are needed); look at both, and correct the header that "
            "is wrong."
        )
    return shared
