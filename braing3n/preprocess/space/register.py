"""Linear registration with ANTs: a brain to the atlas, a scan to the centre of its visit."""

from __future__ import annotations

from typing import Any

import numpy as np

from braing3n.core.scratch import open_scratch
from braing3n.preprocess.read.extremes import cap_for_registration
from braing3n.preprocess.read.scan import Volume, coarsen, find_box
from braing3n.preprocess.space.grid import encode_affine, to_ants
from braing3n.preprocess.space.starts import align_centres, climb

CROP_MARGIN_MM = 10.0  # ANTs' pyramid needs no more around a brain, and empty space costs time and fit
RIGID_SPACING_MM = 2.0  # finer scans are averaged to it: six numbers need no more, and it is ten times faster
RIGID_LEVELS = {
    "aff_iterations": (1000, 500, 100),
    "aff_shrink_factors": (4, 2, 1),
    "aff_smoothing_sigmas": (2, 1, 0),
}

# Twelve numbers need few points: a tenth of the voxels at 6, 4 and 2 mm ends within 0.01 mm of ANTs' default,
# which takes a fifth of them and goes on to 1 mm, in a quarter of the time. Levels end when they converge.
STAGES = {"aff_iterations": (1000, 500, 100, 0), "aff_random_sampling_rate": 0.1}

# For a coarse grid: the atlas at 2 mm, and no more than 4 mm of it, which is three times faster. On phantoms
# of 3 mm, whose motion is known, a tenth of the points and fewer steps register a visit's scans with the same
# error (0.15 mm) in a third of the time; a twentieth is too few for scans of 4 mm.
COARSE_SPACING_MM = 2.0
COARSE_LEVELS = {"aff_shrink_factors": (3, 2, 1, 1), "aff_smoothing_sigmas": (1.5, 1, 0.5, 0)}
COARSE_STAGES = {"aff_iterations": (2100, 1200, 0, 0), "aff_random_sampling_rate": 0.1}
COARSE_RIGID_STAGES = {"aff_iterations": (1000, 100, 20), "aff_random_sampling_rate": 0.1}


def register_affine(
    brain: Volume, atlas_brain: Volume, kind: str, seed: int, spacing_mm: float = 1.0
) -> np.ndarray:
    """Affine registration, brain to brain, from aligned centres of mass or from a turn about them.

    Args:
        brain: zero outside the brain.
        kind: `staged`, or `Affine` for ANTs' own stages.
        spacing_mm: of the grid to come; from 2 mm on, both brains are first averaged to 2 mm.

    Returns:
        4 x 4, LPS mm, points of the atlas -> points of the brain's scan.
    """
    fixed, moving = crop_to_content(atlas_brain), cap_for_registration(crop_to_content(brain))
    plain = align_centres(fixed, moving, is_sized=True)
    is_fine = spacing_mm < COARSE_SPACING_MM
    target, source = (scan if is_fine else coarsen(scan, COARSE_SPACING_MM) for scan in (fixed, moving))
    options: dict[str, Any] = {} if is_fine else dict(COARSE_LEVELS)
    if kind == "staged":
        options |= STAGES if is_fine else COARSE_STAGES

    def register(start: np.ndarray) -> np.ndarray:
        given = None if start is plain else start  # ANTs' own, which aligns the centres, too
        return _register(target, source, "Affine", seed, given, **options)

    return climb(fixed, moving, [plain], register)


def register_rigid(
    fixed: Volume, moving: Volume, seed: int, focus: Volume | None = None, spacing_mm: float = 1.0
) -> np.ndarray:
    """Rigid registration by mutual information, of scans of one visit.

    It starts from the headers' positions, from aligned centres of mass, or from a turn of these, whichever
    shares the most information: the first fail where a header lost its position, the second where a scan
    covers part of the head, both where the head nods.

    Args:
        focus: mask on `fixed`'s grid; only what lies in it is compared.
        spacing_mm: of the grid to come; from 2 mm on, fewer points are compared.

    Returns:
        4 x 4, LPS mm, points of `fixed` -> points of `moving`.
    """
    fixed, moving = (coarsen(cap_for_registration(scan), RIGID_SPACING_MM) for scan in (fixed, moving))
    options = RIGID_LEVELS | (COARSE_RIGID_STAGES if spacing_mm >= COARSE_SPACING_MM else {})
    inside = coarsen(focus, RIGID_SPACING_MM) if focus is not None else None
    if inside is not None:
        options.update(mask=to_ants(inside.with_data(inside.data > 0)), mask_all_stages=True)

    def register(start: np.ndarray) -> np.ndarray:
        return _register(fixed, moving, "Rigid", seed, start, **options)

    return climb(fixed, moving, [np.eye(4), align_centres(fixed, moving)], register, inside)


def crop_to_content(scan: Volume) -> Volume:
    """The box around the nonzero voxels, with a margin."""
    margin = np.ceil(CROP_MARGIN_MM / scan.spacing_mm).astype(int)
    return scan.crop(find_box(scan.data != 0, margin))


def measure_dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice's overlap of two boolean masks."""
    return float(2 * (one & other).sum() / max(1, one.sum() + other.sum()))


def _register(
    fixed: Volume, moving: Volume, kind: str, seed: int, start: np.ndarray | None = None, **options
):
    """Run ANTs with a seed; its files lie in a folder of their own that is gone afterwards."""
    import ants

    with open_scratch() as folder:
        if start is not None:
            start_path = folder / "start.mat"
            start_path.write_bytes(encode_affine(start))
            options["initial_transform"] = [str(start_path)]
        done = ants.registration(
            to_ants(fixed),
            to_ants(moving),
            type_of_transform=kind,
            outprefix=f"{folder}/",
            random_seed=seed,
            **options,
        )
        matrix = np.eye(4)
        for path in done["fwdtransforms"]:
            matrix = _read_matrix(path) @ matrix
    return matrix


def _read_matrix(path: str) -> np.ndarray:
    """ITK's matrix, translation and centre as one 4 x 4."""
    import ants

    transform = ants.read_transform(path, precision="double")
    numbers, centre = np.array(transform.parameters), np.array(transform.fixed_parameters)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:12] + centre - matrix[:3, :3] @ centre
    return matrix
