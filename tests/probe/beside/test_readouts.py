"""Other readouts, held against scikit-learn's, and against what a draw of few people must be."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from braing3n.core.contracts import write_table
from braing3n.probe.beside import readouts
from braing3n.probe.beside.readouts import N_NEIGHBOURS, draw_people, predict_neighbours, read_otherwise
from braing3n.probe.contracts import READOUTS
from braing3n.probe.folds import deal_halves
from braing3n.probe.plan import plan_probe
from braing3n.probe.scores import score
from braing3n.probe.tasks import PAPER_TASKS

TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.fixture(scope="module")
def both(settings):
    return settings.model_copy(update={"readouts": ("knn", "few_shot")})


@pytest.mark.parametrize("key", ["sex", "disease", "age"])
def test_neighbours_are_those_of_scikit_learn(key, corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    x, target, fold = probe.pool(features), probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    found = predict_neighbours(x, target, fold, probe.classes, settings, False)
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        scaler = StandardScaler().fit(x[train])
        kind = KNeighborsClassifier if probe.classes else KNeighborsRegressor
        model = kind(N_NEIGHBOURS, metric="cosine", algorithm="brute")
        y = target[train].astype(str if probe.classes else float)
        model.fit(scaler.transform(x[train]), y)
        predict = model.predict_proba if probe.classes else model.predict
        expected = predict(scaler.transform(x[test])).reshape(test.sum(), -1)
        np.testing.assert_allclose(found[test], expected, atol=1e-12)


def test_a_draw_has_a_volume_a_person_and_fewer_people_lie_within_more():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(60), 3)
    # The last ten people have two labels, as those whose diagnosis changes.
    target = np.where(people < 25, "a", "b").astype(object)
    target[-30:] = rng.choice(["a", "b"], 30)
    units = pd.DataFrame({"person_id": [f"p{k}" for k in people], "target": target})
    draws = [draw_people(units, n, seed=3) for n in (5, 10, 20)]
    for n, rows in zip((5, 10, 20), draws, strict=True):
        assert units["person_id"].iloc[rows].is_unique
        assert dict(units["target"].iloc[rows].value_counts()) == {"a": n, "b": n}
    assert set(draws[0]) < set(draws[1]) < set(draws[2])
    assert set(draw_people(units, 5, seed=4)) != set(draws[0])


@pytest.mark.parametrize("key", ["sex", "age"])
def test_a_half_is_read_by_its_own_peoples_neighbours(key, corpus, settings):
    labels, features = corpus
    probe = plan_probe(TASKS[key], "all", labels, settings)
    x, target, kind = probe.pool(features), probe.units["target"].to_numpy(), probe.task.kind
    (halves,) = readouts.read_neighbours(x, probe, settings, False).halves.values()
    for deal in range(settings.n_halvings):
        dealt = probe.units["target"], probe.units["group_id"], kind, settings.n_folds
        side, fold = deal_halves(*dealt, settings.seed + 1 + deal)
        for k in range(2):
            own = side == k
            found = predict_neighbours(x[own], target[own], fold[own], probe.classes, settings, False)
            values = score(kind, target[own], found, probe.classes, fold[own])
            assert halves[deal, k] == pytest.approx(values["auc" if probe.classes else "r"])


def test_the_interval_of_few_people_is_where_one_more_draw_lies(corpus, both, monkeypatch):
    aucs = np.linspace(0.6, 0.7, readouts.N_DRAWS)
    draws, given = iter(aucs), []
    monkeypatch.setattr(readouts, "score", lambda *_: {"auc": next(draws)})
    monkeypatch.setattr(readouts, "_predict_few", lambda *rest: given.append(rest[4]) or 0)
    probe = plan_probe(TASKS["sex"], "all", corpus[0], both)
    row = readouts.read_few(corpus[1], probe, both, 10, False)
    reach = stats.t.ppf(0.975, len(aucs) - 1) * aucs.std(ddof=1) * np.sqrt(1 + 1 / len(aucs))
    assert (row["low"], row["value"], row["high"]) == pytest.approx((0.65 - reach, 0.65, 0.65 + reach))
    assert given == list(range(len(aucs)))


def test_readouts_find_what_is_planted_and_say_what_is_missing(corpus, both, tmp_path):
    labels, features = corpus
    probes = [plan_probe(TASKS[key], "all", labels, both) for key in ("sex", "age", "mgmt")]
    table = read_otherwise("mae", features, probes, both)
    write_table(table, tmp_path / "readouts.parquet", READOUTS)
    found = table.set_index(["task", "readout", "metric"])
    near = found.loc["sex", f"nearest {N_NEIGHBOURS} by cosine", "auc"]
    assert near["low"] > 0.5
    assert found.loc["age", f"nearest {N_NEIGHBOURS} by cosine", "r"]["low"] > 0
    assert found.loc["sex", "100 people a class", "auc"]["reason"].startswith("fewer than 100 people")
    assert set(table[table["task"] == "mgmt"]["reason"]) == {"no labels in column mgmt"}
    assert "10 people a class" not in set(table[table["task"] == "age"]["readout"])


def test_more_people_read_more(corpus, both):
    labels, features = corpus
    noisy = features + np.random.default_rng(2).normal(size=features.shape) * 4
    table = read_otherwise("mae", noisy, [plan_probe(TASKS["sex"], "all", labels, both)], both)
    found = table.set_index("readout")
    ten, twenty = (found.loc[f"{n} people a class"] for n in (10, 20))
    assert 0.5 < ten["value"] < twenty["value"]
    assert ten["low"] < ten["value"] < ten["high"]


def test_readouts_find_nothing_in_shuffled_features(corpus, both):
    labels, features = corpus
    shuffled = np.random.default_rng(1).normal(size=features.shape)
    table = read_otherwise("mae", shuffled, [plan_probe(TASKS["sex"], "all", labels, both)], both)
    rows = table[table["reason"] == ""]
    assert ((rows["low"] <= 0.5) & (rows["high"] >= 0.5)).all()
