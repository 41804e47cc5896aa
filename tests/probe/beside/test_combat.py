"""ComBat in the fold, held against its formulas written as loops and against what was planted."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.cli import main
from braing3n.core.contracts import read_table, write_table
from braing3n.latents.cache import write_features
from braing3n.manifest.contracts import LABELS
from braing3n.probe.beside import combat
from braing3n.probe.beside.combat import READOUT, harmonise, predict_harmonised, read_harmonised
from braing3n.probe.beside.matched import find_first
from braing3n.probe.compare import score_reading
from braing3n.probe.contracts import READOUTS
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import list_tasks


def harmonise_by_loops(x, site, is_train):
    """The formulas of Johnson et al. 2007 and Fortin et al. 2018, a number at a time."""
    n_features, names = x.shape[1], sorted(set(site))
    rows = {name: [k for k in np.flatnonzero(is_train) if site[k] == name] for name in names}
    n_train = sum(len(own) for own in rows.values())
    alpha, sigma = [], []
    for v in range(n_features):
        means = {name: sum(x[k, v] for k in own) / len(own) for name, own in rows.items()}
        alpha.append(sum(len(own) / n_train * means[name] for name, own in rows.items()))
        left = sum((x[k, v] - means[name]) ** 2 for name, own in rows.items() for k in own)
        sigma.append((left / n_train) ** 0.5)
    z = (x - np.array(alpha)) / np.array(sigma)
    result = np.full(x.shape, np.nan)
    for name, own in rows.items():
        n, standard = len(own), z[own]
        gamma_hat, delta_hat = standard.mean(axis=0), standard.var(axis=0, ddof=1)
        gamma_bar, t2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        mean, variance = delta_hat.mean(), delta_hat.var(ddof=1)
        shape, rate = (mean**2 + 2 * variance) / variance, (mean**3 + mean * variance) / variance
        for v in range(n_features):
            gamma, delta = gamma_hat[v], delta_hat[v]
            for _ in range(500):
                gamma = (n * t2 * gamma_hat[v] + delta * gamma_bar) / (n * t2 + delta)
                squares = sum((value - gamma) ** 2 for value in standard[:, v])
                delta = (rate + squares / 2) / (n / 2 + shape - 1)
            for k in np.flatnonzero(np.array(site) == name):
                result[k, v] = sigma[v] * (z[k, v] - gamma) / delta**0.5 + alpha[v]
    return result


@pytest.fixture(scope="module")
def planted():
    """Features (600, 12) of six sites that add and multiply, of a label in the first half; scales differ."""
    rng = np.random.default_rng(4)
    site = rng.integers(0, 6, 600)
    label = rng.integers(0, 2, 600)
    clean = rng.normal(size=(600, 12))
    clean[:, :6] += 1.5 * label[:, None]
    shift, stretch = rng.normal(0, 2, (6, 12)), np.exp(rng.normal(0, 0.4, (6, 12)))
    x = (clean * stretch[site] + shift[site]) * np.geomspace(1e-3, 1e3, 12) + 5
    return x, np.array([f"c/s{k}" for k in site]), label, np.arange(600) % 5 != 0


def test_it_is_what_the_formulas_give(planted):
    x, site, _, is_train = (part[:120] for part in planted)
    np.testing.assert_allclose(
        harmonise(x, site, is_train), harmonise_by_loops(x, site, is_train), rtol=1e-5, atol=1e-6
    )


def test_what_sites_add_and_multiply_goes_and_the_label_stays_in_people_of_the_test(planted):
    x, site, label, is_train = planted
    found, scale = harmonise(x, site, is_train), np.geomspace(1e-3, 1e3, 12)

    def spread_over_sites(values, measure):
        return np.std(
            [measure(values[~is_train & (site == name)] / scale, axis=0) for name in set(site)], axis=0
        )

    for measure in (np.mean, lambda values, axis: np.log(values.std(axis=axis))):
        before, after = spread_over_sites(x, measure), spread_over_sites(found, measure)
        # Twenty people a site: their means scatter by .3, their logarithms of deviations by .2.
        assert before.mean() > 2 * after.mean()
        assert after.mean() < 0.4
    test = ~is_train
    effect = found[test & (label == 1)].mean(axis=0) - found[test & (label == 0)].mean(axis=0)
    effect /= found[test].std(axis=0)
    assert (effect[:6] > 0.7).all()
    assert (np.abs(effect[6:]) < 0.5).all()


def test_people_of_the_test_have_no_part_in_it(planted):
    x, site, _, is_train = planted
    changed, rest = x.copy(), np.flatnonzero(~is_train)[1:]
    changed[rest] = changed[rest] * 7 + 100
    before, after = harmonise(x, site, is_train), harmonise(changed, site, is_train)
    untouched = np.setdiff1d(np.arange(len(x)), rest)
    np.testing.assert_array_equal(before[untouched], after[untouched])
    assert np.abs(before[rest] - after[rest]).max() > 1


def test_a_constant_feature_stays_and_disturbs_no_other(planted):
    x, site, _, is_train = planted
    wider = np.insert(x, 3, 0.1, axis=1)
    found = harmonise(wider, site, is_train)
    np.testing.assert_allclose(found[:, 3], 0.1)
    np.testing.assert_allclose(np.delete(found, 3, axis=1), harmonise(x, site, is_train), rtol=1e-9)


def find_task(labels, key):
    (task,) = (task for task in list_tasks(labels) if task.key == key)
    return task


def test_each_fold_is_a_plain_loop_of_scikit_learn(corpus, settings):
    labels, features = corpus
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    site, fold = find_first(probe, labels, "site"), probe.units["fold"].to_numpy()
    y = (probe.units["target"] == "M").to_numpy()
    predictions, is_converged = predict_harmonised(features, site, probe, settings, False)
    assert is_converged
    for k in range(settings.n_folds):
        x = harmonise_by_loops(features, site, fold != k)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, tol=1e-8))
        expected = model.fit(x[fold != k], y[fold != k]).predict_proba(x[fold == k])[:, 1]
        np.testing.assert_allclose(predictions[fold == k, 1], expected, atol=2e-3)
        assert roc_auc_score(y[fold == k], expected) > 0.6


@pytest.mark.parametrize(("key", "stays"), [("sex", True), ("control_decoy", False), ("site", False)])
def test_a_disease_that_is_nothing_but_its_site_goes_and_sex_stays(key, stays, corpus, settings):
    labels, features = corpus
    probe = plan_probe(find_task(labels, key), "all", labels, settings)
    plain = score_reading(probe, read_probe(features, probe, settings), settings)[0][0]
    table = read_harmonised("mae", features, labels, [probe], settings)
    (row,) = table.to_dict("records")
    print(
        f"{key}: {plain['value']:.3f}, after ComBat {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    )
    assert plain["low"] > 0.5
    assert (row["low"] > 0.5) == stays
    assert row["n_volumes"] == plain["n_volumes"]
    assert row["note"] == plain["note"]


def test_volumes_of_sites_that_a_training_fold_lacks_are_left_out_and_counted(corpus, settings):
    labels, features = corpus[0].copy(), corpus[1]
    people = [f"p{k:03d}" for k in (20, 41, 63)]
    labels.loc[labels["person_id"] == people[0], "site"] = "A1"
    labels.loc[labels["person_id"] == people[1], "site"] = "A2"
    labels.loc[labels["person_id"] == people[2], "site"] = ""
    n_left_out = labels["person_id"].isin(people).sum()
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    (row,) = read_harmonised("mae", features, labels, [probe], settings).to_dict("records")
    assert f"{n_left_out} volumes left out, of 3 sites, unknown or with fewer than 3" in row["note"]
    assert row["n_volumes"] == len(labels) - n_left_out
    assert row["n_people"] == 87
    others = ~labels["person_id"].isin(people)
    predictions, _ = predict_harmonised(features, find_first(probe, labels, "site"), probe, settings, False)
    assert (np.isfinite(predictions).all(axis=1) == others).all()


def test_a_unit_is_predicted_where_its_site_is_known_and_has_three_training_volumes(corpus, settings):
    """Many small sites, and more people of whom no site is known than of any; counted by loops."""
    labels, rng = corpus[0].copy(), np.random.default_rng(8)
    people = labels["person_id"].unique()
    sites = dict(zip(people, rng.choice(["", *(f"c/s{k}" for k in range(18))], len(people)), strict=True))
    sites |= dict.fromkeys(people[:9], "")
    labels["site"] = labels["person_id"].map(sites)
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    site, fold = find_first(probe, labels, "site"), probe.units["fold"].to_numpy()
    predictions, _ = predict_harmonised(corpus[1], site, probe, settings, False)
    counts = [
        sum(site[j] == site[k] and fold[j] != fold[k] for j in range(len(site))) for k in range(len(site))
    ]
    is_known = site != ""
    assert (np.isfinite(predictions).all(axis=1) == is_known & (np.array(counts) >= 3)).all()
    totals = [(site == name).sum() for name in site]
    assert ((np.array(counts) == 3) & is_known).any()
    assert ((np.array(counts) < 3) & (np.array(totals) >= 3) & is_known).any()


@pytest.mark.parametrize("has_pca", [False, True])
def test_nothing_in_a_fold_is_fitted_on_whom_it_tests(has_pca, corpus, settings):
    """Other features of a fold's units, but one, move nothing of what that one is predicted."""
    labels, features = corpus
    few = settings.model_copy(update={"n_pca_components": 8})
    probe = plan_probe(find_task(labels, "sex"), "all", labels, few)
    site = find_first(probe, labels, "site")
    own = np.flatnonzero(probe.units["fold"] == 1)
    changed = features.copy()
    changed[own[1:]] = 20 * changed[own[1:]][:, ::-1] + 3
    before, _ = predict_harmonised(features, site, probe, few, has_pca)
    after, _ = predict_harmonised(changed, site, probe, few, has_pca)
    np.testing.assert_allclose(after[own[0]], before[own[0]], atol=1e-4)  # the solver's precision
    assert np.abs(after - before)[probe.units["fold"] != 1].max() > 1e-3


def test_one_fold_that_did_not_converge_is_reported(corpus, settings, monkeypatch):
    labels, features = corpus
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    flags = [False, *[True] * (settings.n_folds - 1)]
    predict = combat.predict_out_of_fold
    monkeypatch.setattr(combat, "predict_out_of_fold", lambda *a, **b: (predict(*a, **b)[0], flags.pop(0)))
    site = find_first(probe, labels, "site")
    assert not predict_harmonised(features, site, probe, settings, False)[1]
    assert not flags


def test_a_site_of_which_one_volume_is_left_has_an_interval_all_the_same(corpus, settings):
    """Three volumes of one family and one of another person: only the latter's fold can be harmonised."""
    labels, features = corpus[0].copy(), corpus[1]
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    fold = dict(zip(probe.units["person_id"], probe.units["fold"], strict=True))
    alone = next(f"p{k:03d}" for k in range(12, 90, 2) if fold[f"p{k:03d}"] != fold["p000"])
    is_here = labels["person_id"].isin(["p000", "p001", alone])
    assert is_here.sum() == 4
    labels.loc[is_here, "site"] = "A1"
    (row,) = read_harmonised("mae", features, labels, [probe], settings).to_dict("records")
    assert row["n_volumes"] == len(labels) - 3
    assert row["low"] < row["value"] < row["high"]


def test_one_site_is_not_available(corpus, settings):
    labels = corpus[0].assign(site="c/only")
    probe = plan_probe(find_task(labels, "sex"), "all", labels, settings)
    (row,) = read_harmonised("mae", corpus[1], labels, [probe], settings).to_dict("records")
    assert row["reason"].startswith("ComBat needs two sites with 3 volumes in a training fold")
    assert np.isnan(row["value"])
    assert row["n_people"] == 90


def test_components_are_harmonised_where_an_encoder_has_so_many_features(corpus, settings):
    labels, features = corpus
    few = settings.model_copy(update={"n_pca_components": 8})
    probe = plan_probe(find_task(labels, "age"), "all", labels, few)
    wide = features @ np.linalg.qr(np.random.default_rng(0).normal(size=(300, 24)))[0].T
    wide += np.random.default_rng(1).normal(size=wide.shape) * 1e-3
    table = read_harmonised("voxels", wide, labels, [probe], few, has_pca=True).set_index("metric")
    assert table.loc["r", "low"] > 0
    assert table.loc["mae", "value"] < 14


def test_the_command_adds_its_rows(corpus, tmp_path):
    labels, features = corpus
    write_table(labels, tmp_path / "labels.parquet", LABELS)
    write_features(labels["volume_id"].to_numpy(dtype=str), features, tmp_path / "features_mae.npz")
    (tmp_path / "chosen.json").write_text(json.dumps(["combat"]))
    options = [
        "--encoders",
        "mae",
        "--features-dir",
        str(tmp_path),
        "--labels",
        str(tmp_path / "labels.parquet"),
    ]
    options += ["--readouts", str(tmp_path / "out.parquet"), "--chosen", str(tmp_path / "chosen.json")]
    assert main(["probe", "readouts", *options, "--settings", '{"n_halvings": 3}']) == 0
    table = read_table(tmp_path / "out.parquet", READOUTS)
    assert set(table["readout"]) == {READOUT}
    assert {"sex", "age", "mgmt"} <= set(table["task"])


@pytest.mark.parametrize("n_features", [1, 2])
def test_features_that_are_alike_lose_what_their_site_adds_and_multiplies(n_features):
    draws = np.random.default_rng(3)
    site = np.repeat(["a", "b"], 50)
    column = np.where(site == "a", 5 + 3 * draws.normal(size=100), draws.normal(size=100))
    x = np.repeat(column[:, None], n_features, axis=1)
    found = harmonise(x, site, np.ones(100, dtype=bool))
    assert np.isfinite(found).all()
    means = [found[site == name].mean(axis=0) for name in "ab"]
    deviations = [found[site == name].std(axis=0) for name in "ab"]
    np.testing.assert_allclose(means[0], means[1], atol=1e-6)
    np.testing.assert_allclose(deviations[0], deviations[1], rtol=1e-6)
