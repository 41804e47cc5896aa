"""Features of many numbers in fewer coordinates, without labels, for a PCA in the fold."""

from __future__ import annotations

import numpy as np

BLOCK_NUMBERS = 2**23  # of features that are centred at once: 64 MB
MOST_EXACT = 4096  # rows, or numbers a row, up to which nothing is left out
MOST_COMPONENTS = 512  # of all rows, within which each fold finds its own
N_PASSES = 2


def span_features(features: np.ndarray, seed: int) -> np.ndarray:
    """Coordinates (N, C) of N points (N, F), in which a PCA in the fold is quicker and finds the same.

    Of more than `MOST_EXACT` points and numbers they are the leading `MOST_COMPONENTS`: at 35,309 x 9,600
    one exact PCA takes minutes and 10 GB, and probes need hundreds.
    """
    is_large = min(features.shape) > MOST_EXACT
    return span_leading(features, MOST_COMPONENTS, seed) if is_large else span_rows(features)


def span_rows(features: np.ndarray) -> np.ndarray:
    """The same N points (N, F) in at most N coordinates: rotated, and nothing lost but the common mean.

    Inner products stay, and no label is used: a PCA in the fold gives what it gave on (N, F), at once.
    The features may be a memory map of any float type: they are read by blocks of columns, each taken
    to float64 and centred, and only the (N, N) inner products are held.
    """
    n_rows, n_columns = features.shape
    if n_columns <= n_rows:
        return np.asarray(features, dtype=np.float64)
    products = np.zeros((n_rows, n_rows))
    size = max(1, BLOCK_NUMBERS // n_rows)
    for start in range(0, n_columns, size):
        block = np.asarray(features[:, start : start + size], dtype=np.float64)
        block -= block.mean(axis=0)
        products += block @ block.T
    values, vectors = np.linalg.eigh(products)
    return vectors * np.sqrt(np.clip(values, 0, None))


def span_leading(features: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    """Coordinates (N, n_components) of N points (N, F) in the span of their leading components, centred.

    By subspace iteration from random directions (Halko et al. 2011), without labels. Nothing is lost where
    the points span no more components than that: a PCA in the fold then gives what it gave on (N, F).
    Points are read by blocks of rows. At 35,309 volumes of 1200 x 32 numbers a block takes 67 MB, the
    directions 157 MB and the coordinates 145 MB; the tokens are read six times.
    """
    n_rows, n_columns = features.shape
    size = max(1, BLOCK_NUMBERS // n_columns)
    blocks = [slice(start, start + size) for start in range(0, n_rows, size)]
    mean = sum(features[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / n_rows

    def project(directions: np.ndarray) -> np.ndarray:
        return np.concatenate([(features[rows] - mean) @ directions for rows in blocks])

    n_kept = min(n_components, n_rows, n_columns)
    directions = np.random.default_rng(seed).normal(size=(n_columns, n_kept))
    for _ in range(N_PASSES):
        coordinates, _ = np.linalg.qr(project(directions))
        total = np.zeros_like(directions)
        for rows in blocks:
            total += (features[rows] - mean).T @ coordinates[rows]
        directions, _ = np.linalg.qr(total)
    return project(directions)
