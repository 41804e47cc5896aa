"""What an encoder reads on a probe, and the whole probe again on halves of the people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.folds import deal_blocks, deal_halves
from braing3n.probe.plan import Probe
from braing3n.probe.scores import BOUNDS, METRICS, score
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.ridge import Blocks, predict_ridge

# From so many families on, halves are dealt from blocks, whose scatter is computed once for all deals.
MANY_GROUPS = 2000
BLOCKS_A_PART = 4  # of the two halves' folds
MOST_NUMBERS = 2**28  # of all blocks' scatters: 2 GB


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
    target = units["target"].to_numpy()
    is_many = units["group_id"].nunique() >= MANY_GROUPS and len(units) > 4 * features.shape[1]
    is_small = 2 * settings.n_folds * BLOCKS_A_PART * features.shape[1] ** 2 <= MOST_NUMBERS
    repeat = _repeat_by_blocks if is_many and is_small and not has_pca else _repeat
    for deal, (side, fold, predictions) in enumerate(repeat(features, probe, settings, has_pca)):
        for k in range(2):
            rows = np.flatnonzero(side == k)
            values = score(kind, target[rows], predictions[rows], probe.classes, fold[rows])
            for metric in metrics:
                scores[metric][deal, k] = values[metric]
    return scores


Deal = tuple[np.ndarray, np.ndarray, np.ndarray]  # of each unit: half (n,), fold in it (n,), predictions


def _repeat(features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool) -> Iterator[Deal]:
    """The probe in both halves of every deal; nothing where people are too few."""
    y, alpha = code_quickly(probe, settings)
    n_components = settings.n_pca_components if has_pca else 0
    dealt = probe.units["target"], probe.units["group_id"], probe.task.kind
    for deal in range(settings.n_halvings):
        found = deal_halves(*dealt, settings.n_folds, settings.seed + 1 + deal)
        if found is None:
            return
        side, fold = found
        predictions = np.zeros(y.shape)
        for k in range(2):
            rows = np.flatnonzero(side == k)
            predictions[rows] = predict_ridge(features[rows], y[rows], fold[rows], alpha, n_components)
        yield side, fold, predictions


def _repeat_by_blocks(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, _has_pca: bool
) -> Iterator[Deal]:
    """The same with deals of blocks of many people."""
    y, alpha = code_quickly(probe, settings)
    n_blocks = 2 * settings.n_folds * BLOCKS_A_PART
    dealt = probe.units["target"], probe.units["group_id"], probe.task.kind
    block = deal_blocks(*dealt, n_blocks, settings.seed)
    if block is None:
        return
    blocks = Blocks(features, block)
    for deal in range(settings.n_halvings):
        part = np.random.default_rng(settings.seed + 1 + deal).permutation(n_blocks)[block]
        side, fold = part % 2, part // 2 % settings.n_folds
        yield side, fold, blocks.predict(y, side, fold, alpha)


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
