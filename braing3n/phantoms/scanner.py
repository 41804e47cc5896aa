"""From a person to an image: shape, tissue, contrast, and what the scanner adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from braing3n.atlas.templates import SRI24_CENTRE_MM, SRI24_TO_MNI, centred_affine, grid_positions
from braing3n.core.contracts import MODALITIES
from braing3n.phantoms import effects
from braing3n.phantoms.anatomy import HEAD_TO_MNI, Anatomy
from braing3n.phantoms.people import Person

# Intensity of each tissue, white matter of the T1 being 1; `head` scales the T1 of scalp, skull and face.
TISSUES = ("gm", "wm", "csf", "detail", "head", "necrosis", "ring", "oedema")
CONTRASTS = {
    "T1": dict(zip(TISSUES, (0.73, 1.00, 0.30, 1.0, 1.0, 0.42, 0.66, 0.70), strict=True)),
    "T1c": dict(zip(TISSUES, (0.78, 1.00, 0.30, 1.0, 1.1, 0.42, 1.60, 0.70), strict=True)),
    "T2": dict(zip(TISSUES, (0.62, 0.42, 1.10, -0.5, 0.6, 1.00, 0.66, 0.90), strict=True)),
    "FLAIR": dict(zip(TISSUES, (0.72, 0.55, 0.14, -0.3, 0.7, 0.40, 0.90, 1.15), strict=True)),
}

BRAIN_CENTRE_MM = np.linalg.inv(HEAD_TO_MNI)[:3] @ np.array([0, -18, 8, 1.0])
# Edges of the field of view from the brain's centre, right-left, back-front and below-above.
FIELD_OF_VIEW_MM = np.array([[-93, 93], [-112, 122], [-120, 95]])
TUMOUR_CODES = {"oedema": 2, "necrosis": 1, "ring": 4}
BIAS_AMPLITUDE = 0.18
# A registration's error (standard deviation): degrees and mm about and along each axis, and of the scale.
REGISTRATION_ERROR = (0.8, 0.7, 0.008)
# How much of a later visit's is its own: with it two visits differ as much as two of the demo's people do
# after preprocessing (median 0.26 z-units; 0.38 where their errors are independent).
OWN_REGISTRATION_ERROR = 0.8
CONTRAST_JITTER = 0.025


@dataclass(frozen=True)
class World:
    """The anatomy and the effects' fields, built once a process."""

    anatomy: Anatomy
    fields: effects.Fields


def scan_head(
    world: World, person: Person, visit: int, modality: str, spacing_mm: float, has_bias: bool = True
):
    """A whole head as the scanner stores it, or, without its bias, as a corrected download has it.

    Returns:
        image: float32 (X, Y, Z) in RAS, in units of T1 white matter.
        affine: voxel to mm of the RAS image.
        brain: bool (X, Y, Z), the planted brain.
    """
    tissue, affine = place_head(world, person, visit, modality, spacing_mm)
    rng = person.rng(2, visit, MODALITIES.index(modality))
    image = show(tissue, modality, rng)
    bias = _draw_bias(image.shape, rng)  # drawn in any case, so that the noise stays the same
    image = image * bias if has_bias else image
    return distort(image, person, spacing_mm, rng), affine, _brain(tissue) > 0.5


def place_head(world: World, person: Person, visit: int, modality: str, spacing_mm: float):
    """The tissue maps of a head in the scanner, (X, Y, Z) in RAS, and the affine of their grid."""
    edges = FIELD_OF_VIEW_MM + BRAIN_CENTRE_MM[:, None]
    shape = np.round(np.diff(edges)[:, 0] / spacing_mm).astype(int)
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = edges[:, 0] + spacing_mm / 2
    to_mni = HEAD_TO_MNI @ np.linalg.inv(_draw_pose(person, visit, modality)) @ affine
    return place_tissue(world, person, visit, grid_positions(shape, to_mni)), affine


def scan_brain(world: World, person: Person, visit: int, modality: str, shape, spacing_mm: float):
    """A brain as preprocessing would leave it, without preprocessing: (L, P, S) on the SRI24 grid.

    A small remaining misalignment stands for the registration's error.
    """
    rng = person.rng(2, visit, MODALITIES.index(modality))
    tissue = place_brain(world, person, visit, shape, spacing_mm, rng)
    image = distort(show(tissue, modality, rng), person, spacing_mm, rng)
    mask = _brain(tissue) > 0.5
    return np.where(mask, image, 0).astype(np.float32), mask


def place_brain(
    world: World, person: Person, visit: int, shape, spacing_mm: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The tissue maps of a registered brain, (L, P, S) on the SRI24 grid.

    The registration errs alike on all visits of a head, up to a share that is each later visit's own.
    """
    turned, shifted, scaled = _draw_registration_error(rng)
    if visit:
        first = _draw_registration_error(person.rng(2, 0, 0))
        own = (turned, shifted, scaled)
        turned, shifted, scaled = (a + OWN_REGISTRATION_ERROR * b for a, b in zip(first, own, strict=True))
    error = _about(SRI24_CENTRE_MM, _rigid(turned, shifted, 1 + scaled), SRI24_TO_MNI)
    positions = grid_positions(shape, error @ centred_affine(shape, spacing_mm))
    return place_tissue(world, person, visit, positions)


def _draw_registration_error(rng: np.random.Generator) -> tuple:
    """Degrees (3,), mm (3,) and what is added to the scale."""
    degrees, mm, scale = REGISTRATION_ERROR
    return rng.normal(0, degrees, 3), rng.normal(0, mm, 3), rng.normal(0, scale)


def label_tumour(tissue: dict[str, np.ndarray]) -> np.ndarray:
    """The planted tumour as readers would delineate it, uint8, in BraTS's codes; 0 where there is none."""
    labels = np.zeros(tissue["gm"].shape, np.uint8)
    for name, code in TUMOUR_CODES.items():
        if name in tissue:
            labels[tissue[name] > 0.5] = code
    return labels


def place_tissue(world: World, person: Person, visit: int, positions_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Tissue maps of one visit with every effect planted; shares of necrosis, ring and oedema for tumours."""
    traits = person.rng(1)
    ventricles_nuisance, sulci_nuisance = traits.normal(0, 1), traits.normal(0, 1)
    warp = effects.draw_warp(traits)
    years = person.age_years + person.visit_years[visit] - 55
    fields = world.fields
    ventricles_mm = (
        effects.VENTRICLE_MM_PER_YEAR * years + effects.VENTRICLE_NUISANCE_MM * ventricles_nuisance
    )
    warp = warp - ventricles_mm * fields.ventricles
    warp += (0.5 if person.sex == "F" else -0.5) * effects.SEX_MM * fields.sex
    if person.dx == "AD":
        warp += effects.AD_MM * (1 + 0.1 * person.visit_years[visit]) * fields.alzheimer
    template_mm = effects.displace(positions_mm, warp)
    tissue = world.anatomy.sample(template_mm)
    effects.widen_sulci(
        tissue, template_mm, effects.SULCI_NUISANCE * sulci_nuisance, effects.SULCI_PER_YEAR * years
    )
    effects.plant_marker(tissue, template_mm)
    if person.tumour is not None:
        tissue |= effects.tumour_fields(person.tumour, tissue, template_mm)
    return tissue


def show(tissue: dict[str, np.ndarray], modality: str, rng: np.random.Generator) -> np.ndarray:
    """The modality's contrast of the tissues, with each scan's own small deviation."""
    contrast = CONTRASTS[modality]
    jitter = dict(zip(("gm", "wm", "csf"), 1 + CONTRAST_JITTER * rng.standard_normal(3), strict=True))
    image = sum(contrast[name] * jitter[name] * tissue[name] for name in ("gm", "wm", "csf"))
    image += contrast["detail"] * tissue["detail"]
    brain = _brain(tissue)
    for name in ("oedema", "ring", "necrosis"):
        if name in tissue:
            share = tissue[name] / np.maximum(brain, 1e-3)
            image = image * (1 - share) + contrast[name] * tissue[name]
    return np.maximum(image, 0) + contrast["head"] * tissue["head"] * (1 - brain)


def distort(image: np.ndarray, person: Person, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """What the site does: blur, a contrast curve, and Rician noise."""
    site = person.site
    image = ndimage.gaussian_filter(image, site.blur_mm / spacing_mm) if site.blur_mm else image
    image = np.maximum(image, 0) ** site.gamma
    noise = site.noise * rng.standard_normal((2, *image.shape), dtype=np.float32)
    return np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2).astype(np.float32)


def _brain(tissue: dict[str, np.ndarray]) -> np.ndarray:
    return tissue["gm"] + tissue["wm"] + tissue["csf"]


def _draw_pose(person: Person, visit: int, modality: str) -> np.ndarray:
    """Head in the scanner: turned, shifted, scaled by head size; scans of a visit differ a little."""
    rng = person.rng(3, visit)
    angles, shift = rng.normal(0, 3.5, 3), rng.normal(0, 3, 3)
    slip = person.rng(4, visit, MODALITIES.index(modality))
    angles, shift = angles + slip.normal(0, 0.5, 3), shift + slip.normal(0, 0.5, 3)
    return _about(BRAIN_CENTRE_MM, _rigid(angles, shift, person.head_size), np.eye(4))


def _rigid(angles_deg, shift_mm, scale: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() * scale
    matrix[:3, 3] = shift_mm
    return matrix


def _about(centre: np.ndarray, matrix: np.ndarray, then: np.ndarray) -> np.ndarray:
    """`matrix` around a centre, then another."""
    there, back = np.eye(4), np.eye(4)
    there[:3, 3], back[:3, 3] = centre, -centre
    return then @ there @ matrix @ back


def _draw_bias(shape, rng: np.random.Generator) -> np.ndarray:
    """A smooth shading, as coils leave it."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    a = rng.normal(0, 1, 6)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * (x**2 - 0.3) + a[4] * (y**2 - 0.3) + a[5] * (z**2 - 0.3)
    return np.exp(np.float32(BIAS_AMPLITUDE) * field / np.sqrt(3)).astype(np.float32)
