"""What stands beside a probe is its own: slice, people and encoder; and whom the statistics are of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import braing3n
from braing3n.export import files
from braing3n.export.probes import fit_probes, measure_bias
from braing3n.export.statistics import describe_population, measure_space

from .invented_run import PROBE, export, make_labels, write_models


@pytest.fixture(scope="module")
def run(made):
    """(labels, features, scores of which each has a value of its own, predictions)."""
    labels, features = make_labels()
    scores = made[3].copy()
    scores["value"] = np.where(scores["value"].notna(), np.linspace(0.1, 0.9, len(scores)), np.nan)
    others = scores.assign(encoder="untrained", value=scores["value"] / 100)
    return (
        labels,
        features,
        pd.concat([others, scores]),
        pd.read_parquet(made[0].parent / "predictions.parquet"),
    )


def test_the_error_of_a_probe_is_ours_of_its_slice_on_unseen_people_where_there_is_one(run):
    labels, features, scores, predictions = run
    own = scores[scores["encoder"] == "mae"].set_index(["task", "slice", "metric", "people"])["value"]
    own = own.drop(("sex", "T1", "auc", "unseen"))
    kept = scores[~((scores["task"] == "sex") & (scores["slice"] == "T1") & (scores["people"] == "unseen"))]
    found = fit_probes(features, labels, kept, predictions, PROBE)
    assert {(probe.task, probe.slice) for probe in found} >= {
        (t, s) for t in ("age", "sex") for s in ("all", "T1")
    }
    for probe in found:
        known, key = probe.described, (probe.task, probe.slice, probe.described["metric"])
        assert known["people"] == ("everyone" if key[:2] == ("sex", "T1") else "unseen")
        assert known["value"] == own[(*key, known["people"])]


def test_counts_of_people_are_rounded_down(run):
    labels, features, scores, predictions = run
    for probe in fit_probes(features, labels, scores, predictions, PROBE, min_count=7):
        n_training = 60 if len(probe.classes) != 3 else probe.described["n_people_fitted"]
        assert probe.described["n_people_fitted"] == n_training // 7 * 7
        assert probe.described["n_people"] % 7 == 0


def test_a_probe_of_sites_is_exported_where_the_generator_names_them_all(source):
    labels, _ = make_labels()
    labels["site"] = np.where(np.arange(len(labels)) % 2, "lab/one", "lab/two")
    labels.to_parquet(source / "labels.parquet")
    scores = pd.read_parquet(source / "scores.parquet")
    own = scores[(scores["task"] == "sex") & (scores["slice"] == "all")]
    pd.concat([scores, own.assign(task="site")]).to_parquet(source / "scores.parquet")
    for sites, expected in ((("lab/one",), False), (("lab/one", "lab/two"), True)):
        write_models(source, sites)
        export(source, source / "out")
        model = braing3n.from_pretrained(source / "out", "cpu")
        assert ("site" in {probe.task for probe in model.probes}) == expected


def test_the_line_of_the_gaps_is_of_everyone_and_of_the_probes_slice(run):
    labels, _, _, predictions = run
    moved = predictions.copy()
    is_own = (moved["task"] == "age") & (moved["slice"] == "T1") & (moved["people"] == "everyone")
    moved["prediction"] += np.where(is_own, 0, 100 * np.arange(len(moved)) % 77)
    assert measure_bias(moved, labels, "T1") == measure_bias(predictions, labels, "T1")


def test_a_scan_of_another_contrast_is_read_by_the_probe_of_all(made):
    model = braing3n.from_pretrained(made[0], "cpu")
    for modality, expected in (("T1", "T1"), ("FLAIR", "all"), ("", "all")):
        assert {row["probe_of"] for row in model.predict(made[2][0], modality)} == {expected}
    of_t1 = replace(model, probes=[probe for probe in model.probes if probe.slice == "T1"])
    assert of_t1.predict(made[2][0], "FLAIR") == [], "a probe of T1 does not know FLAIR"


def test_the_space_is_of_the_training_people(made):
    folder, labels, features, _ = made
    space = braing3n.from_pretrained(folder, "cpu").space
    np.testing.assert_allclose(space["mean"], features[labels["split"] == "train"].mean(axis=0))


def test_distances_are_of_people_whose_other_scans_had_no_part_in_the_space():
    """Five scans that are alike lie as far out as one; with the others in the space they would lie near.

    The space has as many directions as there are features, so that nothing but rounding lies outside it.
    """
    people = np.random.default_rng(0).normal(size=(60, 12))
    once = measure_space(people, np.arange(60), 12)["percentiles"]
    often = measure_space(np.repeat(people, 5, axis=0), np.repeat(np.arange(60), 5), 12)["percentiles"]
    np.testing.assert_allclose(often[5:96], once[5:96], rtol=0.03)


def test_counts_are_of_people_and_the_oldest_is_not_named():
    labels = pd.concat([make_labels()[0]] * 4, ignore_index=True)
    labels = labels.assign(split="train", age_years=50.0 + np.arange(len(labels)) % 7)
    labels.loc[0, "age_years"] = 103.0
    population = describe_population(labels, 5, ["lab/one"])
    assert population["sites"] == {"lab/one": 90}
    assert population["n_people"] == 90
    assert population["age_years"] == {"min": 50, "max": 90}


@pytest.mark.parametrize("n_scans", [1, 4])
def test_ages_are_of_people_and_of_few_people_in_steps_of_five(n_scans):
    """Of 25 people, the ends are one person's, however many scans there are."""
    labels = make_labels()[0].head(25).assign(split="train", age_years=np.linspace(21.3, 68.9, 25))
    labels.loc[0, "age_years"] = 81.3
    labels = pd.concat([labels] * n_scans, ignore_index=True)
    labels["volume_id"] = [f"v{i}" for i in range(len(labels))]
    population = describe_population(labels, 5, ["lab/one"])
    assert population["age_years"] == {"min": 20, "max": 85}
    assert all(age % 5 == 0 for age in population["age_percentiles"]["T1"].values())
    many = pd.concat([labels] * 5, ignore_index=True)
    many["person_id"] = [f"p{i}" for i in range(len(many))]
    many["age_years"] = np.linspace(20, 80, len(many))
    expected = np.quantile(many["age_years"], [0.01, 0.99])
    found = describe_population(many, 5, ["lab/one"])["age_years"]
    assert found == {"min": int(expected[0]), "max": int(np.ceil(expected[1]))}


def test_the_distances_of_the_folder_are_of_groups(source):
    labels, features = make_labels()
    labels["group_id"] = [f"g{i // 3}" for i in range(len(labels))]
    features = features[np.arange(len(labels)) // 3 * 3]  # alike within a group
    labels.to_parquet(source / "labels.parquet")
    ids = labels["volume_id"].to_numpy(str)
    np.savez(source / "features.npz", volume_id=ids, features=features)
    export(source, source / "out")
    found = braing3n.from_pretrained(source / "out", "cpu").space["percentiles"]
    is_training = (labels["split"] == "train").to_numpy()
    for groups, is_equal in ((labels["group_id"], True), (labels["volume_id"], False)):
        expected = measure_space(features[is_training], groups[is_training].to_numpy(), 8)["percentiles"]
        assert np.allclose(found, expected, rtol=1e-4) == is_equal


def test_the_card_has_a_probe_once(made):
    _, probes, rivals = (made[0] / files.CARD).read_text().split("| probe | metric |")
    assert probes.count("| Brain age |") == rivals.count("| Brain age |") == 1
