"""A picture of the pairs that look like one brain, for visual inspection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.runtime import write_atomically
from braing3n.preprocess.mosaic import lay_out
from braing3n.volumes.dataset import PackedShard

MAX_PAIRS = 12
RANGE = 3.0  # deviations of a brain's intensity that the greys span


def draw_pairs(pairs: pd.DataFrame, indices: list[Path], picture_path: Path) -> None:
    """Draw the closest pairs: three planes of one volume, of the other, and of their difference."""
    from matplotlib.figure import Figure

    shown = pairs.head(MAX_PAIRS)
    volumes = _load({*shown["volume_id"], *shown["other_volume_id"]}, indices)
    n_lines = max(1, len(shown))
    figure = Figure(figsize=(11, 1.5 * n_lines), dpi=110, layout="constrained")
    panels = figure.subplots(n_lines, 3, squeeze=False)
    for panel in panels.ravel():
        panel.set_axis_off()
    for line, pair in zip(panels, shown.itertuples(), strict=False):
        one, other = volumes[pair.volume_id], volumes[pair.other_volume_id]
        titles = pair.volume_id, pair.other_volume_id, f"difference; correlation {pair.correlation:.2f}"
        for panel, volume, title in zip(line, (one, other, one - other), titles, strict=True):
            low = -RANGE if volume.min() < 0 else 0
            panel.imshow(_show_planes(volume), cmap="gray", vmin=low, vmax=low + 2 * RANGE)
            panel.set_title(title, color="white", fontsize=6, pad=2)
    if not len(shown):
        panels[0, 1].text(0.5, 0.5, "no pair looks like one brain", color="white", ha="center")
    with write_atomically(picture_path) as beside:
        figure.savefig(beside, format="png", facecolor="black", metadata={"Software": None})


def _load(wanted: set[str], indices: list[Path]) -> dict[str, np.ndarray]:
    """The volumes of some ids from 0 to twice the range, 0 outside the brain."""
    volumes = {}
    for path in indices if wanted else []:
        shard = PackedShard(path)
        for row, volume_id in enumerate(shard.table["volume_id"]):
            if volume_id in wanted:
                image, mask = shard.load(row)
                volumes[volume_id] = np.where(mask, np.clip(image, -RANGE, RANGE) + RANGE, 0)
    return volumes


def _show_planes(volume: np.ndarray) -> np.ndarray:
    planes = [lay_out(volume, axis, n // 2) for axis, n in enumerate(volume.shape)]
    height = max(plane.shape[0] for plane in planes)
    return np.concatenate([np.pad(p, [(0, height - p.shape[0]), (0, 0)]) for p in planes], axis=1)
