"""How much of a head a raw image shows, from its header alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

WHOLE_HEAD_MM = 100.0  # the smallest side of a field of view that may hold a brain; a slab has less


def is_partial(extent_mm: float) -> bool:
    """Whether an image whose smallest side is so long is a slab, such as one of the hippocampus."""
    return extent_mm < WHOLE_HEAD_MM


@cache
def measure_extent_mm(path: str | Path, stamp: str = "") -> float:
    """The smallest side of a NIfTI's field of view; 0 where its header cannot be read or shows no 3-D image.

    stamp: of the file's size and time, so that another content is read again.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        if not isinstance(image, nib.spatialimages.SpatialImage):
            return 0.0
        shape = [n for n in image.header.get_data_shape() if n > 1]
        edges = [n * float(edge) for n, edge in zip(shape, image.header.get_zooms(), strict=False)]
        return min(edges) if len(edges) == 3 else 0.0
    except Exception:  # whatever is wrong with it: preprocessing gives the reason
        return 0.0
