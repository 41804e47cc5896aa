"""Folds that keep families together and classes balanced."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd


def assign_folds(target: pd.Series, groups: pd.Series, kind: str, n_folds: int, seed: int) -> np.ndarray:
    """The fold (0 to n_folds - 1) of each unit; no group lies in two folds.

    Classification is stratified on its classes, regression on quintiles of the target, or on fewer
    quantiles where a quintile would hold fewer units than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    return _number(splitter, _stratify(target, kind, n_folds), groups)


def assign_halves(
    target: pd.Series, groups: pd.Series, kind: str, n_folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The half (0 or 1) of each unit and its fold there; no group lies in two halves or folds.

    Groups are dealt, stratified on the label of their first unit, into twice as many parts as folds:
    a deal over units would cost more than the fits behind it. None: fewer than two groups a part, or no
    class that is in every part.
    """
    from sklearn.model_selection import StratifiedKFold

    first = target.groupby(groups.to_numpy(), sort=True).first()
    strata = _stratify(first, kind, 2 * n_folds)
    if len(first) < 4 * n_folds or strata.value_counts().max() < 2 * n_folds:
        return None
    parts = _number(StratifiedKFold(2 * n_folds, shuffle=True, random_state=seed), strata)
    part = parts[np.searchsorted(first.index.to_numpy(), groups.to_numpy())]
    return part % 2, part // 2


def _stratify(target: pd.Series, kind: str, n_folds: int) -> pd.Series:
    """Classes, or quantiles of a number."""
    if kind == "classification":
        return target.astype(str)
    n_quantiles = max(1, min(5, len(target) // n_folds))
    return pd.qcut(target.rank(method="first"), n_quantiles, labels=False).astype(str)


def _number(splitter, strata: pd.Series, groups: pd.Series | None = None) -> np.ndarray:
    """The number of the fold that each row is tested in."""
    folds = np.zeros(len(strata), dtype=np.int64)
    with warnings.catch_warnings():
        # The score's note reports a class with fewer people than folds.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, test) in enumerate(splitter.split(np.zeros(len(strata)), strata, groups)):
            folds[test] = fold
    return folds
