"""Every control is met where nothing is wrong, and fails on the fault that it exists for."""

from math import comb

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings
from braing3n.core.contracts import check_table
from braing3n.phantoms.miniature import render_preprocessed
from braing3n.probe import halves, plan
from braing3n.probe.beside.controls import allow_outside, draw_labels, run_controls
from braing3n.probe.beside.matched import score_within_sites, shuffle_within_sites
from braing3n.probe.compare import score_reading
from braing3n.probe.contracts import CONTROLS
from braing3n.probe.fit import build_model
from braing3n.probe.folds import assign_folds
from braing3n.probe.tasks import list_tasks

FEW = ProbeSettings(n_random_labels=8, n_permutations=100, n_matched_repeats=5)
SITE_MATCHED = "site-matched AUC"


def run(features, labels, settings=FEW):
    return check_table(run_controls(features, labels, settings), CONTROLS, "controls")


def find(controls, control, measure):
    row = controls[(controls["control"] == control) & controls["measure"].str.startswith(measure)]
    assert len(row) == 1, controls
    return row.iloc[0]


def count_random(controls):
    return find(controls, "random labels", "labels of")


@pytest.fixture(scope="module")
def controls(corpus, settings):
    return run(corpus[1], corpus[0], settings)


@pytest.fixture(scope="module")
def people():
    """Forty people with two volumes each, and features that name the person and nothing else."""
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(40), 2)
    names = [f"p{k:02d}" for k in person]
    labels = pd.DataFrame(
        {"volume_id": [f"v{k}" for k in range(80)], "person_id": names, "group_id": names, "site": "mine/a"}
        | {"modality": "T1", "split": "train", "cohort": "mine"}
    )
    return labels, rng.normal(size=(40, 60))[person] + 0.1 * rng.normal(size=(80, 60))


def test_random_labels_stay_at_chance(controls, settings):
    count = count_random(controls)
    single = controls[controls["control"].str.startswith("random label ")]
    assert len(single) == settings.n_random_labels
    assert count["value"] == (single["verdict"] == "not met").sum()
    assert count["verdict"] == "met"
    assert (single["low"] < single["value"]).all()
    assert abs(single["value"].mean() - 0.5) < 0.05
    assert (single["n_cases"] + single["n_controls"] == 90).all()


@pytest.fixture(scope="module")
def phantoms(fetch_resource):
    """A label table of 120 phantoms, and their volumes on voxels of 16 mm."""
    wheels = [fetch_resource(name) for name in ("brain-templates", "head-template")]
    volumes, _, people = render_preprocessed(120, 21, *wheels)
    names = people["participant_id"]
    labels = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names, "modality": "T1"})
    labels = labels.assign(split="train", cohort="mine", site=people["site"], sex=people["sex"])
    labels = labels.assign(age_years=people["age"], dx=people["group"])
    return labels, volumes.reshape(120, 10, 4, 12, 4, 10, 4).mean(axis=(2, 4, 6)).reshape(120, -1)


def test_on_phantoms_what_is_planted_is_found_and_of_200_random_labels_as_many_as_the_law_allows(phantoms):
    labels, features = phantoms
    tasks = {task.key: task for task in list_tasks(labels)}
    for key, metric, chance in (("age", "r", 0.0), ("sex", "auc", 0.5), ("hc_vs_ad", "auc", 0.5)):
        probe = plan.plan_probe(tasks[key], "all", labels, FEW)
        scores, _ = score_reading(probe, halves.read_probe(features, probe, FEW), FEW)
        row = next(row for row in scores if row["metric"] == metric)
        assert row["low"] > chance, row
    count = count_random(run(features, labels, ProbeSettings(n_random_labels=200)))
    assert (count["low"], count["high"]) == (4, 16)
    assert count["verdict"] == "met", count["value"]


def test_random_labels_are_of_families_and_differ(corpus, settings):
    labels, _ = corpus
    columns = list(draw_labels(labels, settings))
    assert len({tuple(column) for column in columns}) == settings.n_random_labels
    for column in columns:
        assert pd.Series(column).groupby(labels["group_id"]).nunique().max() == 1
        n_groups = labels["group_id"][column == "case"].nunique()
        assert n_groups == labels["group_id"].nunique() // 2


def test_random_labels_are_others_by_another_seed(corpus, settings):
    ours, theirs = (
        next(iter(draw_labels(corpus[0], settings.model_copy(update={"seed": seed})))) for seed in (1, 2)
    )
    assert not np.array_equal(ours, theirs)


def test_the_upper_half_is_of_people_whose_number_is_known(corpus):
    """Those with two volumes have larger heads; of ten people nothing is known."""
    labels, features = corpus
    number = int(labels["control_head_size"].median()) + 500 * (labels["modality"] == "T2")
    number = number.groupby(labels["person_id"]).transform("max") + labels["person_id"].str[1:].astype(int)
    is_known = labels["person_id"] >= "p010"
    labels = labels.assign(control_head_size=number.where(is_known).astype(float))
    row = find(run(features, labels), "control_head_size", "AUC of the upper half")
    n_known = labels["person_id"][is_known].nunique()
    assert (row["n_cases"], row["n_controls"]) == (n_known // 2, n_known - n_known // 2)


def test_the_count_is_held_against_the_binomial_law():
    for n in (8, 40, 200):
        chances = [comb(n, k) * 0.05**k * 0.95 ** (n - k) for k in range(n + 1)]
        low, high = allow_outside(n)
        assert sum(chances[:low]) < 0.025 <= sum(chances[: low + 1])
        assert sum(chances[:high]) < 0.975 <= sum(chances[: high + 1])
    assert allow_outside(40) == (0, 5)


def test_training_on_the_people_of_the_test_is_found(corpus, monkeypatch):
    def predict_in_sample(features, probe, settings, has_pca):
        model = build_model(probe.task.kind, len(features), features.shape[1], settings, has_pca)
        model.fit(features, probe.units["target"])
        return model.predict_proba(features), True

    monkeypatch.setattr(halves, "predict_out_of_fold", predict_in_sample)
    count = count_random(run(corpus[1], corpus[0].drop(columns=["control_decoy", "control_head_size"])))
    assert (count["value"], count["verdict"]) == (8, "not met")


def test_folds_by_volume_in_place_of_people_are_found(people, monkeypatch):
    labels, features = people
    assert count_random(run(features, labels))["verdict"] == "met"
    by_group = plan.assign_folds
    for module, name in ((plan, "assign_folds"), (halves, "deal_halves")):
        given = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda y, groups, *rest, given=given: given(y, groups.index.to_series(), *rest)
        )
    monkeypatch.setattr(plan, "check_folds", lambda units: None)  # or it would stop here
    assert plan.assign_folds is not by_group
    assert count_random(run(features, labels))["verdict"] == "not met"


def test_a_decoy_is_high_when_pooled_and_at_chance_within_its_site(controls):
    pooled = find(controls, "control_decoy", "pooled AUC")
    assert pooled["low"] > 0.5
    matched = find(controls, "control_decoy", SITE_MATCHED)
    assert matched["low"] <= 0.5 <= matched["high"]
    assert matched["n_cases"] > 0
    assert matched["n_controls"] > 0
    assert pooled["verdict"] == matched["verdict"] == "met"


def test_a_site_that_is_not_in_the_features_fails_the_pooled_decoy(corpus):
    noise = np.random.default_rng(0).normal(size=corpus[1].shape)
    assert find(run(noise, corpus[0]), "control_decoy", "pooled AUC")["verdict"] == "not met"


def test_a_disease_that_is_in_the_brain_survives_matching(corpus):
    labels, features = corpus
    features = features.copy()
    features[:, 0] += 6.0 * (labels["control_decoy"] == "case").to_numpy()
    matched = find(run(features, labels), "control_decoy", SITE_MATCHED)
    assert matched["low"] > 0.5
    assert matched["verdict"] == "not met"


def test_sites_that_are_not_distinguished_fail_the_matched_decoy(corpus):
    labels, features = corpus
    matched = find(run(features, labels.assign(site="one")), "control_decoy", SITE_MATCHED)
    assert matched["low"] > 0.5
    assert matched["verdict"] == "not met"


def test_labels_are_shuffled_by_person_within_their_site():
    people = np.array(["a", "a", "b", "c", "d", "d", "e", "f", "g", "h"])
    site = np.array(["x"] * 6 + ["y"] * 4)
    is_case = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    y = shuffle_within_sites(people, site, is_case, FEW)
    assert y.shape == (10, 1 + FEW.n_permutations)
    np.testing.assert_array_equal(y[:, 0] > 0, is_case)
    by_person = pd.DataFrame(y).groupby(people).agg(["min", "max"])
    assert (by_person.xs("min", axis=1, level=1) == by_person.xs("max", axis=1, level=1)).all(axis=None)
    cases = pd.DataFrame(y > 0).groupby(people).first()
    for name, n_cases in (("x", 2), ("y", 1)):
        here = cases.loc[sorted(set(people[site == name]))]
        assert (here.sum() == n_cases).all()
        assert here.nunique(axis=1).eq(2).all()  # everyone is a case in one shuffling, a control in another


def test_the_matched_decoy_is_scored_on_held_out_people_pair_by_pair(people):
    """Features that name the person fit any label of the people trained on, and none of the others'."""
    labels, features = people
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(40), 2)
    site = np.array(["x", "y"])[person % 2]
    y = np.where(rng.random(40) < 0.5, 1.0, -1.0)[person][:, None]
    ours = score_within_sites(features, y, site, labels["group_id"], np.ones(80, bool), FEW)[0]
    wins = []
    for repeat in range(FEW.n_matched_repeats):
        deal = FEW.n_folds, FEW.seed + repeat
        folds = assign_folds(pd.Series(site), labels["group_id"], "classification", *deal)
        for fold in np.unique(folds):
            train, test = folds != fold, np.flatnonzero(folds == fold)
            model = make_pipeline(StandardScaler(), Ridge(FEW.ridge_alpha)).fit(features[train], y[train, 0])
            score = model.predict(features)
            wins += [
                float(score[a] > score[b]) for a in test for b in test if y[a] > y[b] and site[a] == site[b]
            ]
    assert ours == pytest.approx(np.mean(wins))
    assert 0.2 < ours < 0.8, "at chance, as the labels are random"


def test_no_site_with_both_is_reported(corpus):
    labels, features = corpus
    settings = ProbeSettings(n_matched_repeats=2, n_permutations=20)
    labels = labels.assign(site=np.where(labels["control_decoy"] == "case", "S3", "S0"))
    table = run(features, labels, settings)
    matched = find(table, "control_decoy", SITE_MATCHED)
    assert (matched["verdict"], matched["note"]) == ("n/a", "no site has cases and controls")
    assert count_random(table)["verdict"] == "n/a"


def test_too_few_people_for_an_interval_are_no_verdict(corpus):
    few = np.flatnonzero(corpus[0]["person_id"] < "p016")
    count = count_random(run(corpus[1][few], corpus[0].iloc[few].reset_index(drop=True)))
    assert count["verdict"] == "n/a"
    assert "too few people" in count["note"]


def test_a_head_size_that_registration_left_is_found(corpus, controls):
    labels, features = corpus
    row = find(controls, "control_head_size", "Pearson r")
    assert row["verdict"] == "met"
    assert row["low"] < 0 < row["high"]
    assert find(controls, "control_head_size", "AUC of the upper half")["low"] < 0.5
    size = (labels["control_head_size"] - 1400).to_numpy() / 100
    features = features + np.outer(size, np.ones(features.shape[1]))
    found = run(features, labels, ProbeSettings(n_matched_repeats=2, n_permutations=20))
    assert find(found, "control_head_size", "Pearson r")["verdict"] == "not met"
    upper = find(found, "control_head_size", "AUC of the upper half")
    assert upper["low"] > 0.5
    assert upper["verdict"] == "n/a"
