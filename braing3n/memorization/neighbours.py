"""Exact nearest neighbours between flattened latents, block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braing3n.core.runtime import track

# Candidates that float32 proposes; float64 then decides between them.
_N_CANDIDATES = 8
_N_BLOCK = 1024
_SLACK = 1e-4


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

    Where the queries are the pool itself (the same object), each pair of rows is compared once.

    Args:
        queries: (n, D); pool: (m, D), any float type, read in blocks of rows.
        query_owner: (n,) and pool_owner: (m,): rows of equal owner are never neighbours.

    Returns:
        Index into the pool (n,), -1 where nobody else is in it, and Euclidean distance (n,), NaN there.
    """
    nearest, distance = np.full(len(queries), -1), np.full(len(queries), np.nan)
    if not len(queries) or not len(pool):
        return nearest, distance
    centre, is_own = _mean(pool), queries is pool
    best, length = _Best(len(queries), min(_N_CANDIDATES, len(pool))), np.zeros(len(queries))
    for start in track(range(0, len(queries), _N_BLOCK), description):
        block, square = _read(queries, start, centre)
        length[start : start + len(block)] = square
        for other_start in range(start if is_own else 0, len(pool), _N_BLOCK):
            is_same = is_own and other_start == start
            other, other_square = (block, square) if is_same else _read(pool, other_start, centre)
            squared = square[:, None] + other_square[None, :] - 2 * _multiply(block, other)
            rows, columns = slice(start, start + len(block)), slice(other_start, other_start + len(other))
            squared[query_owner[rows, None] == pool_owner[None, columns]] = np.inf
            best.keep(rows, squared, other_start)
            if is_own and not is_same:
                best.keep(columns, squared.T, start)
    for k in range(len(queries)):
        least = best.squared[k].min()
        if not np.isfinite(least):
            continue
        # Float32 may have confused no more than these: its error is far below that share of the two lengths.
        allowed = best.index[k][best.squared[k] <= least + _SLACK * (3 * length[k] + 2 * max(least, 0))]
        gaps = np.asarray(pool[allowed], dtype=np.float64) - np.asarray(queries[k], dtype=np.float64)
        exact = np.sqrt((gaps**2).sum(axis=1))
        first = int(exact.argmin())
        nearest[k], distance[k] = allowed[first], exact[first]
    return nearest, distance


class _Best:
    """The candidates of each query, (n, k): the smallest squared distances that float32 has seen so far."""

    def __init__(self, n: int, k: int):
        self.index = np.full((n, k), -1)
        self.squared = np.full((n, k), np.inf, dtype=np.float32)

    def keep(self, rows: slice, squared: np.ndarray, start: int) -> None:
        """Take in squared distances (rows, m) to the pool's rows from `start` on."""
        n_kept = self.index.shape[1]
        few = min(n_kept, squared.shape[1])
        chosen = np.argpartition(squared, few - 1, axis=1)[:, :few]
        index = np.concatenate([self.index[rows], chosen + start], axis=1)
        values = np.concatenate([self.squared[rows], np.take_along_axis(squared, chosen, 1)], axis=1)
        kept = np.argpartition(values, n_kept - 1, axis=1)[:, :n_kept]
        self.index[rows] = np.take_along_axis(index, kept, 1)
        self.squared[rows] = np.take_along_axis(values, kept, 1)


def _read(rows: Rows | np.ndarray, start: int, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A block of rows about the centre in float32, and the square of each one's length."""
    block = rows[start : start + _N_BLOCK].astype(np.float32)
    block -= centre
    return block, np.einsum("ij,ij->i", block, block)


def _multiply(block: np.ndarray, other: np.ndarray) -> np.ndarray:
    """All inner products (n, m) of two blocks of rows, by PyTorch, whose BLAS is faster than NumPy's."""
    import torch

    return (torch.from_numpy(block) @ torch.from_numpy(other).T).numpy()


def _mean(pool: np.ndarray | Rows) -> np.ndarray:
    total = np.zeros(pool[:1].shape[1])
    for start in range(0, len(pool), _N_BLOCK):
        total += np.asarray(pool[start : start + _N_BLOCK], dtype=np.float64).sum(axis=0)
    return (total / len(pool)).astype(np.float32)
