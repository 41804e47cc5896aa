"""The attentive probe: what one token alone carries it finds, and a fold never sees its own people."""

import numpy as np
import pytest

from braing3n.probe.beside import attentive
from braing3n.probe.beside.attentive import predict_attentive, read_attentive
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import PAPER_TASKS

TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.fixture(scope="module")
def tokens(corpus):
    """Tokens (N, 12, 3): the fifth carries sex and age; a noise of all others hides it in their mean."""
    labels, rng = corpus[0], np.random.default_rng(0)
    found = rng.normal(size=(len(labels), 12, 3)) + 4 * rng.normal(size=(len(labels), 1, 3))
    found[:, 4] = 0.3 * rng.normal(size=(len(labels), 3))
    found[:, 4, 0] += 2.0 * (labels["sex"] == "F")
    found[:, 4, 1] += (labels["age_years"] - 50) / 20
    return found.astype(np.float16)


@pytest.fixture(scope="module")
def table(corpus, settings, tokens):
    probes = [plan_probe(TASKS[key], "all", corpus[0], settings) for key in ("sex", "age", "mgmt")]
    return read_attentive(tokens, probes, settings).set_index(["task", "metric"])


@pytest.mark.parametrize(("key", "metric", "chance"), [("sex", "auc", 0.5), ("age", "r", 0.0)])
def test_it_finds_what_one_token_carries(key, metric, chance, corpus, settings, tokens, table):
    assert table.loc[(key, metric), "value"] > chance + 0.4
    means = tokens.astype(np.float64).mean(axis=1)
    probe = plan_probe(TASKS[key], "all", corpus[0], settings)
    pooled = read_probe(means, probe, settings)
    score = score_reading(probe, pooled, settings)[0]
    (row,) = [row for row in score if row["metric"] == metric]
    assert row["low"] < chance < row["high"]


def test_ages_are_in_years(table):
    assert table.loc[("age", "mae"), "value"] < 10


def test_it_has_no_interval_and_says_what_is_missing(table):
    assert table[["low", "high"]].isna().all(axis=None)
    assert table.loc[("mgmt", "auc"), "reason"] == "no labels in column mgmt"
    assert table.loc[("sex", "auc"), "note"] == ""


def test_equal_seeds_give_equal_bits(corpus, settings, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(attentive, "MIN_STEPS", 20)
    np.save(tmp_path / "tokens.npy", tokens)
    probe = plan_probe(TASKS["sex"], "all", corpus[0], settings)
    first = predict_attentive(tokens, probe, settings)
    mapped = predict_attentive(np.load(tmp_path / "tokens.npy", mmap_mode="r"), probe, settings)
    np.testing.assert_array_equal(first, mapped)
    other = predict_attentive(tokens, probe, settings.model_copy(update={"seed": 1}))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("key", ["sex", "age"])
def test_a_fold_never_sees_its_own_people(key, corpus, settings, tokens, monkeypatch):
    monkeypatch.setattr(attentive, "MIN_STEPS", 20)
    probe = plan_probe(TASKS[key], "all", corpus[0], settings)
    before = predict_attentive(tokens, probe, settings)
    fold, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy().copy()
    own = np.flatnonzero(fold == 2)
    target[own] = target[own][::-1] if key == "sex" else target[own] + 30
    assert (target != probe.units["target"].to_numpy()).any()
    changed, rest = tokens.copy(), own[1:]
    changed[np.flatnonzero(probe.unit_of_row >= 0)[rest]] += 5
    probe.units["target"] = target
    after = predict_attentive(changed, probe, settings)
    np.testing.assert_allclose(after[own[0]], before[own[0]], rtol=1e-6)
    assert np.abs(after[fold != 2] - before[fold != 2]).max() > 1e-3


def test_no_more_than_a_batch_of_tokens_is_read_at_once(corpus, settings, tokens, monkeypatch):
    monkeypatch.setattr(attentive, "MIN_STEPS", 10)
    monkeypatch.setattr(attentive, "BATCH_SIZE", 16)
    read = []

    class Counted:
        shape = tokens.shape

        def __getitem__(self, rows):
            read.append(len(rows))
            return tokens[rows]

    predict_attentive(Counted(), plan_probe(TASKS["sex"], "all", corpus[0], settings), settings)
    assert max(read) == 16
