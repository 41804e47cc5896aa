"""The flattened latent: a PCA in the fold, held against scikit-learn's, and what it finds beyond a mean."""

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.cli import main
from braing3n.core.contracts import read_table, write_table
from braing3n.latents.cache import write_features
from braing3n.manifest.contracts import LABELS
from braing3n.probe.beside.flattened import read_flattened
from braing3n.probe.contracts import READOUTS
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import PAPER_TASKS

TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.fixture(scope="module")
def few(settings):
    return settings.model_copy(update={"n_pca_components": 8})


@pytest.fixture(scope="module")
def tokens(corpus):
    """Tokens (N, 10, 4): sex raises one token and lowers another, so that their mean says nothing of it."""
    labels = corpus[0]
    found = np.random.default_rng(0).normal(size=(len(labels), 10, 4))
    planted = 3.0 * (labels["sex"] == "F").to_numpy()[:, None]
    found[:, 2] += planted
    found[:, 7] -= planted
    return found.astype(np.float16)


def test_the_flattened_latent_finds_what_the_mean_hides(corpus, few, tokens):
    probes = [plan_probe(TASKS[key], "all", corpus[0], few) for key in ("sex", "mgmt")]
    found = read_flattened(tokens, probes, few).set_index("task")
    assert found.loc["sex", "readout"] == "8 components of the flattened latent"
    assert found.loc["sex", "low"] > 0.8
    assert found.loc["mgmt", "reason"] == "no labels in column mgmt"
    means = np.repeat(tokens.astype(np.float32).mean(axis=1, keepdims=True), 10, axis=1)
    hidden = read_flattened(means, probes, few).set_index("task").loc["sex"]
    assert hidden["low"] < 0.5 < hidden["high"]


def test_the_components_are_those_of_a_pca_fitted_in_the_fold(corpus, few, tokens):
    probe = plan_probe(TASKS["sex"], "all", corpus[0], few)
    noisy = tokens + 5 * np.random.default_rng(1).normal(size=tokens.shape)  # or every AUC is 1
    row = read_flattened(noisy, [probe], few).iloc[0]
    assert row["fold_mean"] < 0.95
    folds, y = probe.units["fold"].to_numpy(), (probe.units["target"] == "M").to_numpy()
    x = noisy.reshape(len(tokens), -1)
    aucs = []
    for k in range(few.n_folds):
        model = make_pipeline(PCA(8, svd_solver="full"), StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(x[folds != k], y[folds != k])
        aucs.append(roc_auc_score(y[folds == k], model.predict_proba(x[folds == k])[:, 1]))
    assert row["fold_mean"] == pytest.approx(np.mean(aucs), abs=1e-6)
    assert row["fold_sd"] == pytest.approx(np.std(aucs), abs=1e-6)


@pytest.fixture
def read(corpus, tokens, tmp_path):
    """read(readouts): the table that the command writes of our features and tokens."""
    labels, features = corpus
    write_table(labels, tmp_path / "labels.parquet", LABELS)
    np.save(tmp_path / "tokens.npy", tokens)
    write_features(labels["volume_id"].to_numpy(dtype=str), features, tmp_path / "features_mae.npz")
    options = ["--encoders", "mae", "--features-dir", str(tmp_path), "--labels"]
    options += [str(tmp_path / "labels.parquet"), "--readouts", str(tmp_path / "out.parquet")]
    options += ["--settings", '{"n_halvings": 3, "n_pca_components": 8}', "--chosen"]

    def run(*readouts):
        (tmp_path / "chosen.json").write_text(json.dumps(readouts))
        given = [*options, str(tmp_path / "chosen.json"), "--tokens", str(tmp_path / "tokens.npy")]
        code = main(["probe", "readouts", *given])
        return read_table(tmp_path / "out.parquet", READOUTS) if code == 0 else code

    return run


def test_the_command_reads_tokens_where_it_is_asked_to(read):
    table = read("pca")
    assert set(table["readout"]) == {"8 components of the flattened latent"}
    assert set(table["task"]) == set(TASKS)


def test_tokens_of_other_volumes_are_refused(read, corpus, tmp_path, capsys):
    labels, features = corpus
    ids = labels["volume_id"].to_numpy(dtype=str)[::-1]
    write_features(ids, features, tmp_path / "features_mae.npz")
    assert read("pca") == 2
    assert "its volumes are not those of the label table" in capsys.readouterr().err
