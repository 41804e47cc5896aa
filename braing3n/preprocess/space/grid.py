"""The SRI24 grid, and the way between arrays, ANTs images and NIfTI files.

NIfTI positions are RAS, those of ITK (and ANTs) LPS: all matrices between spaces here are LPS, in mm, and map
points of the target to points of the source, as ITK resamples.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from braing3n.preprocess.read.scan import Volume, read_scan

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
RIM_MM = 8.0  # of the atlas's brain: anything of a brain's outline is dark there, as the atlas is


@dataclass(frozen=True)
class Grid:
    """An LPS-stored grid: index increases to Left, Posterior, Superior."""

    shape: tuple[int, int, int]
    spacing_mm: float
    origin_lps: tuple[float, float, float]

    @property
    def affine(self) -> np.ndarray:
        """Voxel -> RAS mm, as a NIfTI header holds it."""
        to_lps = np.diag([self.spacing_mm] * 3 + [1.0])
        to_lps[:3, 3] = self.origin_lps
        return RAS_TO_LPS @ to_lps


@dataclass(frozen=True)
class Atlas:
    """The SRI24 brain: as a scan, the grid that volumes go to, and the brain and its mask on that grid."""

    brain: Volume
    grid: Grid
    volume: np.ndarray  # float32 (L, P, S) on the grid
    mask: np.ndarray  # bool (L, P, S) on the grid

    @cached_property
    def inside(self) -> np.ndarray:
        """The brain (bool, L x P x S) without its outer 8 mm."""
        from scipy import ndimage

        return ndimage.binary_erosion(self.mask, iterations=max(1, round(RIM_MM / self.grid.spacing_mm)))

    @property
    def brain_ml(self) -> float:
        """The volume of the brain."""
        return float(self.mask.sum()) * self.grid.spacing_mm**3 / 1000


def load_atlas(path: str | Path, spacing_mm: float) -> Atlas:
    """Read the SRI24 brain and lay out the grid at `spacing_mm`, centred where the atlas's own box is.

    At 1 mm the grid is the box of BraTS: 240 x 240 x 155, LPS, first voxel at (0, -239, 0) mm in LPS.
    """
    from scipy import ndimage

    brain = read_scan(path)
    edge_mm = brain.spacing_mm
    extent_mm = np.array(brain.data.shape) * edge_mm
    centre_ras = brain.affine[:3, :3] @ ((np.array(brain.data.shape) - 1) / 2) + brain.affine[:3, 3]
    shape = np.ceil(extent_mm / spacing_mm - 1e-6).astype(int)
    origin = RAS_TO_LPS[:3, :3] @ centre_ras - (shape - 1) / 2 * spacing_mm
    grid = Grid(tuple(shape.tolist()), float(spacing_mm), tuple(origin.round(6).tolist()))
    inside = brain.with_data(ndimage.binary_fill_holes(brain.data > 0))
    volume, mask = (resample(scan, np.eye(4), grid, "linear") for scan in (soften(brain, spacing_mm), inside))
    return Atlas(brain, grid, volume, mask > 0.5)


def is_on_grid(scan: Volume, grid: Grid) -> bool:
    """Whether a canonical scan has the grid's very voxels (stored the other way round)."""
    if scan.data.shape != grid.shape:
        return False
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
    flipped[:2, 3] = np.array(grid.shape[:2]) - 1
    return bool(np.allclose(scan.affine @ flipped, grid.affine, atol=0.01))


def store_as_lps(scan: Volume) -> np.ndarray:
    """A canonical scan's voxels in LPS order, untouched."""
    return np.ascontiguousarray(scan.data[::-1, ::-1])


def to_ants(scan: Volume):
    """The ANTs image of a scan."""
    import ants

    affine = RAS_TO_LPS @ scan.affine
    direction = _orthonormalise(affine[:3, :3] / scan.spacing_mm)
    return ants.from_numpy(
        scan.data, origin=affine[:3, 3].tolist(), spacing=scan.spacing_mm.tolist(), direction=direction
    )


def resample(scan: Volume, matrix: np.ndarray, grid: Grid, interpolation: str) -> np.ndarray:
    """Bring a scan to the grid by one interpolation.

    Args:
        matrix: 4 x 4, LPS mm, points of the grid's space -> points of the scan's space.
        interpolation: `bSpline` (cubic) or `linear`; outside the scan is 0.

    Returns:
        float32 of the grid's shape (L, P, S).
    """
    import ants

    reference = ants.from_numpy(
        np.zeros(grid.shape, np.float32), origin=list(grid.origin_lps), spacing=[grid.spacing_mm] * 3
    )
    transform = ants.new_ants_transform(
        dimension=3,
        transform_type="AffineTransform",
        parameters=np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]]).tolist(),
        fixed_parameters=[0.0, 0.0, 0.0],
    )
    moved = ants.apply_ants_transform_to_image(transform, to_ants(scan), reference, interpolation)
    return moved.numpy().astype(np.float32)


def soften(scan: Volume, spacing_mm: float) -> Volume:
    """Take away detail that a grid much coarser than the scan would fold into false patterns.

    Along axes finer than two thirds of the grid's spacing, a Gaussian widens the resolution to the grid's.
    """
    from scipy import ndimage

    edge_mm = scan.spacing_mm
    width_mm = np.sqrt(np.maximum(spacing_mm**2 - edge_mm**2, 0))  # full width at half height
    sigma = np.where(spacing_mm > 1.5 * edge_mm, width_mm / 2.355 / edge_mm, 0)
    return scan.with_data(ndimage.gaussian_filter(scan.data, sigma)) if sigma.any() else scan


def map_to_scan(scan: Volume, matrix: np.ndarray, grid: Grid, index: np.ndarray) -> np.ndarray:
    """Where voxels of the grid (N, 3) lie in a scan, as its voxel coordinates (3, N)."""
    to_voxel = np.linalg.inv(scan.affine) @ RAS_TO_LPS @ matrix @ RAS_TO_LPS @ grid.affine
    return to_voxel[:3, :3] @ index.T + to_voxel[:3, 3:]


def measure_coverage(scan: Volume, matrix: np.ndarray, grid: Grid, mask: np.ndarray) -> float:
    """The share of the mask's voxels (bool, grid's shape) that lie within the scan's field of view."""
    points = map_to_scan(scan, matrix, grid, np.argwhere(mask))
    low, high = points >= -0.5, points <= np.array(scan.data.shape)[:, None] - 0.5
    return float((low & high).all(axis=0).mean())


def encode_nifti(data: np.ndarray, grid: Grid) -> bytes:
    """A .nii.gz with a fresh header and no time in it: equal voxels give equal bytes.

    Integers stay as they are. Float voxels become int16 with a scale, which readers multiply by: the largest
    error is 1/32767 of the largest magnitude. The scale is a power of two, so 0 stays 0, and whole numbers up
    to 32767 stay themselves.
    """
    import nibabel as nib

    scale = 1.0
    if data.dtype.kind == "f":
        scale = 2.0 ** np.ceil(np.log2(max(float(np.abs(data).max()), 1e-30) / 32767))
        data = np.rint(data / scale).astype(np.int16)
    image = nib.Nifti1Image(data, grid.affine)
    image.header.set_slope_inter(scale, 0)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code="aligned")
    image.set_qform(grid.affine, code="aligned")
    return gzip.compress(image.to_bytes(), compresslevel=5, mtime=0)


def encode_affine(matrix: np.ndarray) -> bytes:
    """ITK's `.mat` of a 4 x 4 LPS matrix, which ANTs, SimpleITK and ITK-SNAP read."""
    import io

    from scipy.io import savemat

    numbers = np.concatenate([matrix[:3, :3].ravel(), matrix[:3, 3]])[:, None]
    buffer = io.BytesIO()
    savemat(buffer, {"AffineTransform_double_3_3": numbers, "fixed": np.zeros((3, 1))}, format="4")
    return buffer.getvalue()


def _orthonormalise(axes: np.ndarray) -> np.ndarray:
    """The nearest rotation (or reflection): headers round their axes, ITK does not forgive it."""
    left, _, right = np.linalg.svd(axes)
    return left @ right
