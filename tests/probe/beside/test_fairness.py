"""A planted disparity is found, and none is found where none was planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from braing3n.core.contracts import check_table
from braing3n.manifest.contracts import LABELS
from braing3n.phantoms.miniature import blur_world, render_brain
from braing3n.phantoms.people import draw_people as draw_phantoms
from braing3n.probe.beside.fairness import (
    N_BOOTSTRAPS,
    describe_spread,
    draw_people,
    measure_fairness,
    name_age_bands,
    weigh_auc,
)
from braing3n.probe.contracts import FAIRNESS
from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.halves import Reading
from braing3n.probe.plan import plan_probe
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.tasks import list_tasks

SETTINGS = ProbeSettings()


def make_people(seed, is_planted, n=260):
    """People with a disease and an age in their features; in women the effects are weaker, where planted."""
    rng = np.random.default_rng(seed)
    names = [f"p{k:03d}" for k in range(n)]
    is_case, is_female = rng.random(n) < 0.5, rng.random(n) < 0.5
    labels = pd.DataFrame(
        {
            **{"volume_id": names, "person_id": names, "group_id": names, "subject_id": names},
            **{"modality": "T1", "split": "train", "age_years": rng.uniform(20, 80, n)},
            **{"dx": np.where(is_case, "AD", "HC"), "sex": np.where(is_female, "F", "M")},
            "cohort": rng.choice(["a", "b", "c"], n),
            "vendor": rng.choice(["GE", "Siemens"], n),
        }
    )
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    strength = np.where(is_female & is_planted, 0.15, 1.3)
    features = rng.normal(size=(n, 12))
    features[:, 0] += strength * (2 * is_case - 1)
    features[:, 1] += 2 * strength * (labels["age_years"] - 50) / 20
    return labels, features


class Given:
    """Predictions out of fold of one encoder, as `Readings` finds them."""

    encoders = ("mae",)

    def __init__(self, features):
        self.features = features

    def find(self, encoder, probe):
        predictions, _ = predict_out_of_fold(probe.pool(self.features), probe, SETTINGS, has_pca=False)
        return Reading(predictions, {}, True)


def measure(seed, is_planted, keys=("hc_vs_ad", "age"), small=""):
    labels, features = make_people(seed, is_planted)
    labels.loc[:6, "vendor"] = small or labels["vendor"]
    tasks = [task for task in list_tasks(labels) if task.key in keys]
    probes = [plan_probe(task, "all", labels, SETTINGS) for task in tasks]
    return check_table(measure_fairness(Given(features), labels, probes, seed), FAIRNESS, "fairness")


def find(table, task, attribute, group):
    where = (table["task"] == task) & (table["attribute"] == attribute) & (table["group"] == group)
    (row,) = table[where].itertuples()
    return row


@pytest.fixture(scope="module")
def planted():
    return measure(0, is_planted=True)


@pytest.mark.parametrize(("task", "note"), [("hc_vs_ad", "M over F"), ("age", "F over M")])
def test_an_effect_that_is_weaker_in_one_sex_is_found(planted, task, note):
    row = find(planted, task, "sex", "largest difference")
    assert row.note == note
    assert row.low > 0
    groups = [find(planted, task, "sex", name) for name in ("F", "M")]
    assert row.value == pytest.approx(abs(groups[0].value - groups[1].value))
    assert groups[0].n_people + groups[1].n_people == row.n_people == 260


@pytest.fixture(scope="module")
def phantoms(fetch_resource):
    """Healthy people and people with AD from 50 years on: labels, volumes, and these without AD in women."""
    world = blur_world(fetch_resource("brain-templates"), fetch_resource("head-template"), 4.0)
    people = [p for p in draw_phantoms(480, 9) if p.dx in ("HC", "AD") and p.age_years >= 50]

    def see(person):
        image, _ = render_brain(world, person, 0, (40, 48, 40), 4.0)
        return image.reshape(10, 4, 12, 4, 10, 4).mean(axis=(1, 3, 5)).ravel()

    features = np.stack([see(person) for person in people])
    weak = features.copy()
    for row, person in enumerate(people):
        if (person.dx, person.sex) == ("AD", "F"):
            weak[row] = see(replace(person, dx="HC"))
    names = [person.subject_id for person in people]
    labels = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names, "modality": "T1"})
    labels = labels.assign(
        split="train", **{name: [getattr(p, name) for p in people] for name in ("sex", "dx")}
    )
    labels["vendor"] = [person.site.vendor for person in people]
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    return labels, features, weak


def test_on_phantoms_an_atrophy_that_women_lack_is_found_and_none_where_all_have_it(phantoms):
    labels, features, weak = phantoms
    (task,) = [task for task in list_tasks(labels) if task.key == "hc_vs_ad"]
    probe = plan_probe(task, "all", labels, SETTINGS)
    even, uneven = (
        find(measure_fairness(Given(x), labels, [probe], 0), "hc_vs_ad", "sex", "largest difference")
        for x in (features, weak)
    )
    assert uneven.note == "M over F"
    assert uneven.low > 0
    assert even.low <= 0


def test_where_none_is_planted_few_are_found():
    """Of 40 data sets at most 6 intervals of a difference leave 0 (by chance 1 in 70), for each attribute."""
    tables = [measure(seed, is_planted=False, keys=["hc_vs_ad"]) for seed in range(1, 41)]
    for attribute in ("sex", "cohort", "vendor"):
        found = [find(table, "hc_vs_ad", attribute, "largest difference").low > 0 for table in tables]
        assert sum(found) <= 6, attribute


def test_the_summary_is_of_the_attributes(planted):
    rows = planted[(planted["task"] == "hc_vs_ad") & (planted["group"] == "largest difference")]
    gaps = rows[rows["attribute"] != "all"]["value"]
    assert len(gaps) == 4  # sex, age band, cohort, vendor; nobody's race is known
    assert find(planted, "hc_vs_ad", "all", "1 - mean disparity").value == pytest.approx(1 - gaps.mean())
    assert find(planted, "hc_vs_ad", "all", "largest difference").value == pytest.approx(gaps.max())


def test_people_of_several_volumes_are_drawn_and_counted_once(corpus):
    labels, features = corpus
    (task,) = [task for task in list_tasks(labels) if task.key == "age"]
    probe = plan_probe(task, "all", labels, SETTINGS)
    weights, person = draw_people(probe, seed=3)
    n_people = labels["person_id"].nunique()
    assert weights.shape == (n_people, 1 + N_BOOTSTRAPS)
    assert (weights.sum(axis=0) == n_people).all()
    assert pd.Series(person).groupby(probe.units["person_id"]).nunique().max() == 1
    assert not np.array_equal(weights, draw_people(probe, seed=4)[0])
    table = measure_fairness(Given(features), labels, [probe], seed=3)
    for name, people in labels.groupby("sex")["person_id"]:
        assert find(table, "age", "sex", name).n_people == people.nunique()


def test_the_summary_of_errors_is_in_shares_of_the_whole_error(planted):
    rows = planted[(planted["task"] == "age") & (planted["attribute"] != "all")]
    people = rows[rows["attribute"] == "sex"].set_index("group").loc[["F", "M"]]
    whole = np.average(people["value"], weights=people["n_people"])
    for group, summary in (("largest difference", "1 - mean disparity"), ("standard deviation",) * 2):
        share = rows[rows["group"] == group]["value"].mean() / whole
        expected = 1 - share if summary.startswith("1") else share
        assert find(planted, "age", "all", summary).value == pytest.approx(expected)


def test_a_small_subgroup_is_not_compared():
    table = measure(0, is_planted=False, small="Philips")
    row = find(table, "age", "vendor", "Philips")
    assert (row.n_people, row.note) == (7, "fewer than 10 people")
    assert np.isnan(row.value)
    assert "Philips" not in find(table, "age", "vendor", "largest difference").note


def test_a_weighted_auc_is_scikit_learns_of_repeated_units():
    rng = np.random.default_rng(0)
    scores, is_case, block = rng.normal(size=50).round(1), rng.random(50) < 0.4, rng.integers(0, 3, 50)
    weights = rng.integers(0, 4, (50, 5)).astype(float)
    for k, found in enumerate(weigh_auc(scores, is_case, block, weights)):
        wins = pairs = 0
        for name in range(3):
            rows = np.repeat(np.flatnonzero(block == name), weights[block == name, k].astype(int))
            n = is_case[rows].sum() * (~is_case[rows]).sum()
            wins, pairs = wins + n * roc_auc_score(is_case[rows], scores[rows]), pairs + n
        assert found == pytest.approx(wins / pairs)


def test_the_interval_of_the_largest_of_many_differences_holds_none():
    """Twelve groups of one law: the largest difference is far from 0, its interval holds 0 nonetheless."""
    rng = np.random.default_rng(1)
    n_out = 0
    for _ in range(100):
        truth = rng.normal(0, 1, 12)
        scores = {str(k): np.append(v, v + rng.normal(0, 1, 200)) for k, v in enumerate(truth)}
        row, _ = describe_spread(scores)
        n_out += row["low"] > 0
    assert n_out <= 12


def test_age_bands():
    ages = pd.Series([0.0, 17.9, 18.0, 59.9, 75.0, 98.0, np.nan])
    assert list(name_age_bands(ages)) == [
        *("under 18", "under 18", "18 to 39", "40 to 59", "75 and over", "75 and over", "")
    ]


def spread_as_published(scores):
    """Largest difference, deviation and score over attributes of {attribute: {group: metric}}.

    Source of the formulas: the public fomo26/fomo-metrics; written anew.
    """
    gaps, deviations = [], []
    for groups in scores.values():
        values = sorted(groups.values())
        middle = sum(values) / len(values)
        gaps.append(values[-1] - values[0])
        deviations.append((sum((value - middle) ** 2 for value in values) / len(values)) ** 0.5)
    return gaps, deviations, sum(1 - gap for gap in gaps) / len(gaps)


def test_spreads_are_those_of_the_published_formulas():
    """Every subgroup's AUC is scikit-learn's here, the spreads those of the formulas."""
    labels, features = make_people(0, is_planted=True)
    (task,) = [task for task in list_tasks(labels) if task.key == "hc_vs_ad"]
    probe = plan_probe(task, "all", labels, SETTINGS)
    predictions = Given(features).find("mae", probe).predictions[:, 0]
    units = probe.units.reset_index(drop=True)
    known = labels.set_index("person_id").loc[units["person_id"]].reset_index(drop=True)
    known["age band"] = name_age_bands(known["age_years"])
    is_first = (units["target"] == probe.classes[0]).to_numpy()
    scores = {}
    for attribute in ("sex", "age band", "cohort", "vendor"):
        scores[attribute] = {}
        for group in sorted(set(known[attribute])):
            wins = pairs = 0
            for fold in sorted(set(units["fold"])):
                rows = ((known[attribute] == group) & (units["fold"] == fold)).to_numpy()
                n_pairs = is_first[rows].sum() * (~is_first[rows]).sum()
                if n_pairs:
                    wins += n_pairs * roc_auc_score(is_first[rows], predictions[rows])
                    pairs += n_pairs
            scores[attribute][group] = wins / pairs
    gaps, deviations, score = spread_as_published(scores)
    table = measure_fairness(Given(features), labels, [probe], seed=0)
    for attribute, gap, deviation in zip(scores, gaps, deviations, strict=True):
        for group, value in scores[attribute].items():
            assert find(table, "hc_vs_ad", attribute, group).value == pytest.approx(value)
        assert find(table, "hc_vs_ad", attribute, "largest difference").value == pytest.approx(gap)
        assert find(table, "hc_vs_ad", attribute, "standard deviation").value == pytest.approx(deviation)
    assert find(table, "hc_vs_ad", "all", "1 - mean disparity").value == pytest.approx(score)
    assert max(map(len, scores.values())) == 4, "a deviation of more than two groups"
