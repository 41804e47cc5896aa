"""Our encoder's flattened latent, read through a PCA that is fitted in the fold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import BLOCK_NUMBERS, Probe
from braing3n.probe.settings import ProbeSettings

MOST_COMPONENTS = 512  # of all volumes, within which each fold finds its own
N_PASSES = 2


def read_flattened(tokens: np.ndarray, probes: list[Probe], settings: ProbeSettings) -> pd.DataFrame:
    """A row a task and metric of cached tokens (n_volumes, T, C), which may be a memory map."""
    rows = []
    leading = span_leading(tokens.reshape(len(tokens), -1), MOST_COMPONENTS, settings.seed)
    name = f"{settings.n_pca_components} components of the flattened latent"
    for probe in track(probes, "readouts: flattened latent"):
        base = {"encoder": "mae", "slice": probe.slice, "people": probe.people, "title": probe.task.title}
        found, _ = score_reading(probe, read_probe(leading, probe, settings, has_pca=True), settings)
        rows += [{**base, **row, "readout": name} for row in found]
    return pd.DataFrame(rows)


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
