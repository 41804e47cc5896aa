"""Volumes in z units drawn in three planes, one column a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def cut_planes(volume: np.ndarray, place: tuple[int, int, int] | None = None) -> list[np.ndarray]:
    """The axial, coronal and sagittal planes of a volume (D, H, W) on L-P-S axes, by a place or the middle.

    Each is (rows, columns) as printed: front or top upwards, and the head's left on the viewer's right.
    """
    d, h, w = place or (n // 2 for n in volume.shape)
    axial = volume[:, :, w].T
    coronal = volume[:, h, :].T[::-1]
    sagittal = volume[d, :, :].T[::-1]
    return [axial, coronal, sagittal]


def find_brightest(volume: np.ndarray) -> tuple[int, int, int]:
    """The place with the brightest surroundings of 3 x 3 x 3 voxels, as an enhancing tumour has."""
    from scipy.ndimage import uniform_filter

    place = np.unravel_index(uniform_filter(volume.astype(np.float64), 3).argmax(), volume.shape)
    return int(place[0]), int(place[1]), int(place[2])


def draw_volumes(
    volumes: dict[str, np.ndarray],
    path: Path,
    n_columns: int = 8,
    places: dict[str, tuple[int, int, int]] | None = None,
) -> None:
    """Draw named volumes (D, H, W) as columns of three planes, n_columns a band, -3 to 3 z as grey levels.

    Planes go through the volume's place, where it has one, and else through the middle.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(volumes)
    n_columns = max(1, min(n_columns, len(names)))
    n_bands = max(1, -(-len(names) // n_columns))  # without volumes the picture is empty
    figure, axes = plt.subplots(
        3 * n_bands, n_columns, figsize=(1.6 * n_columns, 5.2 * n_bands), layout="constrained", squeeze=False
    )
    for panel in axes.flat:
        panel.axis("off")
    for i, name in enumerate(names):
        band, column = divmod(i, n_columns)
        for row, plane in enumerate(cut_planes(volumes[name], (places or {}).get(name))):
            panel = axes[3 * band + row, column]
            panel.imshow(plane, cmap="gray", vmin=-3, vmax=3, interpolation="nearest")
            if row == 0:
                panel.set_title(name, fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
