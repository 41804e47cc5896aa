"""Scores agree with scikit-learn and SciPy, resampled or not."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

from braing3n.probe.scores import bootstrap, compute_auc, draw_weights, find_interval, score, score_folds

rng = np.random.default_rng(5)


@pytest.mark.parametrize("digits", [1, 8])
def test_every_bootstrapped_auc_is_scikit_learns_on_the_resampled_units(digits):
    scores, is_positive = rng.normal(size=60).round(digits), rng.random(60) < 0.4
    groups = np.repeat(np.arange(30), 2)
    weights = next(draw_weights(groups, 50, seed=1))
    ours = compute_auc(scores, is_positive, weights)
    for auc, weight in zip(ours, weights, strict=True):
        rows = np.repeat(np.arange(60), weight)
        assert auc == pytest.approx(roc_auc_score(is_positive[rows], scores[rows]), abs=1e-12)


def test_draws_take_whole_groups_and_as_many_as_there_are():
    groups = np.array(["a", "b", "b", "c"])
    weights = np.concatenate(list(draw_weights(groups, 40, seed=3, n_block=7)))
    assert weights.shape == (40, 4)
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_macro_auc_is_scikit_learns_one_vs_rest():
    target = rng.choice(["a", "b", "c"], 80)
    predictions = rng.dirichlet([1, 1, 1], 80)
    value = score("classification", target, predictions, ("a", "b", "c"))["auc"][0]
    assert value == pytest.approx(roc_auc_score(target, predictions, multi_class="ovr", average="macro"))


def test_an_auc_without_both_classes_is_undefined():
    assert np.isnan(compute_auc(np.arange(4.0), np.ones(4, bool), np.ones((1, 4)))[0])


def test_regression_scores_agree_with_the_libraries_on_resampled_units():
    target = rng.normal(60, 15, 50)
    predicted = (target + rng.normal(0, 10, 50))[:, None]
    weights = next(draw_weights(np.arange(50), 20, seed=2))
    ours = score("regression", target, predicted, (), weights)
    for b, weight in enumerate(weights):
        rows = np.repeat(np.arange(50), weight)
        y, p = target[rows], predicted[rows, 0]
        assert ours["r2"][b] == pytest.approx(r2_score(y, p))
        assert ours["mae"][b] == pytest.approx(mean_absolute_error(y, p))
        assert ours["r"][b] == pytest.approx(pearsonr(y, p)[0])


def test_the_interval_covers_a_known_auc_about_as_often_as_it_says():
    """Normal scores shifted by 1: the AUC is Phi(1 / sqrt 2) = 0.760."""
    n_covered = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        is_case = np.arange(120) % 2 == 0
        scores = draw.normal(size=120) + is_case
        draws = bootstrap(
            "classification", is_case, scores[:, None], (True, False), np.arange(120), 300, seed
        )
        low, high = find_interval(draws["auc"])
        n_covered += low <= 0.7602 <= high
    assert n_covered >= 51


def test_a_fold_without_a_class_averages_over_those_present():
    target = np.array(["a", "b", "c", "a", "b", "a"])
    predictions = np.eye(3)[[0, 1, 2, 0, 1, 0]]
    folds = np.array([0, 0, 0, 1, 1, 1])
    mean, sd = score_folds("classification", target, predictions, ("a", "b", "c"), folds)["auc"]
    assert (mean, sd) == (1.0, 0.0)
