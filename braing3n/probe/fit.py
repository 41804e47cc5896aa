"""Linear probes, scored out of fold: logistic regression for classes, ridge for numbers."""

from __future__ import annotations

import warnings

import numpy as np

from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings


def predict_out_of_fold(
    features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool
) -> tuple[np.ndarray, bool]:
    """Each unit's prediction by the model that never saw its group.

    Args:
        features: (n_units, F).
        probe: target, classes and folds.
        has_pca: reduce by a PCA fitted in the fold, before standardising.

    Returns:
        Predictions: (n_units, n_classes) probabilities, or (n_units, 1) in the target's unit; and
        whether every fit converged. Where only one class is left to fit, it is predicted.
    """
    from sklearn.exceptions import ConvergenceWarning

    n_classes = len(probe.classes)
    predictions = np.zeros((len(features), n_classes or 1))
    folds, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    is_converged = True
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        if n_classes and len(set(target[train])) == 1:
            predictions[test, probe.classes.index(target[train][0])] = 1
            continue
        model = build_model(probe.task.kind, train.sum(), features.shape[1], settings, has_pca)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(features[train], target[train])
        is_converged &= not any(issubclass(item.category, ConvergenceWarning) for item in caught)
        if n_classes:
            columns = [probe.classes.index(name) for name in model.classes_]
            predictions[np.ix_(test, columns)] = model.predict_proba(features[test])
        else:
            predictions[test, 0] = model.predict(features[test])
    return predictions, is_converged


def build_model(kind: str, n_train: int, n_features: int, settings: ProbeSettings, has_pca: bool):
    """A probe of this kind, not fitted: (PCA,) standardising, and logistic regression or ridge."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    steps = [_build_pca(n_train, n_features, settings)] if has_pca else []
    last = (
        LogisticRegression(max_iter=settings.max_iter)
        if kind == "classification"
        else Ridge(settings.ridge_alpha)
    )
    return make_pipeline(*steps, StandardScaler(), last)


def predict_quickly(features: np.ndarray, probe: Probe, settings: ProbeSettings, has_pca: bool) -> np.ndarray:
    """As `predict_out_of_fold`, with one Newton step from zero in place of a logistic regression.

    That step is a ridge on each class's indicator with four times the logistic regression's penalty,
    one solve for all classes. What it predicts ranks units, but is no probability.
    """
    folds, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    if probe.classes:
        y, alpha = (target[:, None] == np.array(probe.classes, dtype=object)).astype(float), 4.0
    else:
        y, alpha = target[:, None].astype(float), settings.ridge_alpha
    predictions = np.zeros_like(y)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        seen, unseen = features[train], features[test]
        if has_pca:
            pca = _build_pca(len(seen), seen.shape[1], settings).fit(seen)
            seen, unseen = pca.transform(seen), pca.transform(unseen)
        predictions[test] = predict_ridge(seen, y[train], unseen, alpha)
    return predictions


def predict_ridge(train: np.ndarray, y: np.ndarray, test: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge on standardised features for many targets at once, solved in the smaller of n and F."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation == 0] = 1
    a, b = (train - mean) / deviation, (test - mean) / deviation
    centre = y.mean(axis=0)
    if a.shape[0] <= a.shape[1]:
        return b @ (a.T @ np.linalg.solve(a @ a.T + alpha * np.eye(len(a)), y - centre)) + centre
    return b @ np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ (y - centre)) + centre


def _build_pca(n_train: int, n_features: int, settings: ProbeSettings):
    from sklearn.decomposition import PCA

    n_components = min(settings.n_pca_components, n_train - 1, n_features)
    return PCA(n_components=n_components, svd_solver="full")
