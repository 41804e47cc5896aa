"""What a probe sees: folds by group, dropped classes, pooling by patient."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from braing3n.config import ProbeSettings
from braing3n.core.errors import ContractError
from braing3n.probe.folds import assign_folds
from braing3n.probe.plan import PEOPLE, load_features, plan_probe, plan_probes
from braing3n.probe.tasks import PAPER_TASKS, list_tasks

TASKS = {task.key: task for task in PAPER_TASKS}


def test_the_panel_is_the_papers():
    kinds = [task.kind for task in PAPER_TASKS]
    assert (kinds.count("classification"), kinds.count("regression")) == (15, 8)
    assert len(TASKS) == 23


def test_no_group_lies_in_two_folds_and_folds_are_the_same_again(corpus, settings):
    labels, _ = corpus
    probes = [probe for probe in plan_probes(labels, settings) if not probe.reason]
    assert {"sex", "age", "modality", "site", "control_decoy"} <= {probe.task.key for probe in probes}
    for probe in probes:
        assert probe.units.groupby("group_id")["fold"].nunique().max() == 1
        assert set(probe.units["fold"]) == set(range(settings.n_folds))
    again = [probe for probe in plan_probes(labels, settings) if not probe.reason]
    assert all((a.units["fold"] == b.units["fold"]).all() for a, b in zip(probes, again, strict=True))


def test_folds_are_others_by_another_seed(corpus, settings):
    ours, theirs = (
        plan_probe(TASKS["sex"], "all", corpus[0], settings.model_copy(update={"seed": seed})).units["fold"]
        for seed in (1, 2)
    )
    assert (ours != theirs).any()


def test_folds_of_a_regression_have_like_targets():
    target = pd.Series(np.arange(100.0))
    folds = assign_folds(target, pd.Series(np.arange(100)), "regression", 5, 0)
    means = target.groupby(folds).mean()
    assert means.max() - means.min() < 10


def test_folds_of_classes_have_like_shares():
    target = pd.Series(["rare"] * 10 + ["other"] * 90)
    folds = assign_folds(target, pd.Series(np.arange(100)), "classification", 5, 0)
    assert (pd.crosstab(folds, target)[["rare", "other"]] == [2, 18]).all(axis=None)


@pytest.mark.parametrize("seed", range(6))
def test_folds_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n, n_classes = int(rng.integers(60, 300)), int(rng.integers(2, 19))
    groups = pd.Series([f"g{k}" for k in rng.integers(0, n // 2, n)])
    target = pd.Series(rng.choice(n_classes, n, p=rng.dirichlet(np.ones(n_classes)))).astype(str)
    expected = np.zeros(n, dtype=int)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, test) in enumerate(splitter.split(expected, target, groups)):
            expected[test] = fold
    np.testing.assert_array_equal(assign_folds(target, groups, "classification", 5, seed), expected)


def test_a_class_with_few_people_is_dropped_by_name(corpus, settings):
    labels, _ = corpus
    n_people = labels[labels["dx"] == "GBM"]["person_id"].nunique()
    assert 0 < n_people < settings.min_class_people
    probe = plan_probe(TASKS["disease"], "all", labels, settings)
    assert probe.classes == ("AD", "HC")
    assert probe.dropped == f"GBM ({n_people} people)"


def test_a_class_is_counted_in_people_and_not_in_volumes(settings):
    people = ["a0", "a1", "a2", "a3"] * 3 + [f"b{k}" for k in range(12)]
    labels = pd.DataFrame(
        {"person_id": people, "group_id": people, "volume_id": [f"v{k}" for k in range(24)]}
    )
    labels = labels.assign(sex=["F"] * 12 + ["M"] * 12, modality="T1", split="train")
    assert plan_probe(TASKS["sex"], "all", labels, settings).dropped == "F (4 people)"


def test_what_cannot_be_probed_says_why(corpus, settings):
    labels, _ = corpus
    assert plan_probe(TASKS["sex"], "FLAIR", labels, settings).reason == "no FLAIR volumes in this run"
    assert plan_probe(TASKS["moca"], "all", labels, settings).reason == "no labels in column moca"
    one_sex = labels[labels["sex"] == "F"].reset_index(drop=True)
    assert "fewer than two classes" in plan_probe(TASKS["sex"], "all", one_sex, settings).reason
    few = labels.iloc[:9]
    assert "people for 5 folds" in plan_probe(TASKS["age"], "all", few, settings).reason


def test_unseen_people_are_probed_among_themselves(corpus, settings):
    labels, _ = corpus
    is_unseen = labels["split"] != "train"
    probe = plan_probe(TASKS["sex"], "all", labels, settings, "unseen")
    assert set(probe.units["unit_id"]) == set(labels.loc[is_unseen, "volume_id"])
    assert set(probe.units["fold"]) == set(range(settings.n_folds))
    assert (probe.unit_of_row[~is_unseen.to_numpy()] == -1).all()
    pooled = plan_probe(TASKS["age"], "patient-pooled", labels, settings, "unseen")
    assert set(pooled.units["person_id"]) == set(labels.loc[is_unseen, "person_id"])


def test_too_few_unseen_people_are_a_reason_with_their_number(corpus, settings):
    labels, _ = corpus
    people = labels["person_id"].unique()
    for n, reason in (
        (7, "only 7 people for 5 folds"),
        (0, "no labels in column age_years among unseen people"),
    ):
        split = np.where(labels["person_id"].isin(people[40 : 40 + n]), "validation", "train")
        probe = plan_probe(TASKS["age"], "all", labels.assign(split=split), settings, "unseen")
        assert probe.reason == reason
        assert not plan_probe(TASKS["age"], "all", labels.assign(split=split), settings).reason


def test_every_task_has_both_columns_and_a_control_the_first(corpus, settings):
    read = {}
    for probe in plan_probes(corpus[0], settings):
        read.setdefault((probe.task.source, probe.task.key, probe.slice), []).append(probe.people)
    for (source, *_), people in read.items():
        assert people == (["everyone"] if source == "control" else list(PEOPLE))


def test_named_columns_are_planned_beside_the_papers_tasks(corpus, settings):
    labels = corpus[0].assign(**{"own:iq": np.arange(len(corpus[0]), dtype=float)})
    chosen = settings.model_copy(update={"columns": {"iq": "regression"}})
    planned = {(probe.task.column, probe.slice, probe.people): probe for probe in plan_probes(labels, chosen)}
    probe = planned["own:iq", "all", "everyone"]
    assert (probe.reason, set(probe.units["person_id"])) == ("", set(labels["person_id"]))


@pytest.mark.parametrize("modality", ["T1", "FLAIR"])
def test_a_slice_without_volumes_of_its_modality_says_so(corpus, settings, modality):
    labels = corpus[0][corpus[0]["modality"] != modality]
    assert plan_probe(TASKS["sex"], modality, labels, settings).reason == f"no {modality} volumes in this run"


def test_a_number_that_never_varies_is_a_reason_and_two_values_are_a_task(corpus, settings):
    labels = corpus[0]
    halves = np.where(np.arange(len(labels)) % 2, 60.0, 70.0)
    assert plan_probe(TASKS["age"], "all", labels.assign(age_years=60.0), settings).reason.endswith(
        "a single value"
    )
    assert not plan_probe(TASKS["age"], "all", labels.assign(age_years=halves), settings).reason


def test_pooling_is_the_mean_of_a_persons_features_by_label(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "patient-pooled", labels, settings)
    pooled = probe.pool(features)
    person = probe.units["person_id"].iloc[3]
    expected = features[(labels["person_id"] == person).to_numpy()].mean(axis=0)
    np.testing.assert_allclose(pooled[3], expected)
    assert probe.units["n_volumes"].sum() == len(labels)
    by_modality = plan_probe(TASKS["modality"], "patient-pooled", labels, settings)
    assert len(by_modality.units) == len(labels)
    later = labels.assign(age_years=labels["age_years"] + 4.0 * (labels["modality"] == "T2"))
    units = plan_probe(TASKS["age"], "patient-pooled", later, settings).units.set_index("person_id")
    expected = later.groupby("person_id")["age_years"].mean()
    np.testing.assert_allclose(units["target"], expected[units.index])


def test_a_slices_features_are_its_rows_in_order(corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS["sex"], "T2", labels, settings)
    np.testing.assert_array_equal(probe.pool(features), features[(labels["modality"] == "T2").to_numpy()])


@pytest.mark.parametrize(
    ("key", "column", "raw", "expected"),
    [
        ("grade", "grade", [2.0, "4", 3, ""], ["2", "4", "3", ""]),
        ("field_strength", "field_strength_t", [1.494, 2.8936, 7.0, np.nan], ["1.5 T", "3 T", "", ""]),
        ("apoe_e4", "apoe", ["E3/E4", "E2/E3", "", None], ["carrier", "non-carrier", "", ""]),
        ("apoe_genotype", "apoe", ["E3/E4", "E2/E3", "E4/E4", ""], ["E3/E4", "", "E4/E4", ""]),
        ("vendor", "vendor", ["SIEMENS", "GE", "", "Philips"], ["Siemens", "other", "", "other"]),
        ("handedness", "handedness", ["R", "L", "A", ""], ["right", "left", "", ""]),
        ("cdr_stage", "cdr", [0.0, 0.5, 3.0, np.nan], ["0", "0.5", "3", ""]),
    ],
)
def test_class_maps(key, column, raw, expected):
    labels = pd.DataFrame({column: raw, "person_id": list("abcd")})
    assert list(TASKS[key].read_target(labels)) == expected


def test_only_the_largest_sites_are_classes():
    site = [f"s{k}" for k in range(25) for _ in range(25 - k)]
    labels = pd.DataFrame({"site": site, "person_id": np.arange(len(site))})
    kept = set(TASKS["site"].read_target(labels)) - {""}
    assert kept == {f"s{k}" for k in range(19)}


def test_controls_are_found_by_their_prefix(corpus):
    labels, _ = corpus
    controls = {task.key: task.kind for task in list_tasks(labels) if task.source == "control"}
    assert controls == {"control_decoy": "classification", "control_head_size": "regression"}


def test_features_of_other_volumes_are_refused(tmp_path, corpus):
    labels, features = corpus
    path = tmp_path / "features.npz"
    np.savez(path, volume_id=labels["volume_id"].to_numpy()[::-1].astype(str), features=features)
    with pytest.raises(ContractError, match="not those of the label table"):
        load_features(path, labels)


def test_settings_have_defaults_of_the_paper():
    assert (ProbeSettings().n_folds, ProbeSettings().seed, ProbeSettings().max_iter) == (5, 2025, 1000)
