"""The shared solves agree with a plain scikit-learn loop that is run to convergence, fold by fold."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.probe.solve.logistic import predict_logistic
from braing3n.probe.solve.moments import standardise
from braing3n.probe.solve.ridge import predict_ridge

N_FOLDS = 3


def make_rows(n, n_features, n_classes, power=1.0, offset=0.0, seed=0):
    """Features whose singular values fall as 1/k^power, rotated; a class; a number; folds of unlike sizes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, n_features))
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    x = (z / np.arange(1, n_features + 1) ** power) @ rotation + offset
    planted = z @ rng.normal(size=(n_features, n_classes)) * 2 / np.sqrt(n_features)
    code = (planted + rng.gumbel(size=(n, n_classes)) + np.arange(n_classes) / 4).argmax(axis=1)
    return x, code, planted[:, 0] * 10 + rng.normal(size=n), rng.choice(N_FOLDS, n, p=[0.5, 0.3, 0.2])


def loop(last, x, y, fold, n_components=0):
    """Each fold's test rows and what a scikit-learn pipeline fitted on the others says of them."""
    for k in range(N_FOLDS):
        train, test = fold != k, np.flatnonzero(fold == k)
        steps = [PCA(n_components, svd_solver="full")] if n_components else []
        yield test, make_pipeline(*steps, StandardScaler(), last).fit(x[train], y[train])


@pytest.mark.parametrize("n_components", [0, 9])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    ("n", "n_features", "power"), [(600, 40, 1.0), (600, 40, 0.0), (90, 200, 1.0), (40, 12, 2.0)]
)
def test_a_logistic_regression_is_scikit_learns(n, n_features, power, n_classes, n_components):
    x, code, _, fold = make_rows(n, n_features, n_classes, power)
    found, is_converged = predict_logistic(x, code, n_classes, fold, 1000, n_components)
    assert is_converged
    last = LogisticRegression(max_iter=10**5, tol=1e-8)
    for test, model in loop(last, x, code, fold, n_components):
        expected = model.predict_proba(x[test])
        np.testing.assert_allclose(found[test], expected, atol=2e-3)
        columns = [1] if n_classes == 2 else np.unique(code[test])
        aucs = [[roc_auc_score(code[test] == c, p[:, c]) for c in columns] for p in (found[test], expected)]
        assert abs(np.mean(aucs[0]) - np.mean(aucs[1])) < 1e-3


@pytest.mark.parametrize("n_components", [0, 9])
@pytest.mark.parametrize(("n", "n_features", "power"), [(600, 40, 1.0), (90, 200, 1.0), (40, 12, 2.0)])
def test_a_ridge_is_scikit_learns(n, n_features, power, n_components):
    x, _, number, fold = make_rows(n, n_features, 2, power)
    y = np.stack([number, -3 * number**2], axis=1)
    found = predict_ridge(x, y, fold, 2.0, n_components)
    for test, model in loop(Ridge(2.0), x, y, fold, n_components):
        expected = model.predict(x[test])
        np.testing.assert_allclose(found[test], expected, rtol=1e-5, atol=1e-5)
        assert r2_score(y[test], found[test]) == pytest.approx(r2_score(y[test], expected), abs=1e-6)
        errors = [mean_absolute_error(y[test], p) for p in (found[test], expected)]
        assert errors[0] == pytest.approx(errors[1], rel=1e-6)


@pytest.mark.parametrize("n_features", [20, 300])
def test_a_large_mean_a_constant_and_a_tiny_feature_change_nothing(n_features):
    """One of deviation 1e-6 about 1e4 counts as any other; one that is constant in a fold, for nothing."""
    x, code, number, fold = make_rows(120, n_features, 2)
    x = standardise(x)
    x[:, 0] = 1e4 + 1e-6 * number
    x[:, 1] = 7.0
    x[:, 2] = np.where(fold == 1, x[:, 2], 0.1)
    found = predict_ridge(x, number[:, None], fold, 1.0)[:, 0]
    probabilities, _ = predict_logistic(x, code, 2, fold, 1000)
    for test, model in loop(Ridge(1.0), x, number, fold):
        np.testing.assert_allclose(found[test], model.predict(x[test]), rtol=1e-4, atol=1e-3)
    for test, model in loop(LogisticRegression(max_iter=10**5, tol=1e-8), x, code, fold):
        np.testing.assert_allclose(probabilities[test], model.predict_proba(x[test]), atol=2e-3)


def test_a_fold_is_fitted_on_the_classes_that_it_has():
    x, code, _, fold = make_rows(150, 6, 4)
    fold[code == 2] = 0  # the first fold is trained without the class 2
    code[(code == 3) & (fold != 1)] = 1  # and the second without the class 3
    found, _ = predict_logistic(x, code, 4, fold, 1000)
    assert (found[fold == 0, 2] == 0).all()
    assert (found[fold == 1, 3] == 0).all()
    assert (found[fold == 2] > 0).all()
    for test, model in loop(LogisticRegression(max_iter=10**5, tol=1e-8), x, code, fold):
        np.testing.assert_allclose(
            found[np.ix_(test, model.classes_)], model.predict_proba(x[test]), atol=2e-3
        )


def test_an_only_class_is_certain():
    x, _, _, fold = make_rows(30, 4, 2)
    found, is_converged = predict_logistic(x, (fold == 0).astype(int), 2, fold, 1000)
    assert is_converged
    np.testing.assert_array_equal(found[fold == 0], np.repeat([[1.0, 0.0]], (fold == 0).sum(), axis=0))


def test_a_fit_that_is_stopped_says_so():
    x, code, _, fold = make_rows(200, 20, 2)
    assert not predict_logistic(x, code, 2, fold, 2)[1]


def test_components_that_the_rows_do_not_span_count_for_nothing():
    x, code, number, fold = make_rows(60, 30, 2)
    x[:, 4:] = x[:, :4] @ np.random.default_rng(1).normal(size=(4, 26))
    few, many = (predict_ridge(x, number[:, None], fold, 1.0, n) for n in (4, 20))
    np.testing.assert_allclose(few, many, atol=1e-8)
    few, many = (predict_logistic(x, code, 2, fold, 1000, n)[0] for n in (4, 20))
    np.testing.assert_allclose(few, many, atol=1e-3)


def test_tens_of_steps_do_where_singular_values_fall():
    """In other coordinates than those in which the Hessian at zero is the identity, more are needed."""
    rng = np.random.default_rng(0)
    latent, rotation = rng.normal(size=(1500, 80)), np.linalg.qr(rng.normal(size=(80, 80)))[0]
    x = (latent / np.arange(1, 81) ** 2) @ rotation
    code = (latent[:, 0] - latent[:, 5] + rng.normal(size=1500) > 0).astype(int) + (latent[:, 1] > 1)
    assert predict_logistic(x, code, 3, np.arange(1500) % 5, max_iter=32)[1]
