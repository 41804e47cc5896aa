"""Decoded volumes kept on coarse voxels, for who looks at them after this stage: a sample is decoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braing3n.core.runtime import write_atomically

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
    """Coarse volumes by row, float16; a watcher of `encode_decoded`.

    wanted: the rows that are kept; None: all.
    """

    def __init__(self, wanted: np.ndarray | None = None) -> None:
        self._wanted = None if wanted is None else set(wanted.tolist())
        self.rows: list[int] = []
        self.volumes: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows.tolist(), volumes, strict=True):
            if self._wanted is not None and row not in self._wanted:
                continue
            self.rows.append(row)
            self.volumes.append(coarsen(volume, choose_edge(volume.shape)).astype(np.float16))


class KeptTokens:
    """Tokens (T, d) by row, float16: what volumes have that were decoded and encoded again."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.tokens: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, tokens: np.ndarray) -> None:
        self.rows += rows.tolist()
        self.tokens += list(tokens.astype(np.float16))


def write_coarse(sets: dict[str, CoarseVolumes], path: Path, again: KeptTokens | None = None) -> None:
    """Write sets by name: `<name>_rows` (n,) and `<name>` (n, d, h, w) of each.

    again: what reconstructions encode to, written as `reconstructions_tokens` (n, T, d) in the same order.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, one in sets.items():
        arrays |= {f"{name}_rows": np.array(one.rows, int), name: np.array(one.volumes, np.float16)}
    if again is not None:
        arrays["reconstructions_tokens"] = np.array(again.tokens, np.float16)
    with write_atomically(path) as beside:
        np.savez(beside, allow_pickle=False, **arrays)
