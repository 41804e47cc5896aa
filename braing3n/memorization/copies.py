"""A copy detector without training: correlation of coarse volumes over small shifts, mirrored or not.

What all people have in common, the mean of the pool, is taken away first; else any two brains correlate. It
is the mean of the other people, so that one of the pool is in no other place than somebody new. A correlation
knows neither gain nor offset, and noise and blur vanish on coarse voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.core.runtime import track

COARSE_MM = 4.0
MAX_SHIFT = 2  # coarse voxels along each axis
N_CANDIDATES = 20  # of the pool, that the first pass on voxels twice as wide leaves
N_BLOCK = 512


@dataclass(frozen=True)
class Pool:
    """Coarse volumes that could have been copied.

    Attributes:
        volumes: (N, d, h, w), any float type; may lie on disk.
        owner: (N,) whose each is.
        mean: (d, h, w) of all.
        wide: (N, V) float32, what the first pass reads: halved, centred, of unit length.
    """

    volumes: np.ndarray
    owner: np.ndarray
    mean: np.ndarray
    wide: np.ndarray

    @classmethod
    def of(cls, volumes: np.ndarray, owner: np.ndarray) -> Pool:
        """Read all volumes twice, in blocks."""
        total = np.zeros(volumes.shape[1:])
        for start in range(0, len(volumes), N_BLOCK):
            total += np.asarray(volumes[start : start + N_BLOCK], dtype=np.float64).sum(axis=0)
        mean = (total / len(volumes)).astype(np.float32)
        wide = [normalise(halve(np.asarray(v, dtype=np.float32) - mean)[_inner(1)].ravel()) for v in volumes]
        return cls(volumes, np.asarray(owner), mean, np.stack(wide))

    def average_others(self, owner: str) -> np.ndarray:
        """The mean of the volumes of all but one owner."""
        own = np.flatnonzero(self.owner == owner)
        if not len(own) or len(own) == len(self.owner):
            return self.mean
        total = self.mean * len(self.owner) - np.asarray(self.volumes[own], dtype=np.float32).sum(axis=0)
        return total / (len(self.owner) - len(own))


def find_copies(
    n: int, load: Callable[[int], np.ndarray], owner: np.ndarray, pool: Pool, description: str
) -> dict[str, np.ndarray]:
    """For each of n queries the volume of another owner that it resembles most.

    Args:
        load: gives query i, coarse (d, h, w), in the pool's units.
        owner: (n,); rows of the pool with the same owner are not looked at.

    Returns:
        nearest (n,), index into the pool or -1; correlation (n,), NaN where it is -1; is_mirrored (n,).
    """
    nearest, best = np.full(n, -1), np.full(n, np.nan)
    is_mirrored = np.full(n, False)
    for i in track(range(n), description, n):
        allowed = np.flatnonzero(pool.owner != owner[i])
        if not len(allowed):
            continue
        volume, mean = np.asarray(load(i), dtype=np.float32), pool.average_others(owner[i])
        for mirrored, turned in ((False, volume), (True, volume[::-1])):
            rough = (list_shifted(halve(turned), halve(mean), 1) @ pool.wide.T).max(axis=0)[allowed]
            candidates = allowed[np.argsort(-rough, kind="stable")[:N_CANDIDATES]]
            windows = list_shifted(turned, mean, MAX_SHIFT)
            for k in candidates:
                other = np.asarray(pool.volumes[k], dtype=np.float32) - mean
                score = float((windows @ normalise(other[_inner(MAX_SHIFT)].ravel())).max())
                if not score <= best[i]:
                    nearest[i], best[i], is_mirrored[i] = k, score, mirrored
    return {"nearest": nearest, "correlation": best, "is_mirrored": is_mirrored}


def _inner(margin: int) -> tuple[slice, ...]:
    return (slice(margin, -margin),) * 3


def list_shifted(volume: np.ndarray, mean: np.ndarray, margin: int) -> np.ndarray:
    """The windows (S, V) of a volume at every shift of up to `margin` voxels, less the mean in its place.

    Rows are centred and of unit length.
    """
    size = [n - 2 * margin for n in volume.shape]
    windows = np.lib.stride_tricks.sliding_window_view(volume, size)
    rows = windows.reshape(-1, int(np.prod(size))) - mean[_inner(margin)].ravel()
    return np.stack([normalise(row) for row in rows])


def normalise(row: np.ndarray) -> np.ndarray:
    """A row without its mean, of unit length; zeros where it is flat."""
    centred = row - row.mean(dtype=np.float64)
    length = np.sqrt((centred.astype(np.float64) ** 2).sum())
    return (centred / length if length > 1e-12 else np.zeros_like(centred)).astype(np.float32)


def halve(volume: np.ndarray) -> np.ndarray:
    """Means over cubes of two voxels; an odd last voxel of an axis falls off."""
    d, h, w = (n // 2 for n in volume.shape)
    return volume[: 2 * d, : 2 * h, : 2 * w].reshape(d, 2, h, 2, w, 2).mean(axis=(1, 3, 5))


def coarsen(volume: np.ndarray, spacing_mm: float) -> np.ndarray:
    """A volume (D, H, W) averaged to about 4 mm, float32; axes are padded with 0 to whole cubes."""
    edge = max(1, round(COARSE_MM / spacing_mm))
    padded = np.pad(volume, [(0, -n % edge) for n in volume.shape])
    d, h, w = (n // edge for n in padded.shape)
    return padded.reshape(d, edge, h, edge, w, edge).mean(axis=(1, 3, 5), dtype=np.float32)


@dataclass(frozen=True)
class Queries:
    """Volumes that are asked about.

    Attributes:
        names, owners: (n,) ids, and whose each is; a sample's owner is empty.
        load: gives volume i, coarse (d, h, w).
    """

    names: np.ndarray
    owners: np.ndarray
    load: Callable[[int], np.ndarray]


def tabulate_copies(
    pool: Pool,
    pool_names: np.ndarray,
    asked: dict[str, Queries],
    percentile: float,
    n_reference: int,
    seed: int,
) -> pd.DataFrame:
    """A row a volume: what it resembles most, and whether more than real volumes resemble each other.

    The threshold is the (100 - percentile)-th percentile of the pool's own volumes against other people's, of
    `n_reference` of them drawn at random where there are more.

    Args:
        asked: comparison -> volumes; the pool's own are added as `real-real`.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(pool.volumes))[:n_reference])
    own = Queries(np.asarray(pool_names)[drawn], pool.owner[drawn], lambda i: pool.volumes[drawn[i]])
    tables, threshold = [], float("nan")
    for comparison, part in {"real-real": own, **asked}.items():
        found = find_copies(len(part.names), part.load, part.owners, pool, f"copies: {comparison}")
        has_one = found["nearest"] >= 0
        if comparison == "real-real" and has_one.any():
            threshold = float(np.percentile(found["correlation"][has_one], 100 - percentile))
        table = pd.DataFrame({"item_id": part.names, "person_id": part.owners})[has_one].assign(
            comparison=comparison,
            nearest_id=np.asarray(pool_names)[found["nearest"][has_one]],
            correlation=found["correlation"][has_one],
            is_mirrored=found["is_mirrored"][has_one],
            threshold=threshold,
            is_flagged=found["correlation"][has_one] > threshold,
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
