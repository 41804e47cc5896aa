"""A half is the whole probe again: its own people, folds, fits and score."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings
from braing3n.probe import halves
from braing3n.probe.folds import deal_halves
from braing3n.probe.halves import code_quickly, read_probe
from braing3n.probe.plan import plan_probe
from braing3n.probe.scores import score
from braing3n.probe.solve.ridge import predict_ridge
from braing3n.probe.tasks import PAPER_TASKS

TASKS = {task.key: task for task in PAPER_TASKS}


def deal(probe, settings, seeds):
    units = probe.units
    given = units["target"], units["group_id"], probe.task.kind, settings.n_folds
    return [deal_halves(*given, seed) for seed in seeds]


def read_quickly(features, probe, settings):
    y, alpha = code_quickly(probe, settings)
    return predict_ridge(features, y, probe.units["fold"].to_numpy(), alpha)


@pytest.mark.parametrize(("key", "slice_name"), [("sex", "all"), ("age", "all"), ("sex", "patient-pooled")])
def test_halves_share_no_family_and_neither_do_their_folds(corpus, settings, key, slice_name):
    labels, _ = corpus
    probe = plan_probe(TASKS[key], slice_name, labels, settings)
    ((side, fold),) = deal(probe, settings, [4])
    units = probe.units.assign(side=side, fold=fold)
    assert units.groupby("group_id")[["side", "fold"]].nunique().max().max() == 1
    n_groups = units.groupby("side")["group_id"].nunique()
    assert abs(n_groups[0] - n_groups[1]) <= settings.n_folds
    for k in range(2):
        assert set(fold[side == k]) == set(range(settings.n_folds))


def test_small_classes_are_shared_out():
    target = pd.Series(["rare"] * 5 + ["other"] * 60)
    groups = pd.Series([f"g{k:02d}" for k in range(65)])
    for seed in range(20):
        side, fold = deal_halves(target, groups, "classification", 5, seed)
        assert sorted(np.bincount(side[:5], minlength=2)) == [2, 3]
        assert min(np.bincount(side * 5 + fold)) >= 6


def test_a_family_is_dealt_by_its_own_label_however_many_volumes_it_has():
    groups = pd.Series(np.repeat([f"g{k:02d}" for k in range(60)], 3))
    target = pd.Series(np.where(groups < "g10", "rare", "other"))
    for seed in range(10):
        side, _ = deal_halves(target, groups, "classification", 5, seed)
        assert list(pd.Series(side[target == "rare"]).value_counts()) == [15, 15]


def test_every_deal_is_another_and_is_dealt_alike_for_every_encoder(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    assert len({tuple(side) for side, _ in deal(probe, settings, range(6))}) == 6
    ours, theirs = (read_probe(x, probe, settings).halves["auc"] for x in (features, features * 3.0 + 1.0))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)  # the same people: standardised, the same features


@pytest.mark.parametrize(("key", "metric"), [("sex", "auc"), ("age", "r")])
def test_the_score_of_a_half_is_that_of_a_probe_which_saw_its_people_only(corpus, settings, key, metric):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    found = read_probe(features, probe, settings).halves[metric]
    assert found.shape == (settings.n_halvings, 2)
    deals = deal(probe, settings, settings.seed + 1 + np.arange(settings.n_halvings))
    for k in (0, settings.n_halvings - 1):
        for side in range(2):
            rows = deals[k][0] == side
            x, folds, y = features[rows], deals[k][1][rows], probe.units["target"].to_numpy()[rows]
            y, alpha = ((y == "M").astype(float), 4.0) if metric == "auc" else (y, settings.ridge_alpha)
            wins, pairs, products = 0.0, 0, np.zeros(3)
            for fold in range(settings.n_folds):
                test = folds == fold
                p = make_pipeline(StandardScaler(), Ridge(alpha)).fit(x[~test], y[~test]).predict(x[test])
                if metric == "auc":
                    n = (y[test] == 1).sum() * (y[test] == 0).sum()
                    wins, pairs = wins + n * roc_auc_score(y[test], p), pairs + n
                a, b = y[test] - y[test].mean(), p - p.mean()
                products += a @ b, a @ a, b @ b
            expected = wins / pairs if pairs else products[0] / np.sqrt(products[1] * products[2])
            assert found[k, side] == pytest.approx(expected, abs=1e-6)


def test_a_quick_fit_is_the_first_newton_step_of_the_logistic_regression(corpus, settings):
    """And ranks people as the whole regression does."""
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    quick = read_quickly(features, probe, settings)
    folds, y = probe.units["fold"].to_numpy(), (probe.units["target"] == "M").to_numpy()
    test = folds == 2
    scaler = StandardScaler().fit(features[~test])
    x, new = scaler.transform(features[~test]), scaler.transform(features[test])
    step = np.linalg.solve(x.T @ x / 4 + np.eye(x.shape[1]), x.T @ (y[~test] - 0.5))
    found, expected = quick[test, 1], new @ step / 4
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-9)
    whole = LogisticRegression(max_iter=1000).fit(x, y[~test]).decision_function(new)
    assert np.corrcoef(found, whole)[0, 1] > 0.95


def test_too_few_people_to_halve_have_no_interval(corpus, settings):
    few = np.flatnonzero(corpus[0]["person_id"] < "p016")
    labels, features = corpus[0].iloc[few].reset_index(drop=True), corpus[1][few]
    probe = plan_probe(TASKS["age"], "all", labels, settings)
    assert not probe.reason
    reading = read_probe(features, probe, settings)
    assert np.isfinite(reading.predictions).all()
    assert np.isnan(reading.halves["r"]).all()


def test_an_interval_is_delongs_where_people_are_independent_and_fits_are_stable():
    """Three features and 400 people: little spread of fits, so that DeLong's standard error is the same."""
    rng = np.random.default_rng(3)
    ours, delongs = [], []
    settings = ProbeSettings(n_halvings=10)
    for _ in range(12):
        is_case, names = rng.random(400) < 0.5, [f"p{k:03d}" for k in range(400)]
        labels = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names})
        labels = labels.assign(sex=np.where(is_case, "M", "F"), modality="T1", split="train")
        features = rng.normal(size=(400, 3)) + 0.6 * is_case[:, None]
        probe = plan_probe(TASKS["sex"], "all", labels, settings)
        reading = read_probe(features, probe, settings)
        gaps = reading.halves["auc"][:, 0] - reading.halves["auc"][:, 1]
        ours.append(np.mean(gaps**2) / 4)
        cases, controls = reading.predictions[is_case, 1], reading.predictions[~is_case, 1]
        wins = cases[:, None] > controls
        delongs.append(
            wins.mean(axis=1).var(ddof=1) / len(cases) + wins.mean(axis=0).var(ddof=1) / len(controls)
        )
    assert 0.8 < np.sqrt(np.mean(ours) / np.mean(delongs)) < 1.25


@pytest.mark.parametrize(("most", "is_by_blocks"), [(2**28, True), (20, False)])
def test_blocks_are_kept_only_where_their_scatters_fit_into_memory(
    corpus, settings, monkeypatch, most, is_by_blocks
):
    labels, features = corpus
    asked = []
    monkeypatch.setattr(halves, "MANY_GROUPS", 20)
    monkeypatch.setattr(halves, "MOST_NUMBERS", most)
    monkeypatch.setattr(halves, "_repeat", lambda *given: asked.append("halves") or iter(()))
    monkeypatch.setattr(halves, "_repeat_by_blocks", lambda *given: asked.append("blocks") or iter(()))
    read_probe(features[:, :4], plan_probe(TASKS["sex"], "all", labels, settings), settings)
    assert asked == ["blocks" if is_by_blocks else "halves"]


@pytest.mark.parametrize(("key", "metric"), [("sex", "auc"), ("age", "r"), ("modality", "auc")])
def test_many_people_are_dealt_in_blocks_and_each_half_is_a_probe_of_its_own(
    corpus, settings, monkeypatch, key, metric
):
    """The shared scatter gives what scikit-learn's ridge fitted on the half alone gives."""
    labels, features = corpus
    monkeypatch.setattr(halves, "MANY_GROUPS", 20)
    monkeypatch.setattr(halves, "BLOCKS_A_PART", 2)
    probe = plan_probe(TASKS[key], "all", labels, settings)
    y, alpha = code_quickly(probe, settings)
    deals = list(halves._repeat_by_blocks(features, probe, settings, False))
    assert len({tuple(side) for side, _, _ in deals}) == settings.n_halvings
    for side, fold, predictions in deals[:2]:
        parts = probe.units.assign(side=side, fold=fold).groupby("group_id")[["side", "fold"]]
        assert parts.nunique().max().max() == 1
        for k, each in product(range(2), range(settings.n_folds)):
            train, test = (side == k) & (fold != each), (side == k) & (fold == each)
            model = make_pipeline(StandardScaler(), Ridge(alpha)).fit(features[train], y[train])
            expected = model.predict(features[test]).reshape(-1, y.shape[1])
            np.testing.assert_allclose(predictions[test], expected, atol=1e-8)
    found = read_probe(features, probe, settings).halves[metric]
    side, fold, predictions = deals[1]
    rows, target = side == 1, probe.units["target"].to_numpy()
    expected = score(probe.task.kind, target[rows], predictions[rows], probe.classes, fold[rows])[metric]
    assert found[1, 1] == expected
