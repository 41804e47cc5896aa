"""A half is the whole probe again: its own people, folds, fits and score."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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


@pytest.mark.parametrize(("key", "metric"), [("sex", "auc"), ("age", "r2")])
def test_the_score_of_a_half_is_that_of_a_probe_which_saw_its_people_only(corpus, settings, key, metric):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    found = read_probe(features, probe, settings).halves[metric]
    assert found.shape == (settings.n_halvings, 2)
    for deal in (0, settings.n_halvings - 1):
        for side, (rows, half) in enumerate(deal_halves(probe, settings, settings.seed + 1 + deal)):
            x, y, folds = features[rows], half.units["target"].to_numpy(), half.units["fold"].to_numpy()
            last = LogisticRegression(max_iter=1000) if metric == "auc" else Ridge(settings.ridge_alpha)
            predicted, aucs, pairs = np.zeros(len(y)), [], []
            for k in range(settings.n_folds):
                test = folds == k
                model = make_pipeline(StandardScaler(), last).fit(x[~test], y[~test])
                if metric == "r2":
                    predicted[test] = model.predict(x[test])
                    continue
                aucs.append(roc_auc_score(y[test] == "M", model.predict_proba(x[test])[:, 1]))
                pairs.append((y[test] == "M").sum() * (y[test] == "F").sum())
            expected = np.average(aucs, weights=pairs) if aucs else r2_score(y, predicted)
            assert found[deal, side] == pytest.approx(expected, abs=1e-6)


def test_too_few_people_to_halve_have_no_interval(corpus, settings):
    few = np.flatnonzero(corpus[0]["person_id"] < "p016")
    labels, features = corpus[0].iloc[few].reset_index(drop=True), corpus[1][few]
    probe = plan_probe(TASKS["age"], "all", labels, settings)
    assert not probe.reason
    reading = read_probe(features, probe, settings)
    assert np.isfinite(reading.predictions).all()
    assert np.isnan(reading.halves["r"]).all()
