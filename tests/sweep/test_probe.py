"""The sweep's probes: two readings of every arm, the flattened one as scikit-learn does it on all numbers."""

import shutil

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings, SweepProbeSettings
from braing3n.core.contracts import check_table, read_table
from braing3n.core.errors import ConfigurationError, ContractError
from braing3n.probe.plan import plan_probe
from braing3n.sweep.command import app
from braing3n.sweep.contracts import SWEEP
from braing3n.sweep.probe import average_tokens, find_tasks, probe_sweep

PROBE = ProbeSettings()
ARMS = SweepProbeSettings(tasks=("sex", "idh1"), n_pca_components=7)


@pytest.fixture(scope="module")
def arms(corpus, tmp_path_factory):
    """Tokens whose mean carries no sex but whose single numbers do; a grid; the untrained encoder."""
    labels, _ = corpus
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("arms")
    is_female = (labels["sex"] == "F").to_numpy()
    tokens = rng.normal(size=(len(labels), 40, 6))
    tokens[is_female, 0] += 3.0
    tokens[is_female, 1] -= 3.0
    tokens -= tokens.mean(axis=1, keepdims=True)
    grid = (
        rng.normal(size=(len(labels), 3, 4, 5, 6))
        + (labels["sex"] == "F").to_numpy()[:, None, None, None, None]
    )
    for name, array in (("d-6", tokens), ("akl", grid)):
        np.save(folder / f"{name}.npy", array.astype(np.float16))
    features = rng.normal(size=(len(labels), 6))
    np.savez(folder / "untrained.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)
    return folder


@pytest.fixture(scope="module")
def scores(arms, corpus):
    paths = {name: arms / f"{name}.npy" for name in ("d-6", "akl")}
    return probe_sweep(paths, arms / "untrained.npz", corpus[0], ARMS, PROBE)


def find(scores, arm, reading, task="sex"):
    row = scores[(scores["arm"] == arm) & (scores["reading"] == reading) & (scores["task"] == task)]
    assert len(row) == 1
    return row.iloc[0]


def test_each_arm_is_read_twice_and_the_untrained_encoder_once(scores):
    check_table(scores, SWEEP, "sweep")
    read = list(dict.fromkeys(zip(scores["arm"], scores["reading"], strict=True)))
    assert read == [
        ("d-6", "mean"),
        ("d-6", "flattened"),
        ("akl", "mean"),
        ("akl", "flattened"),
        ("untrained", "mean"),
    ]
    sizes = {key: find(scores, *key)["n_features"] for key in read}
    assert list(sizes.values()) == [6, 240, 3, 360, 6]
    assert find(scores, "d-6", "mean", "idh1")["reason"] == "no labels in column idh1"


def test_what_only_single_tokens_tell_is_found_flattened_only(scores):
    assert find(scores, "d-6", "flattened")["low"] > 0.9
    assert find(scores, "d-6", "mean")["low"] < 0.5 < find(scores, "d-6", "mean")["high"]
    assert find(scores, "akl", "mean")["low"] > 0.9
    assert find(scores, "untrained", "mean")["low"] < 0.5 < find(scores, "untrained", "mean")["high"]


def test_flattened_is_a_pca_of_all_numbers_fitted_in_the_fold(scores, arms, corpus):
    labels = corpus[0]
    (task,) = find_tasks(("sex",), labels)
    folds = plan_probe(task, "all", labels, PROBE).units["fold"].to_numpy()
    x = np.load(arms / "d-6.npy").reshape(len(labels), -1).astype(np.float64)
    y = (labels["sex"] == "M").to_numpy()
    aucs = []
    for fold in range(PROBE.n_folds):
        model = make_pipeline(PCA(7, svd_solver="full"), StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(x[folds != fold], y[folds != fold])
        aucs.append(roc_auc_score(y[folds == fold], model.predict_proba(x[folds == fold])[:, 1]))
    row = find(scores, "d-6", "flattened")
    assert row["fold_mean"] == pytest.approx(np.mean(aucs), abs=1e-6)
    assert row["fold_sd"] == pytest.approx(np.std(aucs), abs=1e-6)


def test_means_are_over_tokens_and_over_the_grid():
    tokens = np.random.default_rng(0).normal(size=(3, 8, 2))
    np.testing.assert_allclose(average_tokens(tokens), tokens.mean(axis=1))
    grid = tokens.transpose(0, 2, 1).reshape(3, 2, 2, 2, 2)
    np.testing.assert_allclose(average_tokens(grid), tokens.mean(axis=1))


def test_mistakes_are_one_sentence(arms, corpus):
    labels = corpus[0]
    with pytest.raises(ConfigurationError, match=r"sweep\.probe\.tasks: no task 'idh'; tasks: disease"):
        find_tasks(("idh",), labels)
    for shape in ((3, 2, 2), (len(labels), 4)):
        np.save(arms / "odd.npy", np.zeros(shape, np.float16))
        with pytest.raises(ContractError, match=f"has the shape .{shape[0]}, .*has {len(labels)} volumes"):
            probe_sweep({"d-2": arms / "odd.npy"}, arms / "untrained.npz", labels, ARMS, PROBE)


def test_the_command_reads_the_labels_of_its_volumes(arms, corpus, tmp_path, scores):
    labels = corpus[0]
    labels.sample(frac=1, random_state=0).to_parquet(tmp_path / "labels.parquet")  # another order
    listed = labels.assign(shard=0, path="", mask_path="", native_brain_ml=np.nan)
    listed.to_parquet(tmp_path / "volume_list.parquet")
    for name, path in (
        ("d-6/latents.npy", arms / "d-6.npy"),
        ("akl/latents.npy", arms / "akl.npy"),
        ("untrained/features.npz", arms / "untrained.npz"),
    ):
        (tmp_path / name).parent.mkdir()
        shutil.copy(path, tmp_path / name)
    arguments = ["probe", "--arms", "d-6", "akl"]
    arguments += ["--labels", tmp_path / "labels.parquet", "--scores", tmp_path / "sweep.parquet"]
    arguments += ["--sweep-settings", ARMS.as_json(), "--settings", PROBE.as_json()]
    app([str(item) for item in arguments], result_action="return_value")
    written = read_table(tmp_path / "sweep.parquet", SWEEP)
    np.testing.assert_allclose(written["value"], scores["value"], atol=1e-9)
