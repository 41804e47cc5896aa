"""What other readouts than a linear probe of everyone find: neighbours, and few people a class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.compare import count_classes, count_units, score_reading
from braing3n.probe.contracts import READOUTS as CONTRACT
from braing3n.probe.fit import build_model, build_steps
from braing3n.probe.folds import deal_halves
from braing3n.probe.halves import Reading
from braing3n.probe.plan import Probe
from braing3n.probe.scores import BOUNDS, METRICS, score
from braing3n.probe.settings import ProbeSettings

N_NEIGHBOURS = 20
FEW = (10, 20, 50, 100)  # people a class
N_DRAWS = 10


def read_otherwise(
    encoder: str, features: np.ndarray, probes: list[Probe], settings: ProbeSettings, has_pca: bool = False
) -> pd.DataFrame:
    """A row a readout, task and metric of one encoder; features are (n_volumes, F)."""
    rows = []
    for probe in track(probes, f"readouts: {encoder}"):
        base = {"encoder": encoder, "slice": probe.slice, "people": probe.people, "title": probe.task.title}
        pooled = probe.pool(features)
        if "knn" in settings.readouts:
            reading = None if probe.reason else read_neighbours(pooled, probe, settings, has_pca)
            found, _ = score_reading(probe, reading, settings)
            rows += [{**base, **row, "readout": f"nearest {N_NEIGHBOURS} by cosine"} for row in found]
        if "few_shot" in settings.readouts and probe.task.kind == "classification":
            for n_people in FEW:
                row = {**base, "readout": f"{n_people} people a class"}
                rows.append(row | read_few(pooled, probe, settings, n_people, has_pca))
    return pd.DataFrame(rows, columns=list(CONTRACT))


def read_neighbours(features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool) -> Reading:
    """Each unit by its neighbours in the other folds: the classes' shares, or the mean; with halves."""
    kind, units = probe.task.kind, probe.units
    target, fold = units["target"].to_numpy(), units["fold"].to_numpy()
    predictions = predict_neighbours(features, target, fold, probe.classes, settings, has_pca)
    metrics = [metric for metric in METRICS[kind] if metric in BOUNDS]
    halves = {metric: np.full((settings.n_halvings, 2), np.nan) for metric in metrics}
    for deal in range(settings.n_halvings):
        seed = settings.seed + 1 + deal
        dealt = deal_halves(units["target"], units["group_id"], kind, settings.n_folds, seed)
        if dealt is None:
            break
        for k in range(2):
            rows = np.flatnonzero(dealt[0] == k)
            part = target[rows], dealt[1][rows]
            found = predict_neighbours(features[rows], *part, probe.classes, settings, has_pca)
            values = score(kind, part[0], found, probe.classes, part[1])
            for metric in metrics:
                halves[metric][deal, k] = values[metric]
    return Reading(predictions, halves, True)


def predict_neighbours(
    features: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    classes: tuple[str, ...],
    settings: ProbeSettings,
    has_pca: bool,
) -> np.ndarray:
    """(n_units, n_classes or 1), by cosine among features that are standardised in the fold."""
    from sklearn.neighbors import NearestNeighbors

    y = (target[:, None] == np.array(classes, dtype=object)) if classes else target[:, None]
    y = y.astype(float)
    predictions = np.zeros(y.shape)
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        x_train, x_test = features[train], features[test]
        for step in build_steps(len(train), features.shape[1], settings, has_pca):
            x_train = step.fit_transform(x_train)
            x_test = step.transform(x_test)
        near = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS, len(train)), metric="cosine").fit(x_train)
        predictions[test] = y[train][near.kneighbors(x_test, return_distance=False)].mean(axis=1)
    return predictions


def read_few(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, n_people: int, has_pca: bool
) -> dict:
    """One row: the mean AUC of probes that are fitted on few people a class, and where one more draw lies."""
    row = {"task": probe.task.key, "metric": "auc", **count_units(probe), "classes": count_classes(probe)}
    row |= {"dropped": probe.dropped, "reason": probe.reason, "note": ""}
    row |= dict.fromkeys(["fold_mean", "fold_sd", "value", "low", "high"], np.nan)
    if probe.reason:
        return row
    aucs = []
    for draw in range(N_DRAWS):
        predictions = _predict_few(features, probe, settings, n_people, draw, has_pca)
        if predictions is None:
            return {**row, "reason": f"fewer than {n_people} people a class in a training fold"}
        target, fold = probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
        aucs.append(score("classification", target, predictions, probe.classes, fold)["auc"])
    from scipy.stats import t

    mean, deviation = float(np.mean(aucs)), float(np.std(aucs, ddof=1))
    reach = t.ppf(0.975, N_DRAWS - 1) * deviation * np.sqrt(1 + 1 / N_DRAWS)
    low, high = max(0.0, mean - reach), min(1.0, mean + reach)
    note = f"mean of {N_DRAWS} draws; the interval is where one more draw lies"
    return {**row, "value": mean, "low": float(low), "high": float(high), "note": note}


def _predict_few(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, n_people: int, draw: int, has_pca: bool
) -> np.ndarray | None:
    target, fold = probe.units["target"].to_numpy().astype(str), probe.units["fold"].to_numpy()
    predictions = np.zeros((len(target), len(probe.classes)))
    for k in np.unique(fold):
        train = np.flatnonzero(fold != k)
        chosen = draw_people(probe.units.iloc[train], n_people, settings.seed + draw)
        if len(chosen) < n_people * len(probe.classes):
            return None
        rows, test = train[chosen], np.flatnonzero(fold == k)
        model = build_model("classification", len(rows), features.shape[1], settings, has_pca)
        predictions[test] = model.fit(features[rows], target[rows]).predict_proba(features[test])
    return predictions


def draw_people(units: pd.DataFrame, n_people: int, seed: int) -> np.ndarray:
    """Rows of at most `n_people` people a class, one volume each; of one seed, fewer lie within more."""
    order = np.random.default_rng(seed).permutation(len(units))
    shuffled = units.iloc[order].reset_index(drop=True)
    one_each = shuffled.drop_duplicates("person_id")
    return order[one_each.groupby("target").head(n_people).index.to_numpy()]
