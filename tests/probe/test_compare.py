"""Planted labels are found, and the tables tell what was and was not probed."""

import numpy as np
import pandas as pd
import pytest

from braing3n.config import ProbeSettings
from braing3n.contracts import check_table, read_table
from braing3n.errors import ContractError
from braing3n.probe.command import app
from braing3n.probe.compare import compare_encoders, probe_encoder
from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.plan import plan_probe
from braing3n.probe.tasks import PAPER_TASKS


@pytest.fixture(scope="module")
def tables(corpus, settings):
    labels, features = corpus
    noise = np.random.default_rng(9).normal(size=features.shape)
    return [
        probe_encoder("mae", features, labels, settings),
        probe_encoder("untrained", noise, labels, settings),
        probe_encoder("voxels", np.tile(features, (1, 20)), labels, settings),
    ]


@pytest.fixture(scope="module")
def compared(tables, corpus, settings):
    return compare_encoders(tables, corpus[0], settings)


def find(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_planted_labels_are_found_and_noise_finds_nothing(compared):
    scores, differences = compared
    check_table(scores, "scores", "scores")
    check_table(differences, "differences", "differences")
    for encoder in ("mae", "voxels"):
        assert find(scores, encoder=encoder, task="sex", slice="all", metric="auc")["low"] > 0.5
        assert find(scores, encoder=encoder, task="age", slice="all", metric="r")["low"] > 0.3
    noise = find(scores, encoder="untrained", task="sex", slice="all", metric="auc")
    assert noise["low"] < 0.5 < noise["high"]
    assert find(differences, other="untrained", task="age", slice="all", metric="r")["low"] > 0
    assert find(differences, other="untrained", task="age", slice="all", metric="mae")["high"] < 0


def test_every_paper_task_and_slice_has_a_row_or_a_reason(compared, settings):
    scores, _ = compared
    for task in PAPER_TASKS:
        rows = scores[(scores["task"] == task.key) & (scores["encoder"] == "mae")]
        assert set(rows["slice"]) == set(task.slices)
        assert (rows["value"].notna() == (rows["reason"] == "")).all()
    assert find(scores, encoder="mae", task="disease", slice="all", metric="auc")["dropped"].startswith("GBM")


def test_counts_are_people_and_volumes(compared, corpus):
    row = find(compared[0], encoder="mae", task="sex", slice="T2", metric="auc")
    labels = corpus[0][corpus[0]["modality"] == "T2"]
    assert (row["n_people"], row["n_volumes"]) == (labels["person_id"].nunique(), len(labels))


def test_predictions_of_other_labels_are_refused(tables, corpus, settings):
    labels = corpus[0].iloc[2:].reset_index(drop=True)
    with pytest.raises(ContractError, match="rerun `probe encoder`"):
        compare_encoders(tables, labels, settings)


def test_no_model_sees_the_group_it_scores(corpus, settings):
    """Features that name the person only: a probe that saw a person's other scan would score above chance."""
    labels, _ = corpus
    people = pd.factorize(labels["person_id"])[0]
    features = np.eye(people.max() + 1)[people]
    probe = plan_probe(next(task for task in PAPER_TASKS if task.key == "sex"), "all", labels, settings)
    predictions, _ = predict_out_of_fold(features, probe, settings, has_pca=False)
    for fold in range(settings.n_folds):
        assert np.ptp(predictions[(probe.units["fold"] == fold).to_numpy(), 0]) < 1e-6


def test_nothing_to_probe_is_told_for_every_encoder(corpus):
    labels = corpus[0].iloc[:6].reset_index(drop=True)
    settings = ProbeSettings(n_bootstraps=100)
    tables = [probe_encoder(name, corpus[1][:6], labels, settings) for name in ("mae", "histogram")]
    scores, differences = compare_encoders(tables, labels, settings)
    assert set(scores["encoder"]) == {"mae", "histogram"}
    assert (scores["reason"] != "").all()
    assert not len(differences)
    check_table(differences, "differences", "differences")


def test_the_command_line_writes_all_tables(tmp_path, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, features = corpus
    labels.to_parquet(tmp_path / "labels.parquet")
    np.savez(tmp_path / "features.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)
    common = ["--labels", "labels.parquet", "--features", "features.npz", "--settings"]
    common.append('{"n_bootstraps": 100, "n_random_labels": 2, "n_permutations": 20, "n_matched_repeats": 2}')
    names = ("scores", "differences", "controls")
    outputs = [part for name in names for part in (f"--{name}", f"{name}.parquet")]
    for name in ("mae", "histogram"):
        run_app(["encoder", "--name", name, "--predictions", f"{name}.parquet", *common])
    run_app(["compare", "--predictions", "mae.parquet", "histogram.parquet", *outputs, *common])
    for name in names:
        assert len(read_table(f"{name}.parquet", name))


def run_app(arguments):
    app(arguments, result_action="return_value")
