"""What a header claims, held against the file and a head's size before any voxel is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from braing3n.core.errors import ScanError

MAX_VOXELS = 5 * 10**8  # a head at 0.3 mm has 3.6 times less
MAX_FIELD_OF_VIEW_MM, MIN_FIELD_OF_VIEW_MM = 600.0, 60.0  # of the longest axis
MAX_SURPLUS_BYTES = 2**16  # behind the voxels; some programs append a little


def check_claims(path: Path, image) -> int:
    """Refuse an image whose header claims what no head and no such file can be.

    image is nibabel's, its voxels not read yet. Returns the bytes that the header claims.

    Raises:
        ScanError: the shape, the field of view, or the file's size.
    """
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    text = " x ".join(map(str, shape))
    if len(shape) != 3:
        raise ScanError(f"{path.name}: {len(shape)}-D ({text}), expected one 3-D volume.")
    if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise ScanError(f"{path.name}: its header claims {text} voxels; that is no head. Get the file again.")
    n_bytes = math.prod(shape) * np.dtype(image.header.get_data_dtype()).itemsize
    offset = int(getattr(image.dataobj, "offset", 0) or 0)
    _check_size(path, n_bytes + offset)
    return n_bytes + offset


def check_field_of_view(name: str, shape: tuple[int, ...], zooms_mm: np.ndarray) -> None:
    """Refuse a field of view that no head fits: a header in microns or centimetres, or a wrong one.

    Raises:
        ScanError: names the field of view and the voxel size.
    """
    edges_mm = np.asarray(zooms_mm) * shape
    if MIN_FIELD_OF_VIEW_MM <= edges_mm.max() <= MAX_FIELD_OF_VIEW_MM:
        return
    what = "more" if edges_mm.max() > MAX_FIELD_OF_VIEW_MM else "less"
    size = " x ".join(f"{edge:.4g}" for edge in zooms_mm)
    raise ScanError(
        f"{name}: its header shows {edges_mm.max():.4g} mm, {what} than any head (voxels of {size} mm); "
        "the unit may not be millimetres."
    )


def _check_size(path: Path, n_bytes: int) -> None:
    """An uncompressed file has the size that its header claims; compressed ones are measured when read."""
    if path.suffix.lower() in (".gz", ".mgz", ".bz2", ".zst"):
        return
    voxels = path.with_suffix(".img") if path.suffix == ".hdr" else path
    if voxels.exists():
        check_surplus(voxels.name, voxels.stat().st_size - n_bytes)


def check_surplus(name: str, n_bytes: int) -> None:
    """Refuse a file that holds much more than its header says.

    Raises:
        ScanError: how much more.
    """
    if n_bytes > MAX_SURPLUS_BYTES:
        raise ScanError(f"{name}: is {n_bytes} bytes longer than its header says; it may be another image's.")
