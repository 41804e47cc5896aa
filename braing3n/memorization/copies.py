"""A copy detector without training: correlation of coarse volumes over small shifts, mirrored or not.

What all people have in common, the mean of the pool, is taken away first; else any two brains correlate. It
is the mean of the other people, so that one of the pool is in no other place than somebody new. A correlation
knows neither gain nor offset, and noise and blur vanish on coarse voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.fidelity.coarse import halve

N_SHIFTS = 5  # along each axis, in steps of a fine voxel of about 4 mm
INNER = (slice(1, -1),) * 3  # of a coarse volume; what a shift brings in from outside is not compared
N_BLOCK = 512
PLANTED_COPIES = "planted"  # a comparison of its own, which no table of samples holds
ASKED_WHOLE = "synthetic-real", "other-arms-real", "forecast-real", PLANTED_COPIES  # none is left out


class Pool:
    """Volumes that could have been copied, coarse as `halve` makes them: (N, d, h, w), and owners (N,)."""

    def __init__(self, volumes: np.ndarray, owner: np.ndarray):
        self.volumes, self.owner = volumes, np.asarray(owner)
        self._total = volumes.sum(axis=0, dtype=np.float64)
        self._new: np.ndarray | None = None

    def average_others(self, owner: str) -> np.ndarray:
        """The mean (d, h, w) of the volumes of all but one owner; there must be another."""
        own = np.flatnonzero(self.owner == owner)
        left = self._total - self.volumes[own].sum(axis=0, dtype=np.float64)
        return (left / (len(self.owner) - len(own))).astype(np.float32)

    def see(self, owner: str, mean: np.ndarray) -> np.ndarray:
        """The volumes' inner voxels (N, V) less the mean, of unit length; for all strangers one array."""
        if self._new is not None and not (self.owner == owner).any():
            return self._new
        rows = np.empty((len(self.volumes), mean[INNER].size), np.float32)
        for start in range(0, len(rows), N_BLOCK):
            block = self.volumes[start : start + N_BLOCK].astype(np.float32)[:, *INNER]
            rows[start : start + N_BLOCK] = normalise(block.reshape(len(block), -1) - mean[INNER].ravel())
        if not (self.owner == owner).any():
            self._new = rows
        return rows


def find_copies(
    n: int, load: Callable[[int], np.ndarray], owner: np.ndarray, pool: Pool, description: str
) -> dict[str, np.ndarray]:
    """For each of n queries the volume of another owner that it resembles most.

    Args:
        load: gives query i as `coarsen` makes it, (2 d, 2 h, 2 w), in the pool's units.
        owner: (n,); rows of the pool with the same owner are not looked at.

    Returns:
        nearest (n,), index into the pool or -1; correlation (n,), NaN where it is -1; is_mirrored (n,).
    """
    nearest, best, is_mirrored = np.full(n, -1), np.full(n, np.nan), np.full(n, False)
    for i in track(range(n), description, n):
        is_other = pool.owner != owner[i]
        if not is_other.any():
            continue
        volume, mean = np.asarray(load(i), dtype=np.float32), pool.average_others(owner[i])
        windows = np.stack([list_shifted(v, mean) for v in (volume, volume[::-1])])  # (2, S, V)
        found = np.where(is_other, (windows @ pool.see(owner[i], mean).T).max(axis=1), -2)  # (2, N)
        is_mirrored[i], nearest[i] = divmod(int(found.argmax()), len(is_other))
        best[i] = found.max()
    return {"nearest": nearest, "correlation": best, "is_mirrored": is_mirrored}


def list_shifted(volume: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The coarse windows (125, V) of a volume (2 d, 2 h, 2 w) at every shift, less the mean in its place.

    Rows are centred and of unit length.
    """
    d, h, w = volume.shape
    smooth = volume[1:] + volume[:-1]
    smooth = smooth[:, 1:] + smooth[:, :-1]
    smooth = (smooth[:, :, 1:] + smooth[:, :, :-1]) / 8
    windows = [
        smooth[x : x + d - 4 : 2, y : y + h - 4 : 2, z : z + w - 4 : 2].ravel()
        for x, y, z in itertools.product(range(N_SHIFTS), repeat=3)
    ]
    return normalise(np.stack(windows) - mean[INNER].ravel())


def normalise(rows: np.ndarray) -> np.ndarray:
    """Rows (n, V) without their mean, of unit length; zeros where one is flat."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(length > 1e-6, length, np.inf)


@dataclass(frozen=True)
class Queries:
    """Volumes that are asked about.

    Attributes:
        names, owners: (n,) ids, and whose each is; a sample's owner is empty.
        load: gives volume i as `coarsen` makes it.
    """

    names: np.ndarray
    owners: np.ndarray
    load: Callable[[int], np.ndarray]

    def draw(self, n: int, seed: int) -> Queries:
        """At most n of them, at random."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self.names))[:n])
        return Queries(self.names[rows], self.owners[rows], lambda i: self.load(rows[i]))


def tabulate_copies(sets: dict[str, Queries], percentile: float, n_reference: int, seed: int) -> pd.DataFrame:
    """A row a volume: what it resembles most, and whether more than real volumes resemble each other.

    The threshold is the (100 - percentile)-th percentile of the pool's own volumes against other people's.

    Args:
        sets: comparison -> volumes; `real-real` is the pool. Of real volumes and their reconstructions
            `n_reference` are asked about at most, drawn at random.
    """
    own = sets["real-real"]
    rows = track(range(len(own.names)), "copies: pool", len(own.names))
    pool = Pool(np.stack([halve(own.load(i)).astype(np.float16) for i in rows]), own.owners)
    tables, threshold = [], float("nan")
    for comparison in sorted(sets, key=lambda name: name != "real-real"):
        part = sets[comparison]
        part = part if comparison in ASKED_WHOLE else part.draw(n_reference, seed)
        found = find_copies(len(part.names), part.load, part.owners, pool, f"copies: {comparison}")
        has_one = found["nearest"] >= 0
        if comparison == "real-real" and has_one.any():
            threshold = float(np.percentile(found["correlation"][has_one], 100 - percentile))
        table = pd.DataFrame({"item_id": part.names, "owner": part.owners})[has_one].assign(
            comparison=comparison,
            nearest_id=np.asarray(own.names)[found["nearest"][has_one]],
            correlation=found["correlation"][has_one],
            is_mirrored=found["is_mirrored"][has_one],
            threshold=threshold,
            is_flagged=found["correlation"][has_one] > threshold,
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
