"""Folds that keep families together and classes balanced."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.errors import ContractError


def assign_folds(target: pd.Series, groups: pd.Series, kind: str, n_folds: int, seed: int) -> np.ndarray:
    """The fold (0 to n_folds - 1) of each unit; no group lies in two folds.

    Classification is stratified on its classes, regression on quintiles of the target, or on fewer
    quantiles where a quintile would hold fewer units than there are folds. The folds are those of
    scikit-learn's StratifiedGroupKFold, dealt without its loops: groups, shuffled and the most uneven
    first, each go to the fold that leaves the classes' shares most alike, of equals to the smallest.
    """
    _, code = np.unique(_stratify(target, kind, n_folds), return_inverse=True)
    names, group = np.unique(groups.to_numpy().astype(str), return_inverse=True)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    counts = np.zeros((len(names), code.max() + 1))
    np.add.at(counts, (group, code), 1.0)
    counts = counts[order]
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    held, n_units = np.zeros((n_folds, counts.shape[1])), counts.sum(axis=0)
    own = np.eye(n_folds)[:, :, None]
    for k in np.argsort(-counts.std(axis=1), kind="stable"):
        spread = ((held + own * counts[k]) / n_units).std(axis=1).mean(axis=1)
        best = _choose(spread.tolist(), held.sum(axis=1).tolist())
        held[best] += counts[k]
        fold_of_group[order[k]] = best
    return fold_of_group[group]


def _choose(spread: list[float], held: list[float]) -> int:
    """The fold of the smallest spread; of those about equal to the best so far, the one that holds fewest."""
    best = 0
    for k in range(1, len(spread)):
        is_close = abs(spread[k] - spread[best]) <= 1e-8 + 1e-5 * spread[best]
        if spread[k] < spread[best] or (is_close and held[k] < held[best]):
            best = k
    return best


def check_folds(units: pd.DataFrame) -> None:
    """Check that no person and no family lies in two folds.

    Raises:
        ContractError: one does.
    """
    for column in ("person_id", "group_id"):
        n_folds = units.groupby(column)["fold"].nunique()
        if (n_folds > 1).any():
            raise ContractError(
                f"{column} {n_folds.index[n_folds > 1][0]} lies in two folds: a probe would be tested on "
                "people whom it was fitted on; check person_id and group_id of the label table."
            )


def deal_blocks(
    target: pd.Series, groups: pd.Series, kind: str, n_blocks: int, seed: int
) -> np.ndarray | None:
    """The block (0 to n_blocks - 1) of each unit; no group lies in two blocks.

    Groups are dealt, stratified on the label of their first unit: a deal over units would cost more than the
    fits behind it. None: fewer than two groups a block, or no class that is in every block.
    """
    _, first, group = np.unique(groups.to_numpy().astype(str), return_index=True, return_inverse=True)
    _, code = np.unique(_stratify(target.iloc[first], kind, n_blocks), return_inverse=True)
    if len(first) < 2 * n_blocks or np.bincount(code).max() < n_blocks:
        return None
    # Classes one after another, shuffled: dealing them in turn gives every block its share of each.
    order = np.lexsort((np.random.default_rng(seed).random(len(first)), code))
    block = np.zeros(len(first), dtype=np.int64)
    block[order] = np.arange(len(first)) % n_blocks
    return block[group]


def deal_halves(
    target: pd.Series, groups: pd.Series, kind: str, n_folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """The half (0 or 1) of each unit and its fold there; no group lies in two halves or folds.

    None: people are too few.
    """
    part = deal_blocks(target, groups, kind, 2 * n_folds, seed)
    return None if part is None else (part % 2, part // 2)


def _stratify(target: pd.Series, kind: str, n_folds: int) -> pd.Series:
    """Classes, or quantiles of a number."""
    if kind == "classification":
        return target.astype(str)
    n_quantiles = max(1, min(5, len(target) // n_folds))
    return pd.qcut(target.rank(method="first"), n_quantiles, labels=False).astype(str)
