"""Invented brains: smooth, lopsided, known at every point in space."""

import nibabel as nib
import numpy as np

ATLAS_SPACING_MM = 4.0
ATLAS_SHAPE = (60, 60, 39)
# The box of SRI24 in RAS mm: x -239..0, y 0..239, z 0..154.
ATLAS_CENTRE = np.array([-119.5, 119.5, 77.0])
SEMI_AXES_MM = np.array([68.0, 85.0, 60.0])
MARKER_RAS_MM = np.array([-38.0, 20.0, 12.0])  # on the left: x grows to the right


def paint(points, modality="T1"):
    """Intensity of the invented brain at RAS points (..., 3) in mm around its centre; 0 outside."""
    radius = np.sqrt(((points / SEMI_AXES_MM) ** 2).sum(axis=-1))
    brain = np.clip((1.0 - radius) * 12, 0, 1)
    x, y, z = np.moveaxis(points, -1, 0)
    texture = 100 + 12 * np.sin(x / 17 + 0.6) * np.cos(y / 21) + 8 * np.sin(z / 14)
    for centre, size, height in (
        ((0, 5, 5), (7, 30, 12), -70),
        ((25, -40, -20), (14, 14, 14), 45),
        ((-30, -15, 25), (10, 18, 8), -35),
        (MARKER_RAS_MM, (9, 9, 9), 110),
    ):
        texture = texture + height * np.exp(-((((points - np.array(centre)) / size) ** 2).sum(axis=-1)))
    if modality != "T1":
        texture = 240 - texture
    return (brain * texture).astype(np.float32)


def sample(affine, shape, to_brain=None, modality="T1"):
    """The invented brain on a grid; `to_brain` (4 x 4, RAS) maps the grid's positions to the brain's own."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    to_brain = np.eye(4) if to_brain is None else to_brain
    matrix = to_brain @ affine
    return paint(index @ matrix[:3, :3].T + matrix[:3, 3], modality)


def centred_affine(shape, spacing_mm):
    """A RAS grid whose middle is the origin."""
    affine = np.diag([*np.broadcast_to(spacing_mm, 3).astype(float), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def rotate(degrees, axis=2, shift=(0, 0, 0), scale=1.0):
    """A 4 x 4 turn about one axis, with a scale and a shift in mm."""
    angle, (one, other) = np.deg2rad(degrees), [k for k in range(3) if k != axis]
    matrix = np.eye(4)
    matrix[one, one] = matrix[other, other] = np.cos(angle)
    matrix[one, other], matrix[other, one] = -np.sin(angle), np.sin(angle)
    matrix[:3, :3] *= scale
    matrix[:3, 3] = shift
    return matrix


def write_brain(path, shape=(36, 42, 34), spacing_mm=5.0, to_brain=None, modality="T1"):
    """Write a stripped brain and return its path as text."""
    affine = centred_affine(shape, spacing_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(sample(affine, shape, to_brain, modality), affine), path)
    return str(path)


def make_row(path, subject_id="01", modality="T1", **facts):
    """An inventory row; a stripped, bias-corrected scan in its scanner's space unless given otherwise."""
    row = {"cohort": "invented", "subject_id": subject_id, "session_id": "", "run": "", "modality": modality}
    row |= {
        "path": str(path),
        "stamp": "1",
        "source_format": "NIfTI",
        "axes": "",
        "is_bias_corrected": 1,
        "is_defaced": 0,
        "is_stripped": 1,
    }
    row |= {"raw_space": "native", "person_id": subject_id, "group_id": subject_id}
    row |= {"segmentations": "", "spares": ""}
    return row | facts
