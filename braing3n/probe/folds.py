"""Folds that keep families together and classes balanced."""

from __future__ import annotations

import numpy as np
import pandas as pd


def assign_folds(target: pd.Series, groups: pd.Series, kind: str, n_folds: int, seed: int) -> np.ndarray:
    """The fold (0 to n_folds - 1) of each unit; no group lies in two folds.

    Classification is stratified on its classes, regression on quintiles of the target, or on fewer
    quantiles where a quintile would hold fewer units than there are folds.
    """
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    strata = target.astype(str)
    if kind == "regression":
        n_quantiles = max(1, min(5, len(target) // n_folds))
        strata = pd.qcut(target.rank(method="first"), n_quantiles, labels=False).astype(str)
    folds = np.zeros(len(target), dtype=np.int64)
    splitter = StratifiedGroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer people than folds is told in the score's note, not on the screen.
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, test) in enumerate(splitter.split(np.zeros(len(target)), strata, groups)):
            folds[test] = fold
    return folds
