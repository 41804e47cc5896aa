"""A picture for the eye: three slices a volume with the outline of its brain mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from braing3n.preprocess.scan import find_box
from braing3n.runtime import write_atomically

if TYPE_CHECKING:
    import pandas as pd

MAX_VOLUMES = 24
N_COLUMNS = 3


def draw_mosaic(rows: pd.DataFrame, picture_path: str | Path) -> None:
    """Draw the kept volumes of a preprocess table: sagittal, coronal and axial, the mask outlined.

    The patient's right is on the picture's left. Of more than 24 volumes, 24 are taken evenly over the table.
    """
    from matplotlib.figure import Figure

    kept = rows[rows["status"] == "kept"]
    chosen = kept.iloc[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), MAX_VOLUMES)).astype(int))]
    n_lines = max(1, -(-len(chosen) // N_COLUMNS))
    figure = Figure(figsize=(4.2 * N_COLUMNS, 1.65 * n_lines), dpi=110, layout="constrained")
    panels = figure.subplots(n_lines, N_COLUMNS, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, row in zip(panels, chosen.itertuples(), strict=False):
        _draw_volume(panel, row)
    if not len(chosen):
        panels[0].text(0.5, 0.5, "no volume was kept", color="white", ha="center")
    with write_atomically(picture_path) as beside:
        figure.savefig(beside, facecolor="black", metadata={"Software": None})


def _draw_volume(panel, row) -> None:
    """One volume's three slices through the middle of its mask, side by side."""
    import nibabel as nib

    volume = np.asarray(nib.load(row.path).dataobj, dtype=np.float32)
    mask = np.asarray(nib.load(row.mask_path).dataobj) > 0
    top = np.percentile(volume[mask], 99.5)
    box = find_box(mask, (2, 2, 2))
    volume, mask = volume[box], mask[box]
    centre = [n // 2 for n in mask.shape]
    strip = np.concatenate([lay_out(volume, axis, at) for axis, at in enumerate(centre)], axis=1)
    outline = np.concatenate([lay_out(mask, axis, at) for axis, at in enumerate(centre)], axis=1)
    panel.imshow(strip, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    panel.contour(outline, levels=[0.5], colors="#ffb000", linewidths=0.5)
    panel.set_title(f"{row.volume_id}  Dice {row.atlas_dice:.3f}", color="white", fontsize=6, pad=2)


def lay_out(array: np.ndarray, axis: int, at: int) -> np.ndarray:
    """An (L, P, S) array's slice as a picture, in a square frame so that the three planes line up."""
    plane = np.take(array, at, axis=axis).astype(np.float32)
    # (P, S) and (L, S) show superior on top; in the axial (L, P) rows run from front to back.
    plane = plane.T if axis == 2 else plane.T[::-1]
    missing = [max(array.shape) - n for n in plane.shape]
    return np.pad(plane, [(n // 2, n - n // 2) for n in missing])
