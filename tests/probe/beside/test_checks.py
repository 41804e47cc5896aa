"""Calibration, cohorts, sites left out and shuffled labels, each against a computation of its own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.core.contracts import check_table
from braing3n.probe.beside import matched
from braing3n.probe.beside.checks import (
    N_BINS,
    check_encoders,
    check_predictions,
    measure_calibration,
    refit,
)
from braing3n.probe.beside.matched import find_first, find_holders, leave_sites_out, match_sites, permute
from braing3n.probe.compare import Readings, probe_encoder, score_reading
from braing3n.probe.contracts import CHECKS
from braing3n.probe.halves import Reading, read_probe
from braing3n.probe.plan import plan_probe, plan_probes
from braing3n.probe.tasks import PAPER_TASKS, list_tasks

rng = np.random.default_rng(2)
TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.fixture(scope="module")
def checks(corpus, settings):
    labels, features = corpus
    labels = labels.assign(cohort=np.where(labels["age_years"] < 50, "young", "old"))
    probes = [probe for probe in plan_probes(labels, settings) if probe.slice == "all"]
    readings = Readings(*([table] for table in probe_encoder("mae", features, labels, settings)))
    return check_table(
        check_encoders(readings, features, labels, probes, settings), CHECKS, "checks"
    ), readings


def find(checks, task, check, group=""):
    table = checks[0]
    where = (table["task"] == task) & (table["check"] == check) & (table["group"] == group)
    (row,) = table[where & (table["people"] == "everyone")].itertuples()
    return row


def test_calibration_is_that_of_scikit_learn():
    chance = rng.random(3000)
    for is_positive in (rng.random(3000) < chance, rng.random(3000) < chance**2):
        shares, means = calibration_curve(is_positive, chance, n_bins=N_BINS)
        sizes = np.histogram(chance, np.linspace(0, 1, N_BINS + 1))[0]
        expected = np.average(np.abs(shares - means), weights=sizes)
        assert measure_calibration(chance, is_positive) == pytest.approx(expected)
    assert measure_calibration(np.ones(4), np.array([True] * 3 + [False])) == 0.25


def test_the_brier_score_is_of_the_second_class(checks, corpus, settings):
    probe = plan_probe(TASKS["sex"], "all", corpus[0], settings)
    reading = checks[1].find("mae", probe)
    is_male = probe.units["target"] == "M"
    row = find(checks, "sex", "Brier score")
    assert row.value == pytest.approx(brier_score_loss(is_male, reading.predictions[:, 1]))
    assert row.note.startswith("of M; 0.2")


def test_numbers_are_read_within_cohorts_beside_the_cohorts_mean(checks, corpus):
    """Cohorts are ages: knowing the cohort is worth a lot, and what is left is less than the whole r."""
    age = corpus[0]["age_years"]
    mean = find(checks, "age", "MAE of the cohort's mean").value
    assert mean == pytest.approx((age - age.groupby(age < 50).transform("mean")).abs().mean(), rel=0.1)
    within = find(checks, "age", "r within cohorts").value
    whole = find(checks, "age", "r against shuffled labels").value
    assert 0 < within < whole
    parts = [find(checks, "age", "MAE within a cohort", name) for name in ("young", "old")]
    assert sum(row.n_people for row in parts) == corpus[0]["person_id"].nunique()


def test_a_cohorts_mean_is_of_the_other_folds_and_its_errors_are_its_own(corpus, settings):
    """One person is alone in a cohort, whose mean no other fold knows."""
    labels = corpus[0]
    cohort = np.where(labels["age_years"] < 50, "young", "old").astype(object)
    cohort[labels["person_id"] == "p020"] = "alone"
    labels = labels.assign(cohort=cohort)
    probe = plan_probe(TASKS["age"], "all", labels, settings)
    y, fold = probe.units["target"].to_numpy(float), probe.units["fold"].to_numpy()
    predicted = y + np.random.default_rng(4).normal(0, 8, len(y)) + 5 * fold
    rows = check_predictions(probe, Reading(predicted[:, None], {}, True), labels)
    found = {(row["check"], row.get("group", "")): row for row in rows}
    table = pd.DataFrame({"y": y, "p": predicted, "fold": fold, "cohort": cohort.astype(str)})
    means = []
    for row in table.itertuples():
        others = table[table["fold"] != row.fold]
        means.append(others[others["cohort"] == row.cohort]["y"].mean())
        means[-1] = others["y"].mean() if np.isnan(means[-1]) else means[-1]
    error = (table["y"] - means).abs()
    assert found["MAE of the cohort's mean", ""]["value"] == pytest.approx(error.mean())
    for name, part in table.groupby("cohort"):
        row = found["MAE within a cohort", name]
        assert row["value"] == pytest.approx((part["y"] - part["p"]).abs().mean())
        assert row["note"] == f"{error[part.index].mean():.2f} by the cohort's mean"
    apart = table[["y", "p"]] - table.groupby(["cohort", "fold"])[["y", "p"]].transform("mean")
    assert found["r within cohorts", ""]["value"] == pytest.approx(apart["y"].corr(apart["p"]))


def test_a_decoy_is_at_chance_at_sites_left_out(checks):
    """It is high when pooled (`test_controls`); another site says nothing of it."""
    table = checks[0]
    rows = table[(table["task"] == "control_decoy") & (table["check"] == "AUC at a site left out")]
    assert set(rows["group"]) == {"S0", "S1", "S2", "S3"}
    assert set(rows[rows["value"].isna()]["note"]) == {"one class only"}
    assert abs(find(checks, "control_decoy", "AUC at sites left out").value - 0.5) < 0.25
    assert find(checks, "sex", "AUC at sites left out").value > 0.8


def test_a_decoy_at_several_sites_is_high_when_pooled_and_at_chance_at_each_site_left_out(settings):
    """Of 240 people, 7/8 at two sites are cases and 1/8 at two others; features are the site.

    Within 3 deviations of the Mann-Whitney law of four sites of 60 people.
    """
    person = np.arange(240)
    at_cases = person % 4 < 2
    is_case = (person // 4 % 8 == 0) ^ at_cases
    names = [f"p{k:03d}" for k in person]
    labels = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names, "modality": "T1"})
    labels = labels.assign(split="train", site=[f"S{k % 4}" for k in person])
    labels["control_decoy"] = np.where(is_case, "case", "control")
    draws = np.random.default_rng(11)
    features = np.column_stack([3.0 * at_cases, person % 4 == 1, draws.normal(size=(240, 6))])
    (task,) = (task for task in list_tasks(labels) if task.key == "control_decoy")
    probe = plan_probe(task, "all", labels, settings)
    pooled = score_reading(probe, read_probe(features, probe, settings), settings)[0]
    assert next(row for row in pooled if row["metric"] == "auc")["low"] > 0.65
    found = leave_sites_out(probe, features, labels, settings)
    assert {name for name, *_ in found} == {"S0", "S1", "S2", "S3"}
    n_of_each = pd.crosstab(labels["site"], is_case).to_numpy()
    deviation = np.sqrt(np.mean([(a + b + 1) / (12 * a * b) for a, b in n_of_each]) / 4)
    assert abs(np.mean([value for _, value, _ in found]) - 0.5) < 3 * deviation < 0.18


def test_the_auc_at_sites_left_out_is_the_mean_of_those_that_are_scored(corpus, settings, monkeypatch):
    found = [("a", 0.6, "6 people of the rarer class"), ("b", 0.8, ""), ("c", np.nan, "one class only")]
    monkeypatch.setattr("braing3n.probe.beside.checks.leave_sites_out", lambda *_: found)
    probe = plan_probe(TASKS["sex"], "all", corpus[0], settings)
    rows = {(row["check"], row.get("group")): row for row in refit(probe, corpus[1], corpus[0], settings)}
    whole = rows["AUC at sites left out", None]
    assert (whole["value"], whole["note"]) == (pytest.approx(0.7), "mean of 2 sites of 3")
    assert rows["AUC at a site left out", "c"]["note"] == "one class only"


def test_within_sites_only_people_of_known_sites_with_both_classes_count(checks, corpus, settings):
    """At S3 are women only."""
    labels, features = corpus
    at_mixed = labels[labels["site"] != "S3"]
    assert find(checks, "sex", "AUC within sites").n_people == at_mixed["person_id"].nunique()
    labels = labels.assign(site=labels["site"].replace("S0", ""))
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    found = match_sites(probe, features, labels, settings)
    np.testing.assert_array_equal(found.is_matched, labels["site"].isin(["S1", "S2"]))


def test_a_label_that_only_its_site_tells_is_at_chance_within_sites(corpus, settings):
    """At two sites nine in ten are women, at two one in ten; the features say the site and noise."""
    labels, _ = corpus
    people = labels["person_id"].astype("category").cat.codes.to_numpy()
    at_women = people % 2 == 0
    is_woman = (people // 2 % 10 == 0) ^ at_women
    site = np.where(at_women, "W", "M") + pd.Series(people // 20 % 2).astype(str).to_numpy()
    labels = labels.assign(sex=np.where(is_woman, "F", "M"), site=site)
    features = np.column_stack([3.0 * at_women, rng.normal(size=(len(labels), 3))])
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    assert roc_auc_score(is_woman, at_women) > 0.85, "pooled, the site is enough"
    found = match_sites(probe, features, labels, settings)
    assert found.low < 0.5 < found.high
    assert found.value < 0.7


def test_the_interval_within_sites_is_the_value_less_the_range_of_shuffled_labels(
    corpus, settings, monkeypatch
):
    """Of a range that is not even about chance the upper end gives the lower bound; p has both tails."""
    shuffled = np.append(np.linspace(0.25, 0.5, 50), np.linspace(0.55, 0.8, 50))
    asked = []

    def score(x, y, *_):
        asked.append(y)
        return np.append(0.7, shuffled)

    monkeypatch.setattr(matched, "score_within_sites", score)
    probe = plan_probe(TASKS["sex"], "all", corpus[0], settings)
    found = match_sites(probe, corpus[1], corpus[0], settings)
    low, high = np.percentile(shuffled, [2.5, 97.5]) - 0.5
    assert (found.low, found.high) == pytest.approx((0.7 - high, 0.7 - low))
    assert found.p_value == (1 + np.sum((shuffled <= 0.3) | (shuffled >= 0.7))) / 101
    by_person = pd.DataFrame(asked[0]).groupby(probe.units["person_id"].to_numpy())
    assert by_person.nunique().max().max() == 1, "all scans of a person have one label"


def test_a_site_left_out_is_scored_by_a_probe_of_all_others(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    group_site = labels.groupby("group_id")["site"].first()
    site, y = labels["group_id"].map(group_site).to_numpy(), (labels["sex"] == "M").to_numpy()
    found = {name: value for name, value, _ in leave_sites_out(probe, features, labels, settings)}
    assert np.isnan(found.pop("S3"))  # women only
    for name, value in found.items():
        test = site == name
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10**4, tol=1e-8))
        chance = model.fit(features[~test], y[~test]).predict_proba(features[test])[:, 1]
        assert value == pytest.approx(roc_auc_score(y[test], chance), abs=2e-3)


def test_a_site_with_few_people_of_a_class_is_not_scored(corpus, settings):
    labels, features = corpus
    few = labels["person_id"].isin(labels["person_id"].unique()[20:23])
    labels = labels.assign(site=np.where(few, "small", labels["site"]))
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    found = {name: (value, note) for name, value, note in leave_sites_out(probe, features, labels, settings)}
    assert np.isnan(found["small"][0])
    assert found["small"][1] in ("1 people of a class", "2 people of a class")


def test_the_sites_with_most_people_of_the_rarer_class_are_left_out(corpus, settings, monkeypatch):
    labels, features = corpus
    monkeypatch.setattr(matched, "MAX_SITES", 1)
    probe = plan_probe(TASKS["sex"], "all", labels, settings)
    group_site = labels.groupby("group_id")["site"].first()
    people = labels.assign(site=labels["group_id"].map(group_site)).drop_duplicates("person_id")
    rarer = people.groupby("site")["sex"].agg(lambda sex: min((sex == "F").sum(), (sex == "M").sum()))
    found = leave_sites_out(probe, features, labels, settings)
    scored = [name for name, value, _ in found if value == value]
    assert scored == [rarer.idxmax()]
    limit = "not left out: 1 sites have more people of their rarer class"
    skipped = [name for name, _, note in found if note == limit]
    is_scored = rarer >= settings.min_class_people
    assert sorted(skipped) == sorted(rarer.index[is_scored & (rarer < rarer.max())]), "each site has a row"
    assert skipped
    assert {name for name, *_ in found} == set(rarer.index)
    assert rarer.nlargest(2).nunique() == 2, "the choice is clear"


@pytest.mark.parametrize("key", ["sex", "age"])
def test_in_a_permutation_a_person_has_one_label_and_a_family_one_fold(corpus, settings, monkeypatch, key):
    asked = []

    def score(x, y, folds, alpha):
        asked.append((y, folds))
        return np.zeros(y.shape[1])

    monkeypatch.setattr(matched, "_score_columns", score)
    probe = plan_probe(TASKS[key], "all", corpus[0], settings)
    permute(probe, corpus[1], settings)
    assert sum(y.shape[1] for y, _ in asked) == 1 + settings.n_permutations
    for y, folds in asked:
        assert pd.Series(folds).groupby(probe.units["group_id"]).nunique().max() == 1
        labels = pd.DataFrame(y.reshape(len(y), -1))
        assert labels.groupby(probe.units["person_id"].to_numpy()).nunique().max().max() == 1


@pytest.mark.parametrize("key", ["sex", "age", "modality"])
def test_a_planted_label_is_further_out_than_its_shufflings(corpus, settings, key):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    assert permute(probe, features, settings)[1] == pytest.approx(1 / (1 + settings.n_permutations))


@pytest.mark.parametrize("name", ["all", "T2", "patient-pooled"])
def test_a_units_site_is_that_of_its_own_volumes(corpus, settings, name):
    """Also where a probe has a part of the volumes: here of T2, and of those whose sex is known."""
    labels = corpus[0].assign(sex=corpus[0]["sex"].where(corpus[0]["person_id"] > "p015", ""))
    probe = plan_probe(TASKS["sex"], name, labels, settings)
    site_of_person = labels.groupby("person_id")["site"].first()
    expected = probe.units["person_id"].map(site_of_person).to_numpy(str)
    np.testing.assert_array_equal(find_first(probe, labels, "site"), expected)


def test_labels_are_shuffled_by_person_unless_they_differ_within_most(corpus, settings):
    for key, column in (("sex", "person_id"), ("modality", "unit_id")):
        units = plan_probe(TASKS[key], "all", corpus[0], settings).units
        np.testing.assert_array_equal(find_holders(units), units[column].astype(str))


def test_the_p_value_of_no_relation_is_uniform(corpus, settings):
    """Of 60 random labels as many are below 0.2 and 0.5 as a binomial law allows (1 in 1000)."""
    labels, features = corpus
    settings = settings.model_copy(update={"n_permutations": 60})
    (task,) = (task for task in list_tasks(labels) if task.key == "control_decoy")
    people = labels["person_id"].unique()
    found = []
    for _ in range(60):
        case = rng.permutation(people)[: len(people) // 2]
        column = np.where(labels["person_id"].isin(case), "case", "control")
        probe = plan_probe(task, "all", labels.assign(control_decoy=column), settings)
        found.append(permute(probe, features, settings)[1])
    for level, most in ((0.2, 23), (0.5, 42)):
        assert 60 * level * 2 - most <= np.sum(np.array(found) <= level) <= most


def test_checks_are_named_and_counted(checks, corpus):
    table = checks[0]
    assert table["n_people"].min() > 0
    binary = {"expected calibration error", "Brier score"}
    assert binary <= set(table[table["task"] == "sex"]["check"])
    assert not binary & set(table[table["task"].isin(["age", "site"])]["check"])
    assert (table[table["people"] == "unseen"]["check"] != "AUC within sites").all()
