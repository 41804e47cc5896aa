"""Linear probes, scored out of fold: logistic regression for classes, ridge for numbers."""

from __future__ import annotations

import numpy as np

from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.logistic import predict_logistic
from braing3n.probe.solve.ridge import predict_ridge


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
    folds, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    n_components = settings.n_pca_components if has_pca else 0
    if not probe.classes:
        y = target[:, None].astype(float)
        return predict_ridge(features, y, folds, settings.ridge_alpha, n_components), True
    code = np.searchsorted(np.array(probe.classes), target.astype(str))
    return predict_logistic(features, code, len(probe.classes), folds, settings.max_iter, n_components)


def build_model(kind: str, n_train: int, n_features: int, settings: ProbeSettings, has_pca: bool):
    """A probe of this kind, not fitted: (PCA,) standardising, and logistic regression or ridge."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    last = (
        LogisticRegression(max_iter=settings.max_iter)
        if kind == "classification"
        else Ridge(settings.ridge_alpha)
    )
    return make_pipeline(*build_steps(n_train, n_features, settings, has_pca), last)


def build_steps(n_train: int, n_features: int, settings: ProbeSettings, has_pca: bool) -> list:
    """What stands before a readout, not fitted: (PCA,) standardising."""
    from sklearn.preprocessing import StandardScaler

    steps = [_build_pca(n_train, n_features, settings)] if has_pca else []
    return [*steps, StandardScaler()]


def reduce(features: np.ndarray, is_train: np.ndarray, settings: ProbeSettings) -> np.ndarray:
    """Components (n, C) of all rows (n, F), by a PCA fitted on the training rows (n,)."""
    pca = _build_pca(int(is_train.sum()), features.shape[1], settings)
    return pca.fit(features[is_train]).transform(features)


def _build_pca(n_train: int, n_features: int, settings: ProbeSettings):
    from sklearn.decomposition import PCA

    n_components = min(settings.n_pca_components, n_train - 1, n_features)
    return PCA(n_components=n_components, svd_solver="full")
