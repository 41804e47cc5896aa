"""What is planted: shape effects as displacement fields, and changes of tissue, all in MNI millimetres.

A planted effect must survive N4, affine registration and z-score, so it moves or replaces tissue and
never scales intensity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from braing3n.atlas.templates import ORIGIN_MM, SHAPE, SPACING_MM, find_ventricles, interpolate
from braing3n.phantoms.anatomy import Anatomy

FIELD_STEP = 4  # displacement fields live on every fourth voxel of the anatomy: 6 mm
FIELD_SPACING_MM = FIELD_STEP * SPACING_MM
COARSE_SHAPE = tuple(n // FIELD_STEP + 1 for n in SHAPE)

# Strengths, tuned so that an untrained network finds them half-way and a trained one better.
VENTRICLE_MM_PER_YEAR = 0.1
VENTRICLE_NUISANCE_MM = 0.35
SULCI_PER_YEAR = 0.008
SULCI_NUISANCE = 0.45
SEX_MM = 1.5
AD_MM = 1.8
WARP_MM = 1.1
WARP_SMOOTHNESS_MM = 16.0

MARKER_MM = np.array([-32.0, -30.0, 34.0])
MARKER_RADIUS_MM = 6.5

# (centre x of the right side, y, z), Gaussian radius, swirl axis
SEX_SWIRLS = (
    ((30, 36, 18), 20.0, (0, 0, 1)),
    ((36, -62, 22), 20.0, (1, 0, 0)),
    ((46, -16, 30), 18.0, (1, 0, 0)),
)
AD_CENTRES = (((27, -20, -16), 11.0), ((36, 0, -28), 13.0))


@dataclass(frozen=True)
class Fields:
    """Displacement fields (3, X, Y, Z) in mm on the coarse grid; they peak at 1 to 2 mm."""

    ventricles: np.ndarray
    sex: np.ndarray
    alzheimer: np.ndarray


@dataclass(frozen=True)
class Tumour:
    """A glioblastoma: a ring that enhances around necrosis, inside an oedema."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    is_idh1_mutant: bool
    direction: tuple[float, float, float]


def coarse_positions() -> np.ndarray:
    """MNI mm of the coarse grid's nodes, (3, X, Y, Z)."""
    axes = [ORIGIN_MM[a] + FIELD_SPACING_MM * np.arange(COARSE_SHAPE[a]) for a in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def build_fields(anatomy: Anatomy) -> Fields:
    """The planted displacement fields of this anatomy."""
    positions = coarse_positions()
    nowhere = np.zeros_like(positions)
    sex = sum((_swirl(positions, centre, radius, axis) for centre, radius, axis in SEX_SWIRLS), nowhere)
    alzheimer = sum((_contraction(positions, centre, radius) for centre, radius in AD_CENTRES), nowhere)
    return Fields(_ventricle_field(anatomy), sex, alzheimer)


def _on_both_sides(positions: np.ndarray, one_side) -> np.ndarray:
    """A field of the right side plus its mirror image at the midplane."""
    sign = np.array([-1.0, 1, 1]).reshape(3, 1, 1, 1)
    return one_side(positions) + sign * one_side(positions * sign)


def _fading_offset(points: np.ndarray, centre, radius_mm: float) -> np.ndarray:
    """The offset from a centre, faded by a Gaussian so that its largest length is 1 mm."""
    offset = points - np.reshape(centre, (3, 1, 1, 1))
    return offset * np.exp(0.5 - (offset**2).sum(0) / (2 * radius_mm**2)) / radius_mm


def _swirl(positions: np.ndarray, centre, radius_mm: float, axis) -> np.ndarray:
    """A rotation that fades: it has no divergence, so it keeps every tissue's volume."""
    direction = np.asarray(axis, float)
    return _on_both_sides(
        positions,
        lambda points: np.cross(
            direction, _fading_offset(points, centre, radius_mm), axisa=0, axisb=0, axisc=0
        ),
    )


def _contraction(positions: np.ndarray, centre, radius_mm: float) -> np.ndarray:
    """A region that shrinks towards its centre while its surroundings follow."""
    return _on_both_sides(positions, lambda points: _fading_offset(points, centre, radius_mm))


def _ventricle_field(anatomy: Anatomy) -> np.ndarray:
    """Outward normals of the ventricles, fading over 14 mm of tissue."""
    ventricles = find_ventricles(anatomy.gm + anatomy.wm + anatomy.csf > 0.5, anatomy.csf)
    distance_mm = SPACING_MM * (
        ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles)
    )
    distance_mm = ndimage.gaussian_filter(distance_mm, 2)
    normal = np.stack(np.gradient(distance_mm, SPACING_MM))
    normal *= np.exp(-((np.maximum(distance_mm, 0) / 14) ** 2))
    fine = np.stack([ndimage.gaussian_filter(part, 2) for part in normal])
    return _coarsen(fine)


def _coarsen(fine: np.ndarray) -> np.ndarray:
    """From the anatomy's grid to the coarse one."""
    index = (coarse_positions() - ORIGIN_MM.reshape(3, 1, 1, 1)) / SPACING_MM
    return np.stack([ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in fine])


def draw_warp(rng: np.random.Generator) -> np.ndarray:
    """A person's own smooth displacement, (3, X, Y, Z) mm, of standard deviation `WARP_MM`."""
    noise = rng.standard_normal((3, *COARSE_SHAPE)).astype(np.float32)
    smooth = np.stack(
        [ndimage.gaussian_filter(part, WARP_SMOOTHNESS_MM / FIELD_SPACING_MM) for part in noise]
    )
    return smooth * (WARP_MM / smooth.std())


def displace(positions_mm: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Positions (3, ...) moved by a coarse field: where in the template each point's tissue comes from."""
    return positions_mm + interpolate(field.astype(np.float32), positions_mm, FIELD_SPACING_MM, "border")


def widen_sulci(tissue: dict, positions_mm: np.ndarray, overall: float, frontal: float) -> None:
    """Turn grey matter that borders on CSF into CSF (or back, where negative), in place.

    `overall` acts everywhere; `frontal` mostly before the central sulcus.
    """
    weight = overall + frontal / (1 + np.exp(-(positions_mm[1] + 5) / 12))
    moved = np.clip(weight * 1.6, -1.4, 1.4) * tissue["gm"] * tissue["csf"]
    moved = np.clip(moved, -tissue["csf"], tissue["gm"])
    tissue["gm"] -= moved
    tissue["csf"] += moved


def plant_marker(tissue: dict, positions_mm: np.ndarray) -> None:
    """A round cyst in the left white matter, in place: a flip anywhere in the chain is seen by it."""
    _replace_by_csf(tissue, _ball(positions_mm, MARKER_MM, MARKER_RADIUS_MM, 1.0))


def _replace_by_csf(tissue: dict, share: np.ndarray) -> None:
    brain = tissue["gm"] + tissue["wm"] + tissue["csf"]
    for name in ("gm", "wm", "detail"):
        tissue[name] *= 1 - share
    tissue["csf"] = tissue["csf"] * (1 - share) + brain * share


def _ball(positions_mm: np.ndarray, centre, radius_mm: float, softness_mm: float) -> np.ndarray:
    offset = positions_mm - np.reshape(centre, (3, 1, 1, 1))
    distance = np.sqrt((offset**2).sum(0))
    return 1 / (1 + np.exp((distance - radius_mm) / (0.5 * softness_mm)))


def tumour_fields(tumour: Tumour, tissue: dict, positions_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of `necrosis`, `ring` and `oedema` in each voxel.

    Wild-type IDH1 spreads far along one direction of the white matter and ends softly; mutant stays a
    round, sharp halo.
    """
    brain = tissue["gm"] + tissue["wm"] + tissue["csf"]
    whole = _ball(positions_mm, tumour.centre_mm, tumour.radius_mm, 1.5)
    necrosis = _ball(positions_mm, tumour.centre_mm, 0.62 * tumour.radius_mm, 1.5)
    offset = positions_mm - np.reshape(tumour.centre_mm, (3, 1, 1, 1))
    along = np.tensordot(np.asarray(tumour.direction), offset, axes=1)
    squared = (offset**2).sum(0)
    stretch, reach, softness = (1.0, 1.45, 1.0) if tumour.is_idh1_mutant else (2.2, 1.6, 3.0)
    distance = np.sqrt(np.maximum(squared - along**2 * (1 - 1 / stretch**2), 0))
    halo = 1 / (1 + np.exp((distance - reach * tumour.radius_mm) / softness))
    affinity = np.clip(0.35 + tissue["wm"], 0, 1) * np.clip(1 - 1.5 * tissue["csf"], 0, 1)
    oedema = np.clip(halo * affinity - whole, 0, 1)
    keep = 1 - _ball(positions_mm, MARKER_MM, 2.2 * MARKER_RADIUS_MM, 2.0)
    return {"necrosis": necrosis * brain, "ring": (whole - necrosis) * brain, "oedema": oedema * brain * keep}
