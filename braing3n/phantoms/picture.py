"""Mosaics of volumes for looking, and the search for the left marker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from braing3n.atlas.templates import SRI24_TO_MNI
from braing3n.core.runtime import write_atomically
from braing3n.phantoms.effects import MARKER_MM, MARKER_RADIUS_MM


def draw_mosaic(volumes: list[np.ndarray], titles: list[str], path: Path) -> None:
    """One row a volume, three middle slices each (one along each axis), as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(volumes), 3, figsize=(7.5, 2.5 * len(volumes)), squeeze=False)
    for row, volume, title in zip(axes, volumes, titles, strict=True):
        low, high = np.percentile(volume, [0.5, 99.5])
        for axis, panel in enumerate(row):
            middle = np.take(volume, volume.shape[axis] // 2, axis)
            panel.imshow(middle.T, origin="lower", cmap="gray", vmin=low, vmax=high)
            panel.axis("off")
        row[0].set_title(title, fontsize=8, loc="left")
    figure.tight_layout()
    with write_atomically(path) as beside:
        figure.savefig(beside, dpi=70)
    plt.close(figure)


def find_left_marker(volume: np.ndarray, affine: np.ndarray) -> str:
    """The side on which a phantom's brain shows its marker: 'left' unless something flipped it.

    Args:
        volume: a brain on an SRI24 grid, any spacing and axes, float (X, Y, Z).
        affine: voxel to SRI24 mm (RAS), as nibabel gives it.
    """
    spacing_mm = np.abs(np.linalg.det(affine[:3, :3])) ** (1 / 3)
    spot = np.abs(
        ndimage.gaussian_filter(volume, 0.6 * MARKER_RADIUS_MM / spacing_mm)
        - ndimage.gaussian_filter(volume, 1.4 * MARKER_RADIUS_MM / spacing_mm)
    )
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"))
    to_mni = SRI24_TO_MNI @ affine
    mni_mm = np.tensordot(to_mni[:3, :3], index, axes=1) + to_mni[:3, 3].reshape(3, 1, 1, 1)
    strength = {}
    for side, sign in (("left", 1), ("right", -1)):
        offset = mni_mm - (MARKER_MM * [sign, 1, 1]).reshape(3, 1, 1, 1)
        strength[side] = spot[(offset**2).sum(0) < 9**2].max()
    return max(strength, key=strength.__getitem__)
