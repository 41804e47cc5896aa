"""The phantoms' real anatomy: the ICBM152 brain's tissue fractions inside a mean T1 head.

All positions are MNI millimetres (RAS), the frame of the ICBM152 templates.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from braing3n.core.errors import ResourceError

BRAIN_MEMBER = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
HEAD_MEMBER = "pydeface/data/mean_reg2mean.nii.gz"

# Fitted once by an affine registration of the two brains (their overlap is a Dice of 0.97).
HEAD_TO_MNI = np.array(
    [
        [1.1181, -0.0895, -0.0239, 6.0621],
        [0.0934, 1.0604, 0.1649, -18.0931],
        [0.0034, -0.1331, 1.1552, 4.1591],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
# Likewise, from the SRI24 atlas's millimetres (RAS, x from -239 to 0) to MNI.
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

# Intensities of the templates: ICBM's white matter, and the mean head's.
ICBM_WHITE = 225.0
HEAD_WHITE = 340.0
T1_OF_TISSUE = {"gm": 0.73, "wm": 1.0, "csf": 0.30}


MAPS = ("gm", "wm", "csf", "detail", "head")


@dataclass(frozen=True)
class Anatomy:
    """Maps on one grid in MNI space: `maps` is (5, 145, 187, 187) float32 in the order of `MAPS`.

    `gm`, `wm` and `csf` are fractions that sum to the brain mask's softness; `detail` is what the T1
    template shows beyond its tissue fractions; `head` is the T1 of all that is not brain, in units of
    white matter.
    """

    maps: np.ndarray

    def __getattr__(self, name: str) -> np.ndarray:
        if name in MAPS:
            return self.maps[MAPS.index(name)]
        raise AttributeError(name)

    def sample(self, positions_mm: np.ndarray) -> dict[str, np.ndarray]:
        """Every map at positions (3, X, Y, Z) in MNI mm; 0 outside the grid."""
        return dict(zip(MAPS, interpolate(self.maps, positions_mm, SPACING_MM, "zeros"), strict=True))

    def blur(self, sigma_mm: float) -> Anatomy:
        """The same anatomy, smoothed by a Gaussian."""
        return Anatomy(np.stack([ndimage.gaussian_filter(part, sigma_mm / SPACING_MM) for part in self.maps]))


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


@lru_cache(maxsize=1)
def load_anatomy(brain_templates_wheel: Path, head_template_wheel: Path) -> Anatomy:
    """Read the templates out of their wheels and put the brain into the head.

    Raises:
        ResourceError: a wheel cannot be read or lacks a template.
    """
    t1, gm, wm = (
        _resample(*_read(brain_templates_wheel, BRAIN_MEMBER.format(k))) for k in ("t1", "gm", "wm")
    )
    values, affine = _read(head_template_wheel, HEAD_MEMBER)
    head = np.clip(_resample(values, HEAD_TO_MNI @ affine), 0, None) / HEAD_WHITE

    gm, wm, t1 = np.clip(gm / 255, 0, 1), np.clip(wm / 255, 0, 1), np.clip(t1 / ICBM_WHITE, 0, None)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0.15, iterations=2))
    softness = np.clip(ndimage.gaussian_filter(brain.astype(np.float32), 0.7), 0, 1)
    total = np.maximum(gm + wm, 1)
    gm, wm = gm / total * softness, wm / total * softness
    csf = np.clip(softness - gm - wm, 0, 1)
    expected = gm * T1_OF_TISSUE["gm"] + wm * T1_OF_TISSUE["wm"] + csf * T1_OF_TISSUE["csf"]
    inside = ndimage.binary_erosion(brain, iterations=2)
    detail = np.where(inside, np.clip(t1 - expected, -0.25, 0.25), 0)
    return Anatomy(np.stack([gm, wm, csf, detail, _clear_around_brain(head, brain)]).astype(np.float32))


def centred_affine(shape: Sequence[int], spacing_mm: float) -> np.ndarray:
    """Voxel to SRI24 mm of an (L, P, S) grid around the atlas's centre."""
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = SRI24_CENTRE_MM - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _clear_around_brain(head: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The head without the rest of its own brain: dark from the brain's surface to the skull.

    Below the brain stem nothing is cleared, so that the spinal cord goes on.
    """
    distance_mm = ndimage.distance_transform_edt(~brain) * SPACING_MM
    height_mm = ORIGIN_MM[2] + SPACING_MM * np.arange(SHAPE[2])
    bottom_mm = height_mm[brain.any(axis=(0, 1))].min()
    clear = np.clip(1.5 - distance_mm / 4, 0, 1) * np.clip((height_mm - bottom_mm - 6) / 12, 0, 1)
    return head * (1 - clear) + np.minimum(head, 0.22) * clear


def _read(wheel: Path, member: str) -> tuple[np.ndarray, np.ndarray]:
    """A gzipped NIfTI inside a wheel: values float32 and affine."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read(member)))
        return np.asarray(image.dataobj, dtype=np.float32), image.affine
    except (OSError, KeyError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ResourceError(
            f"{wheel}: cannot give the template {member} ({error}); delete the file and fetch it again."
        ) from None


def _resample(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Onto the anatomy's grid, smoothed a little so that nothing aliases."""
    grid = np.diag([SPACING_MM] * 3 + [1.0])
    grid[:3, 3] = ORIGIN_MM
    to_voxel = np.linalg.inv(affine) @ grid
    smooth = ndimage.gaussian_filter(values, 0.5)
    return ndimage.affine_transform(smooth, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=SHAPE, order=1)
