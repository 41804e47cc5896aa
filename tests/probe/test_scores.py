"""Scores agree with scikit-learn and SciPy fold by fold; intervals hold the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

from braing3n.probe.scores import correct_holm, count_wins, find_interval, find_p_value, score, score_folds

rng = np.random.default_rng(5)
ONE_FOLD = np.zeros(80, dtype=int)


@pytest.mark.parametrize("digits", [1, 8])
def test_an_auc_is_scikit_learns_over_the_pairs_of_each_fold(digits):
    scores, is_case = rng.normal(size=80).round(digits), rng.random(80) < 0.4
    folds = rng.integers(0, 4, 80)
    aucs, pairs = [], []
    for k in range(4):
        rows = folds == k
        aucs.append(roc_auc_score(is_case[rows], scores[rows]))
        pairs.append(is_case[rows].sum() * (~is_case[rows]).sum())
    found = score("classification", is_case, scores[:, None], (True, False), folds)["auc"]
    assert found == pytest.approx(np.average(aucs, weights=pairs), abs=1e-12)


def test_models_of_two_folds_are_not_compared():
    """A shift of one fold's predictions, as another model's intercept gives, changes neither AUC nor r."""
    target, predicted = rng.normal(size=80), rng.normal(size=(80, 1))
    folds = np.arange(80) % 2
    shifted = predicted + 5.0 * folds[:, None]
    for kind, y in (("classification", target > 0), ("regression", target)):
        before, after = (score(kind, y, p, (True, False), folds) for p in (predicted, shifted))
        for metric in set(before) - {"r2", "mae"}:
            assert before[metric] == pytest.approx(after[metric])


def test_macro_auc_is_scikit_learns_one_vs_rest():
    target = rng.choice(["a", "b", "c"], 80)
    predictions = rng.dirichlet([1, 1, 1], 80)
    value = score("classification", target, predictions, ("a", "b", "c"), ONE_FOLD)["auc"]
    assert value == pytest.approx(roc_auc_score(target, predictions, multi_class="ovr", average="macro"))


def test_an_auc_without_both_classes_is_undefined():
    only = np.array(["a"] * 80)
    assert np.isnan(score("classification", only, rng.random((80, 2)), ("a", "b"), ONE_FOLD)["auc"])


def test_wins_by_column_and_block_are_those_of_every_pair():
    scores, is_case = rng.normal(size=(30, 4)).round(1), rng.random((30, 4)) < 0.5
    block = rng.integers(0, 4, 30)
    wins, pairs = count_wins(scores, is_case, block)
    for k in range(4):
        found = [
            (scores[a, k] > scores[b, k]) + (scores[a, k] == scores[b, k]) / 2
            for a in np.flatnonzero(is_case[:, k])
            for b in np.flatnonzero(~is_case[:, k])
            if block[a] == block[b]
        ]
        assert (wins[k], pairs[k]) == (sum(found), len(found))


def test_scores_that_differ_in_their_last_digits_do_not_tie():
    scores = np.array([[1e-20], [1e-19], [1e-18], [1.0]])
    is_case = np.array([[False], [True], [False], [True]])
    assert count_wins(scores, is_case, np.array([7, 7, 9, 9]))[0] == 2


def test_regression_scores_agree_with_the_libraries():
    target = rng.normal(60, 15, 80)
    predicted = (target + rng.normal(0, 10, 80))[:, None]
    folds = rng.integers(0, 3, 80)
    found = score("regression", target, predicted, (), folds)
    assert found["r2"] == pytest.approx(r2_score(target, predicted[:, 0]))
    assert found["mae"] == pytest.approx(mean_absolute_error(target, predicted[:, 0]))
    y, p = target.copy(), predicted[:, 0].copy()
    for k in range(3):
        y[folds == k] -= y[folds == k].mean()
        p[folds == k] -= p[folds == k].mean()
    assert found["r"] == pytest.approx(pearsonr(y, p)[0])


def test_a_fold_without_a_class_averages_over_those_present():
    target = np.array(["a", "b", "c", "a", "b", "a"])
    predictions = np.eye(3)[[0, 1, 2, 0, 1, 0]]
    folds = np.array([0, 0, 0, 1, 1, 1])
    mean, sd = score_folds("classification", target, predictions, ("a", "b", "c"), folds)["auc"]
    assert (mean, sd) == (1.0, 0.0)


@pytest.mark.parametrize("n_deals", [3, 5, 12])
def test_an_interval_holds_the_truth_as_often_as_it_says(n_deals):
    """Normal values with the mean 7: the interval about their mean, from the means of halves."""
    n, n_trials, n_covered = 40, 2000, 0
    for _ in range(n_trials):
        x = rng.normal(7, 3, n)
        shuffled = np.stack([rng.permutation(x) for _ in range(n_deals)])
        halves = np.stack([shuffled[:, : n // 2].mean(axis=1), shuffled[:, n // 2 :].mean(axis=1)], axis=1)
        low, high = find_interval(x.mean(), halves)
        n_covered += low <= 7 <= high
    assert 0.93 <= n_covered / n_trials <= 0.97


def test_an_interval_ends_where_the_score_does_and_needs_three_deals():
    halves = np.array([[0.9, 0.7], [0.95, 0.8], [0.7, 0.99], [np.nan, 0.8]])
    low, high = find_interval(0.97, halves, (0, 1))
    assert high == 1
    assert 0 < low < 0.97
    assert find_interval(0.97, halves)[1] > 1
    assert np.isnan(find_interval(0.97, halves[1:], (0, 1))).all()


def test_a_p_value_is_that_at_which_the_interval_ends_at_chance():
    halves = rng.normal(0.7, 0.1, (8, 2))
    p_value = find_p_value(0.7, halves, 0.5)
    assert find_interval(0.7, halves, level=1 - p_value)[0] == pytest.approx(0.5)
    assert np.isnan(find_p_value(0.7, halves[:2], 0.5))


def test_holms_correction_step_by_step():
    p_values = np.array([0.04, np.nan, 0.01, 0.03, 0.5])
    found = correct_holm(p_values)
    np.testing.assert_allclose(found[[2, 3, 0, 4]], [0.04, 0.09, 0.09, 0.5])
    assert np.isnan(found[1])
    assert correct_holm(np.array([0.9, 0.8]))[0] == 1
