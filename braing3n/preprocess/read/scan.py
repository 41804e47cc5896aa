"""Reading one raw scan and finding what makes it unusable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braing3n.core.errors import ScanError

Box = tuple[slice, slice, slice]
MIN_SLICES = 8  # along every axis; fewer are a localiser or a slab
MAX_FLOAT32, EPSILON_FLOAT32 = float(np.finfo(np.float32).max), float(np.finfo(np.float32).eps)
MIN_LEVELS = 256  # that a picture's range must keep in 32-bit floats


@dataclass(frozen=True)
class Volume:
    """A scan that was read: `data` float32 (X, Y, Z), growing right, anterior, up; `affine` to RAS mm."""

    data: np.ndarray
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel edges along the three axes, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def with_data(self, data: np.ndarray) -> Volume:
        """The same grid with other voxels."""
        return Volume(np.ascontiguousarray(data, dtype=np.float32), self.affine)

    def crop(self, box: Box) -> Volume:
        """A part of the scan; physical positions stay."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
        return Volume(np.ascontiguousarray(self.data[box]), affine)


def coarsen(scan: Volume, spacing_mm: float) -> Volume:
    """Average whole blocks of voxels, as many along each axis as fit into `spacing_mm`."""
    n_each = np.maximum(1, np.floor(spacing_mm / scan.spacing_mm + 0.01)).astype(int)
    shape = np.array(scan.data.shape) // n_each
    used = scan.data[tuple(slice(0, n) for n in shape * n_each)]
    blocks = used.reshape(np.stack([shape, n_each], axis=1).ravel())
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((n_each - 1) / 2)
    affine[:3, :3] = affine[:3, :3] * n_each
    return Volume(np.ascontiguousarray(blocks.mean(axis=(1, 3, 5)), dtype=np.float32), affine)


def find_box(mask: np.ndarray, margin_voxels: Sequence[int] | np.ndarray = (0, 0, 0)) -> Box:
    """The slices around a mask's true voxels, widened and clipped to the array."""
    box = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        low, high = used[0] - margin_voxels[axis], used[-1] + 1 + margin_voxels[axis]
        box.append(slice(max(0, int(low)), min(mask.shape[axis], int(high))))
    return box[0], box[1], box[2]


def read_scan(path: str | Path, source_format: str = "NIfTI", axes: str = "", modality: str = "T1") -> Volume:
    """Read a scan in the closest canonical orientation; arguments as of `load_image`.

    Raises:
        ScanError: missing, empty, truncated, not three-dimensional, not finite, blank, too few slices, or no
            telling of left and right.
    """
    import nibabel as nib

    from braing3n.preprocess.read.formats import load_image

    path = Path(path)
    image = load_image(path, source_format, axes, modality)
    data = _check_voxels(path.name, np.asanyarray(image.dataobj))
    _check_affine(path.name, image.affine)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, image.affine))
    return Volume(np.ascontiguousarray(canonical.dataobj, dtype=np.float32), np.asarray(canonical.affine))


def _check_voxels(name: str, raw: np.ndarray) -> np.ndarray:
    """The voxels as float32 (X, Y, Z), or the reason why they are of no use."""
    if raw.dtype.fields is not None or raw.dtype.kind not in "iufb":
        raise ScanError(f"{name}: voxels of type {raw.dtype} are no intensities.")
    while raw.ndim > 3 and raw.shape[-1] == 1:
        raw = raw[..., 0]
    if raw.ndim != 3:
        shape = " x ".join(str(n) for n in raw.shape)
        raise ScanError(f"{name}: {raw.ndim}-D ({shape}), expected one 3-D volume.")
    if min(raw.shape) < MIN_SLICES:
        raise ScanError(f"{name}: only {min(raw.shape)} slices along one axis, {MIN_SLICES} are needed.")
    n_bad = int(raw.size - np.isfinite(raw).sum())
    if n_bad:
        raise ScanError(f"{name}: {n_bad} of {raw.size} voxels are not finite (NaN or infinite).")
    if raw.dtype.itemsize > 4:
        _check_range(name, raw)
    data = raw.astype(np.float32)
    if data.min() == data.max():
        raise ScanError(f"{name}: every voxel is {data.flat[0]:g}; there is no image.")
    if not (data > 0).any():
        raise ScanError(f"{name}: no voxel is above zero; there is no image.")
    return data


def _check_range(name: str, raw: np.ndarray) -> None:
    """Numbers of 64 bits and more fit into the 32 that they are worked with."""
    low, high = float(raw.min()), float(raw.max())
    largest = max(abs(low), abs(high))
    if largest > MAX_FLOAT32:
        raise ScanError(f"{name}: has values up to {largest:.2g}, more than 32-bit floats hold; rescale it.")
    if low < high and largest * EPSILON_FLOAT32 > (high - low) / MIN_LEVELS:
        raise ScanError(
            f"{name}: its values ({low:.15g} to {high:.15g}) are too alike for 32-bit floats; subtract the "
            "lowest."
        )


def _check_affine(name: str, affine: np.ndarray) -> None:
    """ITK images have orthogonal axes and positive spacings; a shear cannot be carried over."""
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or edges.min() < 1e-3:
        raise ScanError(f"{name}: its header has no usable voxel size ({np.round(edges, 4).tolist()} mm).")
    axes = affine[:3, :3] / edges
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-2:
        raise ScanError(f"{name}: its header shears the axes; resample it to an orthogonal grid.")
