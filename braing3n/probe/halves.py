"""What an encoder reads on a probe, and the whole probe again on halves of the people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from braing3n.probe.fit import predict_out_of_fold, predict_quickly
from braing3n.probe.folds import assign_halves
from braing3n.probe.plan import Probe
from braing3n.probe.scores import BOUNDS, METRICS, score
from braing3n.probe.settings import ProbeSettings


@dataclass(frozen=True)
class Reading:
    """One encoder on one probe.

    Attributes:
        predictions: (n_units, n_classes or 1), out of fold.
        halves: each metric that has an interval on both halves of every deal, (n_deals, 2); NaN where it
            is undefined.
        is_converged: whether every fit behind the predictions converged.
    """

    predictions: np.ndarray
    halves: dict[str, np.ndarray]
    is_converged: bool


def read_probe(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool = False
) -> Reading | None:
    """Fit, predict and repeat on halves; features are (n_volumes, F). None: the probe cannot be fitted."""
    if probe.reason:
        return None
    pooled = probe.pool(features)
    predictions, is_converged = predict_out_of_fold(pooled, probe, settings, has_pca)
    return Reading(predictions, score_halves(pooled, probe, settings, has_pca), is_converged)


def score_halves(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool
) -> dict[str, np.ndarray]:
    """Each metric that has an interval, of the probe repeated in each half, (n_halvings, 2).

    Features are (n_units, F). The fits are quick ones: halves give the spread of a score, never its value.

    Resampling people under fixed fits would miss that a person's label moves the fits, too.
    """
    kind = probe.task.kind
    metrics = [metric for metric in METRICS[kind] if metric in BOUNDS]
    scores = {metric: np.full((settings.n_halvings, 2), np.nan) for metric in metrics}
    for deal in range(settings.n_halvings):
        for side, (rows, half) in enumerate(deal_halves(probe, settings, settings.seed + 1 + deal)):
            predictions = predict_quickly(features[rows], half, settings, has_pca)
            target, folds = half.units["target"].to_numpy(), half.units["fold"].to_numpy()
            values = score(kind, target, predictions, half.classes, folds)
            for metric in metrics:
                scores[metric][deal, side] = values[metric]
    return scores


def deal_halves(probe: Probe, settings: ProbeSettings, seed: int) -> Iterator[tuple[np.ndarray, Probe]]:
    """Rows and probe of two halves that share no group, each with its folds; nothing where people are few."""
    units = probe.units
    dealt = assign_halves(units["target"], units["group_id"], probe.task.kind, settings.n_folds, seed)
    if dealt is None:
        return
    side, fold = dealt
    for k in range(2):
        rows = np.flatnonzero(side == k)
        half = units.iloc[rows].assign(fold=fold[rows]).reset_index(drop=True)
        yield rows, replace(probe, units=half)
