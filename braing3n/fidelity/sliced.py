"""The 3D-FID: Inception's features of central slices of samples, reconstructions and real volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from braing3n.core.runtime import track
from braing3n.fidelity.formulas.frechet import Moments, compare_moments, measure_frechet
from braing3n.fidelity.formulas.kernels import measure_kid
from braing3n.fidelity.measure import Judge
from braing3n.fidelity.slices import N_CENTRAL, apply_window, cut_slices, find_common_mask
from braing3n.nets.inception import WIDTH, Inception

FID, KID = "3D-FID on Inception V3 features", "KID on Inception V3 features"
N_BLOCK = 4096


class SliceFeatures:
    """Features (k, 2048) of the slices of some of N volumes, by their rows; a watcher of `encode_decoded`."""

    def __init__(self, network: Inception, mask: np.ndarray, n_volumes: int):
        self._network, self._mask = network, mask
        self._place = np.full(n_volumes, -1)
        self._features: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows, volumes, strict=True):
            self._place[row] = len(self._features)
            self._features.append(self._network.encode(cut_slices(apply_window(volume, self._mask))))

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(n, k, 2048) of the volumes in these rows, or of those that a mask (N,) names."""
        chosen = [self._features[k] for k in self._place[rows]]
        return np.stack(chosen) if chosen else np.zeros((0, *self.shape[1:]), np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, k, 2048)."""
        of_one = self._features[0].shape if self._features else (3 * N_CENTRAL, WIDTH)
        return (len(self._place), *of_one)


def see_real(
    network: Inception, load: Callable[[int], tuple[np.ndarray, np.ndarray]], rows: np.ndarray, n_volumes: int
) -> SliceFeatures:
    """Features of real volumes, whose masks give the one for all sets.

    Args:
        load: gives volume i in z units (D, H, W) and its brain mask.
    """
    mask = find_common_mask(load(row)[1] for row in track(rows, "3D-FID: masks", len(rows)))
    found = SliceFeatures(network, mask, n_volumes)
    for row in track(rows, "3D-FID: real slices", len(rows)):
        found(np.array([row]), load(row)[0][None])
    return found


def see_others(like: SliceFeatures, n_volumes: int) -> SliceFeatures:
    """An empty set with the same network and mask."""
    return SliceFeatures(like._network, like._mask, n_volumes)


def measure_slices(first: np.ndarray, second: np.ndarray) -> float:
    """The Fréchet distance of slices (n, k, F), (m, k, F); by streamed moments where both exceed F rows."""
    x, y = (v.reshape(-1, v.shape[-1]) for v in (first, second))
    if min(len(x), len(y)) <= x.shape[1]:
        return measure_frechet(x, y)
    return compare_moments(*(_stream(v) for v in (x, y)))


def _stream(rows: np.ndarray) -> Moments:
    blocks = (Moments.of(rows[start : start + N_BLOCK]) for start in range(0, len(rows), N_BLOCK))
    total = next(blocks)
    for block in blocks:
        total = total + block
    return total


def _measure(first: np.ndarray, second: np.ndarray) -> Sequence[float]:
    return (measure_slices(first, second),)


def _measure_kid(first: np.ndarray, second: np.ndarray) -> Sequence[float]:
    x, y = (v.reshape(-1, v.shape[-1]) for v in (first, second))
    return (measure_kid(x, y),)


def list_judges(n_draws: int) -> tuple[Judge, Judge]:
    """The 3D-FID in all comparisons, and KID of the same slices to real ones."""
    return (
        Judge((FID,), lambda _: _measure, n_draws=n_draws),
        Judge((KID,), lambda _: _measure_kid, ("gen-vs-real",), n_draws),
    )
