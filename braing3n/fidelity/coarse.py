"""Decoded volumes kept on coarse voxels, for who looks at them after this stage: a sample is decoded once."""

from __future__ import annotations

import numpy as np

FINE_MM = 4.0
N_ACROSS = 40  # of such voxels along the first axis of the models' box


def choose_edge(shape: tuple[int, ...]) -> int:
    """How many voxels of the models' box make one of about 4 mm."""
    return max(1, round(shape[0] / N_ACROSS))


def coarsen(volume: np.ndarray, edge: int) -> np.ndarray:
    """A volume (D, H, W) averaged to voxels of about 4 mm, float32, an even number of them along each axis.

    edge: so many voxels of the volume make one.
    """
    return average_cubes(volume, edge, 2)


def halve(volume: np.ndarray) -> np.ndarray:
    """A volume of even sides, averaged to voxels twice as wide."""
    return average_cubes(volume, 2)


def average_cubes(volume: np.ndarray, edge: int, multiple: int = 1) -> np.ndarray:
    """Means over cubes; axes are padded with 0 to a multiple of so many of them."""
    padded = np.pad(volume, [(0, -n % (edge * multiple)) for n in volume.shape])
    d, h, w = (n // edge for n in padded.shape)
    return padded.reshape(d, edge, h, edge, w, edge).mean(axis=(1, 3, 5), dtype=np.float32)


class CoarseVolumes:
    """Coarse volumes by row, float16; a watcher of `encode_decoded`."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.volumes: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows.tolist(), volumes, strict=True):
            self.rows.append(row)
            self.volumes.append(coarsen(volume, choose_edge(volume.shape)).astype(np.float16))

    def pack(self, name: str) -> dict[str, np.ndarray]:
        """Arrays for a file: `<name>_rows` (n,) and `<name>` (n, d, h, w)."""
        return {f"{name}_rows": np.array(self.rows, int), name: np.array(self.volumes, np.float16)}
