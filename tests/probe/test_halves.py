"""A half is the whole probe again: its own people, folds, fits and score."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.probe.fit import predict_quickly, predict_ridge
from braing3n.probe.folds import assign_halves
from braing3n.probe.halves import deal_halves, read_probe
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import PAPER_TASKS

TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.mark.parametrize(("key", "slice_name"), [("sex", "all"), ("age", "all"), ("sex", "patient-pooled")])
def test_halves_share_no_family_and_neither_do_their_folds(corpus, settings, key, slice_name):
    labels, _ = corpus
    probe = plan_probe(TASKS[key], slice_name, labels, settings)
    first, second = deal_halves(probe, settings, seed=4)
    assert sorted([*first[0], *second[0]]) == list(range(len(probe.units)))
    groups = [set(half.units["group_id"]) for _, half in (first, second)]
    assert not groups[0] & groups[1]
    assert abs(len(groups[0]) - len(groups[1])) <= 2
    for rows, half in (first, second):
        assert list(half.units["unit_id"]) == list(probe.units["unit_id"].iloc[rows])
        assert half.units.groupby("group_id")["fold"].nunique().max() == 1
        assert set(half.units["fold"]) == set(range(settings.n_folds))


def test_small_classes_are_shared_out():
    target = pd.Series(["rare"] * 5 + ["other"] * 60)
    groups = pd.Series([f"g{k:02d}" for k in range(65)])
    for seed in range(20):
        side, fold = assign_halves(target, groups, "classification", 5, seed)
        assert sorted(np.bincount(side[:5], minlength=2)) == [2, 3]
        assert min(np.bincount(side * 5 + fold)) >= 6


def test_every_deal_is_another_and_is_dealt_alike_for_every_encoder(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    deals = [tuple(next(deal_halves(probe, settings, seed))[0]) for seed in range(6)]
    assert len(set(deals)) == 6
    ours, theirs = (read_probe(x, probe, settings).halves["auc"] for x in (features, features * 3.0 + 1.0))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)  # the same people: standardised, the same features


@pytest.mark.parametrize(("key", "metric"), [("sex", "auc"), ("age", "r")])
def test_the_score_of_a_half_is_that_of_a_probe_which_saw_its_people_only(corpus, settings, key, metric):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    found = read_probe(features, probe, settings).halves[metric]
    assert found.shape == (settings.n_halvings, 2)
    for deal in (0, settings.n_halvings - 1):
        for side, (rows, half) in enumerate(deal_halves(probe, settings, settings.seed + 1 + deal)):
            x, folds = features[rows], half.units["fold"].to_numpy()
            y = half.units["target"].to_numpy()
            y, alpha = ((y == "M").astype(float), 4.0) if metric == "auc" else (y, settings.ridge_alpha)
            wins, pairs, products = 0.0, 0, np.zeros(3)
            for k in range(settings.n_folds):
                test = folds == k
                p = make_pipeline(StandardScaler(), Ridge(alpha)).fit(x[~test], y[~test]).predict(x[test])
                if metric == "auc":
                    n = (y[test] == 1).sum() * (y[test] == 0).sum()
                    wins, pairs = wins + n * roc_auc_score(y[test], p), pairs + n
                a, b = y[test] - y[test].mean(), p - p.mean()
                products += a @ b, a @ a, b @ b
            expected = wins / pairs if pairs else products[0] / np.sqrt(products[1] * products[2])
            assert found[deal, side] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_features", [7, 80])
def test_the_shared_solve_is_scikit_learns_ridge(n_features):
    rng = np.random.default_rng(0)
    sizes = (40, n_features), (9, n_features), (40, 3)
    train, test, y = (rng.normal(size=size) for size in sizes)
    scaler = StandardScaler().fit(train)
    model = Ridge(2.0).fit(scaler.transform(train), y)
    np.testing.assert_allclose(
        predict_ridge(train, y, test, 2.0), model.predict(scaler.transform(test)), atol=1e-9
    )


def test_a_quick_fit_is_the_first_newton_step_of_the_logistic_regression(corpus, settings):
    """And ranks people as the whole regression does."""
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    quick = predict_quickly(features, probe, settings, has_pca=False)
    folds, y = probe.units["fold"].to_numpy(), (probe.units["target"] == "M").to_numpy()
    test = folds == 2
    scaler = StandardScaler().fit(features[~test])
    x, new = scaler.transform(features[~test]), scaler.transform(features[test])
    step = np.linalg.solve(x.T @ x / 4 + np.eye(x.shape[1]), x.T @ (y[~test] - 0.5))
    found, expected = quick[test, 1], new @ step / 4
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-9)
    whole = LogisticRegression(max_iter=1000).fit(x, y[~test]).decision_function(new)
    assert np.corrcoef(found, whole)[0, 1] > 0.95


def test_a_quick_fit_reduces_in_the_fold(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["age"], "all", labels, settings)
    few = settings.model_copy(update={"n_pca_components": 3})
    found = predict_quickly(features, probe, few, has_pca=True)[:, 0]
    folds, y = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    test = folds == 1
    model = make_pipeline(PCA(3, svd_solver="full"), StandardScaler(), Ridge(settings.ridge_alpha))
    np.testing.assert_allclose(found[test], model.fit(features[~test], y[~test]).predict(features[test]))


def test_too_few_people_to_halve_have_no_interval(corpus, settings):
    few = np.flatnonzero(corpus[0]["person_id"] < "p016")
    labels, features = corpus[0].iloc[few].reset_index(drop=True), corpus[1][few]
    probe = plan_probe(TASKS["age"], "all", labels, settings)
    assert not probe.reason
    reading = read_probe(features, probe, settings)
    assert np.isfinite(reading.predictions).all()
    assert np.isnan(reading.halves["r"]).all()
