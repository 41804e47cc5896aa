"""What an encoder reads on a probe, and the whole probe again on halves of the people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.folds import deal_halves
from braing3n.probe.plan import Probe
from braing3n.probe.scores import BOUNDS, METRICS, score
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve import predict_ridge


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
    kind, units = probe.task.kind, probe.units
    metrics = [metric for metric in METRICS[kind] if metric in BOUNDS]
    scores = {metric: np.full((settings.n_halvings, 2), np.nan) for metric in metrics}
    target, (y, alpha) = units["target"].to_numpy(), code_quickly(probe, settings)
    n_components = settings.n_pca_components if has_pca else 0
    seeds = settings.seed + 1 + np.arange(settings.n_halvings)
    deals = deal_halves(units["target"], units["group_id"], kind, settings.n_folds, seeds)
    for deal, (side, fold) in enumerate(deals):
        for k in range(2):
            rows = np.flatnonzero(side == k)
            predictions = predict_ridge(features[rows], y[rows], fold[rows], alpha, n_components)
            values = score(kind, target[rows], predictions, probe.classes, fold[rows])
            for metric in metrics:
                scores[metric][deal, k] = values[metric]
    return scores


def code_quickly(probe: Probe, settings: ProbeSettings) -> tuple[np.ndarray, float]:
    """Targets (n_units, n_classes or 1) and penalty of a ridge, the quick fit of a probe.

    For classes it is one Newton step from zero of the logistic regression: a ridge on each class's indicator
    with four times its penalty, one solve for all classes. What it predicts ranks units, but is no
    probability.
    """
    target = probe.units["target"].to_numpy()
    if probe.classes:
        return (target[:, None] == np.array(probe.classes, dtype=object)).astype(float), 4.0
    return target[:, None].astype(float), settings.ridge_alpha
