"""Exact nearest neighbours between flattened latents, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braing3n.core.runtime import track

# Candidates that float32 proposes; float64 then decides between them.
_N_CANDIDATES = 8
_N_BLOCK = 1024


@dataclass(frozen=True)
class Rows:
    """Some rows of an array (N, D) that may lie on disk; only what is asked for is read."""

    array: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key) -> np.ndarray:
        return self.array[self.index[key]]


def find_nearest(
    queries: Rows | np.ndarray,
    pool: Rows | np.ndarray,
    query_owner: np.ndarray,
    pool_owner: np.ndarray,
    description: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Each query's nearest row of the pool that belongs to somebody else.

    Args:
        queries: (n, D); pool: (m, D), any float type, read in blocks of rows.
        query_owner: (n,) and pool_owner: (m,): rows of equal owner are never neighbours.

    Returns:
        Index into the pool (n,), -1 where nobody else is in it, and Euclidean distance (n,), NaN there.
    """
    nearest, distance = np.full(len(queries), -1), np.full(len(queries), np.nan)
    if not len(queries) or not len(pool):
        return nearest, distance
    centre = _mean(pool)
    for start in track(range(0, len(queries), _N_BLOCK), description):
        rows = slice(start, start + _N_BLOCK)
        block = np.asarray(queries[rows], dtype=np.float32) - centre
        candidates, squared = _propose(block, pool, centre, query_owner[rows], pool_owner)
        for k in range(len(block)):
            allowed = candidates[k][np.isfinite(squared[k])]
            if not len(allowed):
                continue
            gaps = np.asarray(pool[allowed], dtype=np.float64) - np.asarray(
                queries[start + k], dtype=np.float64
            )
            exact = np.sqrt((gaps**2).sum(axis=1))
            best = int(exact.argmin())
            nearest[start + k], distance[start + k] = allowed[best], exact[best]
    return nearest, distance


def _mean(pool: np.ndarray | Rows) -> np.ndarray:
    total = np.zeros(pool[:1].shape[1])
    for start in range(0, len(pool), _N_BLOCK):
        total += np.asarray(pool[start : start + _N_BLOCK], dtype=np.float64).sum(axis=0)
    return (total / len(pool)).astype(np.float32)


def _propose(block, pool, centre, block_owner, pool_owner) -> tuple[np.ndarray, np.ndarray]:
    """The smallest squared distances (n, k) over the whole pool, in float32 about the pool's mean."""
    best = np.full((len(block), 0), -1)
    best_squared = np.full((len(block), 0), np.inf, dtype=np.float32)
    for start in range(0, len(pool), _N_BLOCK):
        other = np.asarray(pool[start : start + _N_BLOCK], dtype=np.float32) - centre
        squared = (block**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * block @ other.T
        squared[block_owner[:, None] == pool_owner[None, start : start + len(other)]] = np.inf
        index = np.concatenate(
            [best, np.broadcast_to(np.arange(start, start + len(other)), squared.shape)], axis=1
        )
        squared = np.concatenate([best_squared, squared], axis=1)
        n_kept = min(_N_CANDIDATES, squared.shape[1])
        kept = np.argpartition(squared, n_kept - 1, axis=1)[:, :n_kept]
        best, best_squared = np.take_along_axis(index, kept, 1), np.take_along_axis(squared, kept, 1)
    return best, best_squared
