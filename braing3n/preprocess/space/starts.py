"""Where a linear registration starts: the headers' position, aligned centres, and turned heads, compared."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from braing3n.preprocess.read.scan import Volume, coarsen
from braing3n.preprocess.space.grid import RAS_TO_LPS

SPACING_MM = 6.0  # at which starts are compared: a turned head shows, and a comparison takes milliseconds
TURNS_DEGREES = (-40.0, -20.0, 20.0, 40.0)  # about each axis; registration itself crosses half of such a step
OUTLIERS = (0.5, 99.5)  # percentiles, as bright voxels would leave one bin for all tissue
N_BINS = 32
N_REFINED = 3  # the best turned starts that are refined before one is chosen
PROMISING = 0.75  # of the information that a plain start reached: a turned start with less is not refined
STEP_MM, STEP_DEGREES = 6.0, 6.0  # of the refinement, whose units these are
Measure = Callable[[np.ndarray], float]


def climb(
    fixed: Volume,
    moving: Volume,
    plain: list[np.ndarray],
    register: Callable[[np.ndarray], np.ndarray],
    focus: Volume | None = None,
) -> np.ndarray:
    """Register from the best plain start, and from a turned one where that promises more information.

    Registration only climbs: from the headers' position a head that nods by 20 degrees more than its visit's
    other scan can end 15 mm off. A turned start is judged by what the plain one reached, since a bad turn
    may lie higher than a good start that has not climbed yet.

    Args:
        plain: starts without a turn, 4 x 4, LPS mm, points of `fixed` -> points of `moving`.
        register: a start -> the end of the climb from it.
        focus: mask on `fixed`'s grid; only what lies in it is compared.
    """
    measure = make_measure(fixed, moving, focus)
    centre = find_centre_lps(fixed)
    best = register(max(plain, key=measure))
    reached = measure(best)
    turned = [start @ turn for start, turn in product(plain, list_turns(centre))]
    turned = sorted((start for start in turned if measure(start) > PROMISING * reached), key=measure)
    if not turned:
        return best
    start = max((refine(start, centre, measure) for start in turned[-N_REFINED:]), key=measure)
    return max(best, register(start), key=measure) if measure(start) > reached else best


def list_turns(centre: np.ndarray) -> list[np.ndarray]:
    """Turns (4 x 4) about a point and each of the three axes."""
    turns = [axis * degrees for axis in np.eye(3) for degrees in TURNS_DEGREES]
    return [move_about(centre, degrees, np.zeros(3)) for degrees in turns]


def move_about(centre: np.ndarray, turn_degrees: np.ndarray, shift_mm: np.ndarray) -> np.ndarray:
    """A 4 x 4 turn about a point, by a rotation vector, and then a shift."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn_degrees, degrees=True).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift_mm
    return matrix


def refine(start: np.ndarray, centre: np.ndarray, measure: Measure) -> np.ndarray:
    """The best start near another: Powell's method over three turns and three shifts."""
    from scipy.optimize import minimize

    def place(steps: np.ndarray) -> np.ndarray:
        return start @ move_about(centre, STEP_DEGREES * steps[:3], STEP_MM * steps[3:])

    options = {"maxiter": 4, "xtol": 0.1, "ftol": 1e-3}
    found = minimize(lambda steps: -measure(place(steps)), np.zeros(6), method="Powell", options=options)
    return place(found.x)


def make_measure(fixed: Volume, moving: Volume, focus: Volume | None = None) -> Measure:
    """The mutual information (nats) of two scans under a matrix, on voxels of 6 mm of the fixed one."""
    from scipy import ndimage

    fixed, moving = coarsen(fixed, SPACING_MM), coarsen(moving, SPACING_MM)
    used = coarsen(focus, SPACING_MM).data > 0.5 if focus is not None else np.ones(fixed.data.shape, bool)
    index = np.c_[np.argwhere(used), np.ones(int(used.sum()))]
    points = RAS_TO_LPS @ fixed.affine @ index.T
    to_voxel = np.linalg.inv(moving.affine) @ RAS_TO_LPS
    rows = _scale(fixed.data)[used].astype(int) * N_BINS
    columns = _scale(moving.data)

    def measure(matrix: np.ndarray) -> float:
        voxels = (to_voxel @ matrix @ points)[:3]
        bins = rows + ndimage.map_coordinates(columns, voxels, order=1).astype(int)
        return sum_information(np.bincount(bins, minlength=N_BINS**2).reshape(N_BINS, N_BINS))

    return measure


def sum_information(counts: np.ndarray) -> float:
    """Mutual information (nats) of a joint histogram."""
    joint = counts / counts.sum()
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    used = joint > 0
    return float((joint[used] * np.log(joint[used] / expected[used])).sum())


def align_centres(fixed: Volume, moving: Volume, is_sized: bool = False) -> np.ndarray:
    """The start (4 x 4, LPS mm) that puts one centre of mass on the other.

    is_sized: the scans hold a brain only, and one is enlarged to the volume of the other.
    """
    volumes = [float((scan.data != 0).sum()) * scan.voxel_ml for scan in (moving, fixed)]
    matrix = np.eye(4)
    matrix[:3, :3] *= (volumes[0] / volumes[1]) ** (1 / 3) if is_sized else 1.0
    matrix[:3, 3] = find_centre_lps(moving) - matrix[:3, :3] @ find_centre_lps(fixed)
    return matrix


def find_centre_lps(scan: Volume) -> np.ndarray:
    """The centre of mass of the positive intensities, LPS mm."""
    weights = np.maximum(scan.data, 0).astype(np.float64)
    total = weights.sum()
    index = [
        (weights.sum(axis=tuple(other for other in range(3) if other != axis)) @ np.arange(n)) / total
        for axis, n in enumerate(weights.shape)
    ]
    ras = scan.affine[:3, :3] @ index + scan.affine[:3, 3]
    return ras * (-1, -1, 1)


def _scale(data: np.ndarray) -> np.ndarray:
    """Intensities as bins: float32 from 0 to below the number of bins."""
    low, high = np.percentile(data, OUTLIERS)
    return (np.clip((data - low) / max(high - low, 1e-12), 0, 1) * (N_BINS - 0.01)).astype(np.float32)
