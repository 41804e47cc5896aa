"""Pictures for visual inspection: three slices a volume with the outline of its brain mask."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from braing3n.core.runtime import write_atomically
from braing3n.preprocess.read.scan import find_box
from braing3n.preprocess.space.grid import Atlas

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

MARGIN_MM = 8.0  # of the frame around the atlas's brain
COLLAR_MM = 12.0  # around the mask that is shown: enough to see what it lacks, too little for a face
OUTLINE = (255, 176, 0)
JPEG_QUALITY = 40
MAX_VOLUMES = 24
N_COLUMNS = 3


def draw_thumbnail(head: np.ndarray, mask: np.ndarray, atlas: Atlas) -> bytes:
    """A JPEG of a head's sagittal, coronal and axial slice through the middle of the atlas's brain.

    Slices and frame are the same for all volumes, so that what lies wrong is seen at once; a pixel is about
    1 mm. The patient's right is on the picture's left.

    Args:
        head: (L, P, S) in SRI24, not masked, so that brain outside the mask shows.
        mask: bool (L, P, S).
    """
    from matplotlib.image import imsave
    from scipy import ndimage

    pixel_mm = atlas.grid.spacing_mm
    box = find_box(atlas.mask, np.full(3, round(MARGIN_MM / pixel_mm)))
    n_repeats, step = max(1, round(pixel_mm)), max(1, round(1 / pixel_mm))
    grey, inside = (_lay_out_planes(array[box])[::step, ::step] for array in (head, mask))
    near = ndimage.distance_transform_edt(inside < 0.5) * pixel_mm * step <= COLLAR_MM
    top = np.percentile(head[mask], 99.5)
    grey = np.clip(np.where(near, grey, 0) / max(top, 1e-12), 0, 1)
    grey, inside = (np.kron(plane, np.ones((n_repeats, n_repeats))) for plane in (grey, inside))
    picture = np.repeat(np.rint(255 * grey).astype(np.uint8)[:, :, None], 3, axis=2)
    brain = inside > 0.5
    picture[brain & ~ndimage.binary_erosion(brain)] = OUTLINE
    buffer = io.BytesIO()
    coding = {"quality": JPEG_QUALITY, "subsampling": 0, "optimize": True}  # colour in full: the line is thin
    imsave(buffer, picture, format="jpg", pil_kwargs=coding)
    return buffer.getvalue()


def _lay_out_planes(array: np.ndarray) -> np.ndarray:
    """An (L, P, S) array's middle slices side by side."""
    return np.concatenate([lay_out(array, axis, n // 2) for axis, n in enumerate(array.shape)], axis=1)


def lay_out(array: np.ndarray, axis: int, at: int) -> np.ndarray:
    """An (L, P, S) array's slice as a picture, in a square frame so that the three planes line up."""
    plane = np.take(array, at, axis=axis).astype(np.float32)
    # (P, S) and (L, S) show superior on top; in the axial (L, P) rows run from front to back.
    plane = plane.T if axis == 2 else plane.T[::-1]
    missing = [max(array.shape) - n for n in plane.shape]
    return np.pad(plane, [(n // 2, n - n // 2) for n in missing])


def draw_mosaic(rows: pd.DataFrame, picture_path: str | Path) -> None:
    """Put the small pictures of a table's kept volumes on one; of more than 24, 24 evenly taken."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    kept = rows[rows["status"] == "kept"]
    chosen = kept.iloc[np.unique(np.linspace(0, len(kept) - 1, min(len(kept), MAX_VOLUMES)).astype(int))]
    n_lines = max(1, -(-len(chosen) // N_COLUMNS))
    figure = Figure(figsize=(4.2 * N_COLUMNS, 1.65 * n_lines), dpi=140, layout="constrained")
    panels = figure.subplots(n_lines, N_COLUMNS, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, row in zip(panels, chosen.itertuples(), strict=False):
        panel.imshow(imread(row.picture_path, format="jpg"))
        panel.set_title(f"{row.volume_id}  Dice {row.atlas_dice:.3f}", color="white", fontsize=6, pad=2)
    if not len(chosen):
        panels[0].text(0.5, 0.5, "no volume was kept", color="white", ha="center")
    with write_atomically(picture_path) as beside:
        figure.savefig(beside, facecolor="black", metadata={"Software": None})
