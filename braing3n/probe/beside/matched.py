"""A binary task within sites and at sites left out, and any task held against shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.probe.folds import assign_folds
from braing3n.probe.halves import code_quickly
from braing3n.probe.plan import Probe
from braing3n.probe.scores import correlate, count_wins
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.logistic import predict_logistic
from braing3n.probe.solve.ridge import predict_ridge
from braing3n.probe.solve.span import BLOCK_NUMBERS

MAX_SITES = 20  # left out one after another: those with most people of the rarer class


@dataclass(frozen=True)
class Matched:
    """An AUC over pairs of one site, held against shuffled labels; NaN, with a note, where there is none.

    Attributes:
        value, low, high: the AUC less the 95 % range, about 0.5, of the same over shuffled labels.
        p_value: of no relation, two-sided.
        is_matched: (n_units,) whose pairs count.
    """

    is_matched: np.ndarray
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p_value: float = float("nan")
    note: str = ""


def match_sites(probe: Probe, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings) -> Matched:
    """AUC over pairs of the two classes of one site, held against labels shuffled within sites.

    Few people share a site, so halves of them would give a wide interval. This one is the value less
    the 95 % range, about 0.5, of the same statistic over labels shuffled within sites: it holds 0.5
    where a permutation test does not reject. The probe is a least-squares one, which takes all
    shufflings in one solve.
    """
    units = probe.units
    is_case = (units["target"] == probe.classes[0]).to_numpy()
    site = find_first(probe, labels, "site")
    is_mixed = pd.Series(is_case).groupby(site).transform("nunique").to_numpy() == 2
    is_matched = is_mixed & (site != "")
    if not is_matched.any():
        return Matched(is_matched, note="no site has cases and controls")
    y = shuffle_within_sites(find_holders(units), site, is_case, settings)
    aucs = score_within_sites(probe.pool(features), y, site, units["group_id"], is_matched, settings)
    if np.isnan(aucs[0]):
        return Matched(is_matched, note="no pair within a site and a test fold")
    shuffled = aucs[1:] - 0.5
    low, high = np.nanpercentile(shuffled, [2.5, 97.5])
    value = float(aucs[0])
    n_beyond = int((np.abs(shuffled) >= abs(value - 0.5)).sum())
    return Matched(
        is_matched,
        value,
        float(max(0.0, value - high)),
        float(min(1.0, value - low)),
        (1 + n_beyond) / (1 + len(shuffled)),
        f"pairs within a site and a test fold; {settings.n_permutations} shufflings within sites",
    )


def find_first(probe: Probe, labels: pd.DataFrame, column: str) -> np.ndarray:
    """A column of the label table for each unit, as text: of its first row; '' where unknown."""
    rows = np.flatnonzero(probe.unit_of_row >= 0)
    _, first = np.unique(probe.unit_of_row[rows], return_index=True)
    return labels[column].iloc[rows[first]].fillna("").astype(str).to_numpy(dtype=str)


def find_holders(units: pd.DataFrame) -> np.ndarray:
    """Whose label each unit's is: the person's, or the unit's own where most people seen twice have two."""
    people = units["person_id"].astype(str)
    counts = units.groupby(people)["target"].agg(["size", "nunique"])
    is_own = (counts["nunique"] > 1).sum() > (counts["size"] > 1).sum() / 2
    return (units["unit_id"].astype(str) if is_own else people).to_numpy(dtype=str)


def shuffle_within_sites(people, site, is_case, settings) -> np.ndarray:
    """Labels +-1 of each unit, (n_units, 1 + n_permutations): as given, then shuffled by person in a site."""
    rng = np.random.default_rng(settings.seed)
    y = np.repeat(np.where(is_case, 1.0, -1.0)[:, None], 1 + settings.n_permutations, axis=1)
    for name in np.unique(site):
        rows = np.flatnonzero(site == name)
        _, first, person = np.unique(people[rows].astype(str), return_index=True, return_inverse=True)
        given = y[rows[first], 0]
        for k in range(settings.n_permutations):
            y[rows, 1 + k] = rng.permutation(given)[person]
    return y


def score_within_sites(x, y, site, groups: pd.Series, is_matched, settings) -> np.ndarray:
    """For each column of y, the AUC over pairs within a site and a test fold, over repeated deals of folds.

    Folds are stratified by site alone, so that shuffled labels are dealt like the given ones.
    """
    wins, n_pairs = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    _, code = np.unique(site, return_inverse=True)
    for repeat in range(settings.n_matched_repeats):
        folds = assign_folds(
            pd.Series(site), groups, "classification", settings.n_folds, settings.seed + repeat
        )
        scores = predict_ridge(x, y, folds, settings.ridge_alpha)
        block = (code * settings.n_folds + folds)[is_matched]
        counts = count_wins(scores[is_matched], y[is_matched] > 0, block)
        wins, n_pairs = wins + counts[0], n_pairs + counts[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / n_pairs


def leave_sites_out(
    probe: Probe, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings
) -> list[tuple[str, float, str]]:
    """Of each site the AUC of a probe fitted on all others: (site, AUC, note).

    NaN where the site has one class, or too few people of one. A family lies at one site, that of its first
    unit. At most `MAX_SITES` sites are left out, those with most people of their rarer class; the others are
    NaN.
    """
    units = probe.units
    sites = (
        pd.Series(find_first(probe, labels, "site")).groupby(units["group_id"].to_numpy()).transform("first")
    )
    target = units["target"].to_numpy()
    people = pd.crosstab(sites, target, units["person_id"].to_numpy(), aggfunc="nunique")
    rarer = people.fillna(0).min(axis=1).drop("", errors="ignore")
    few = settings.min_class_people
    ordered = list(rarer[rarer >= few].sort_values(ascending=False, kind="stable").index)
    mixed, beyond = ordered[:MAX_SITES], ordered[MAX_SITES:]
    fold = sites.map({name: k for k, name in enumerate(mixed)}).fillna(len(mixed)).to_numpy(int)
    remarks = rarer[rarer < few].map(lambda n: f"{n:.0f} people of a class" if n else "one class only")
    found = [(str(name), float("nan"), note) for name, note in remarks.items()]
    limit = f"not left out: {MAX_SITES} sites have more people of their rarer class"
    found += [(str(name), float("nan"), limit) for name in beyond]
    if not mixed or len(np.unique(fold)) < 2:
        return found
    code = (target == probe.classes[1]).astype(int)
    scores, _ = predict_logistic(probe.pool(features), code, 2, fold, settings.max_iter)
    for k, name in enumerate(mixed):
        rows = fold == k
        wins, pairs = count_wins(scores[rows, 1:], code[rows, None] == 1, np.zeros(rows.sum()))
        found.append((name, float(wins[0] / pairs[0]), f"{int(rarer[name])} people of the rarer class"))
    return found


def permute(probe: Probe, features: np.ndarray, settings: ProbeSettings) -> tuple[float, float]:
    """The macro AUC or r of a least-squares probe, and its p value against labels shuffled by person.

    One-sided. Folds are grouped and not stratified, so that shuffled labels are dealt like the given ones.
    """
    units = probe.units
    constant = pd.Series("", index=units.index)
    folds = assign_folds(constant, units["group_id"], "classification", settings.n_folds, settings.seed)
    _, first, person = np.unique(find_holders(units), return_index=True, return_inverse=True)
    y, alpha = code_quickly(probe, settings)
    rng, x = np.random.default_rng(settings.seed), probe.pool(features)
    found = [_score_columns(x, y[:, None, :], folds, alpha)]
    size = max(1, BLOCK_NUMBERS // y.size)
    for start in range(0, settings.n_permutations, size):
        n = min(size, settings.n_permutations - start)
        shuffled = np.stack([y[first][rng.permutation(len(first))][person] for _ in range(n)], axis=1)
        found.append(_score_columns(x, shuffled, folds, alpha))
    value, others = found[0][0], np.concatenate(found[1:])
    return float(value), float((1 + (others >= value).sum()) / (1 + len(others)))


def _score_columns(x: np.ndarray, y: np.ndarray, folds: np.ndarray, alpha: float) -> np.ndarray:
    """Macro AUC, or r where there is one column, of each labelling of y (n, B, classes or 1): (B,)."""
    n, n_labels, n_columns = y.shape
    y = y.reshape(n, -1)
    scores = predict_ridge(x, y, folds, alpha)
    if n_columns == 1:
        return np.array([correlate(y[:, k], scores[:, k], folds) for k in range(n_labels)])
    wins, pairs = count_wins(scores, y > 0, folds)
    # A class that no test fold has beside another counts for nothing; where all are such, it is chance.
    aucs, n_pairs = (wins / np.maximum(pairs, 1)).reshape(n_labels, -1), pairs.reshape(n_labels, -1)
    n_scored = (n_pairs > 0).sum(axis=1)
    return np.where(n_scored > 0, aucs.sum(axis=1) / np.maximum(n_scored, 1), 0.5)
