"""Distances on features of others: Inception's and RadImageNet's of slices, MedicalNet's of volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braing3n.core.runtime import track
from braing3n.fidelity.arms import FID, KID, MEDICALNET, RADIMAGENET
from braing3n.fidelity.formulas.frechet import Moments, compare_moments, measure_frechet
from braing3n.fidelity.formulas.kernels import measure_kid
from braing3n.fidelity.measure import Judge
from braing3n.fidelity.settings import FidelitySettings
from braing3n.fidelity.slices import apply_window, cut_slices, find_common_mask
from braing3n.nets import inception, medical

N_BLOCK = 4096
Cut = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Slot:
    """A network of others, from a weight file that the user brings.

    Attributes:
        name: how its settings begin.
        source: where its weights are, and under which licence.
        open: settings and device -> the network.
        quantities: the Fréchet distance on its features, and KID where it is measured.
        cut: levels (D, H, W) of a volume -> what the network encodes, a row each.
    """

    name: str
    source: str
    open: Callable[[FidelitySettings, Any], Any]
    quantities: tuple[str, ...]
    cut: Cut = cut_slices

    def explain_absence(self, settings: FidelitySettings) -> str:
        """Why the weight file is not there, or ''."""
        given = getattr(settings, f"{self.name}_weights")
        if given in settings.list_weights():
            return ""
        what = f"{given} does not exist" if given else "no file is named"
        return f"fidelity.{self.name}_weights: {what}; it is {self.source}"

    def list_judges(self, n_draws: int) -> list[Judge]:
        """The Fréchet distance in all comparisons, and KID to real people where it is measured."""
        judges = [Judge(self.quantities[:1], lambda _: _measure, n_draws=n_draws)]
        if self.quantities[1:]:
            judges.append(Judge(self.quantities[1:], lambda _: _measure_kid, ("gen-vs-real",), n_draws))
        return judges


SLOTS = (
    Slot(
        "inception",
        inception.SOURCE,
        lambda settings, device: inception.Inception(Path(settings.inception_weights), device),
        (FID, KID),
    ),
    Slot(
        "radimagenet",
        medical.RADIMAGENET_SOURCE,
        lambda settings, device: medical.RadImageNet(
            Path(settings.radimagenet_weights), settings.radimagenet_sha256, device
        ),
        (RADIMAGENET,),
    ),
    Slot(
        "medicalnet",
        medical.MEDICALNET_SOURCE,
        lambda settings, device: medical.MedicalNet(
            Path(settings.medicalnet_weights), settings.medicalnet_sha256, device
        ),
        (MEDICALNET,),
        lambda levels: [levels],
    ),
)


class NetworkFeatures:
    """Features (k, F) of some of N volumes by a network of others, by row; a watcher of `encode_decoded`."""

    def __init__(self, network: Any, mask: np.ndarray, n_volumes: int, cut: Cut = cut_slices):
        self._network, self._mask, self._cut = network, mask, cut
        self._place = np.full(n_volumes, -1)
        self._features: list[np.ndarray] = []

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows, volumes, strict=True):
            self._place[row] = len(self._features)
            self._features.append(self._network.encode(self._cut(apply_window(volume, self._mask))))

    def __len__(self) -> int:
        return len(self._place)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(n, k, F) of the volumes in these rows, or of those that a mask (N,) names."""
        chosen = [self._features[k] for k in self._place[rows]]
        return np.stack(chosen) if chosen else np.zeros((0, *self.shape[1:]), np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, k, F)."""
        of_one = self._features[0].shape if self._features else (1, medical.WIDTH)
        return (len(self._place), *of_one)

    def see_others(self, n_volumes: int) -> NetworkFeatures:
        """An empty set of so many volumes with the same network and mask."""
        return NetworkFeatures(self._network, self._mask, n_volumes, self._cut)


def see_real(
    network: Any,
    load: Callable[[int], tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    n_volumes: int,
    cut: Cut = cut_slices,
) -> NetworkFeatures:
    """Features of real volumes, whose masks give the one for all sets.

    Args:
        load: gives volume i in z units (D, H, W) and its brain mask.
    """
    mask = find_common_mask(load(row)[1] for row in track(rows, "features of others: masks", len(rows)))
    found = NetworkFeatures(network, mask, n_volumes, cut)
    for row in track(rows, "features of others: real volumes", len(rows)):
        found(np.array([row]), load(row)[0][None])
    return found


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
