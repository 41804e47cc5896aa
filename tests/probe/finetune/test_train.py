"""A fine-tuned encoder finds what a frozen one does not show, sees nobody whom it is tested on, resumes."""

import dataclasses
import math
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n import training
from braing3n.config import load_config
from braing3n.core.contracts import read_table
from braing3n.core.errors import ContractError, StoppedError
from braing3n.core.runtime import digest_file
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe import plan as planning
from braing3n.probe.compare import score_reading
from braing3n.probe.contracts import READOUTS
from braing3n.probe.finetune.model import FinetunedEncoder
from braing3n.probe.finetune.train import cut_folds, predict_finetuned
from braing3n.probe.halves import read_probe

sys.path.insert(0, str(Path(__file__).parent))
import planted

SHORT = {"n_epochs": 3, "n_warmup_epochs": 1, "checkpoint_every_steps": 4}
N_SHORT = 3 * 4 * 5  # steps: three epochs of about 64 volumes, 15 a batch, in five folds


@pytest.fixture(scope="module")
def volumes():
    return planted.PlantedVolumes()


def read(path, metric):
    return read_table(path, READOUTS).set_index("metric").loc[metric]


def test_it_finds_what_the_frozen_probe_of_the_same_encoder_does_not(volumes, tmp_path):
    row = read(planted.finetune(tmp_path, "sex", volumes), "auc")
    probe, source = planted.plan("sex", volumes), planted.start_from(volumes, tmp_path)
    (frozen,) = score_reading(probe, read_probe(source.features, probe, planted.PROBE), planted.PROBE)[0]
    print(f"AUC {row['value']:.3f}, frozen {frozen['value']:.3f}")
    assert row["value"] > 0.9
    assert row["value"] > frozen["value"] + 0.1
    assert (row["encoder"], row["readout"], row["n_people"]) == ("mae", "fine-tuned encoder", 80)
    assert np.isnan([row["low"], row["high"]]).all()


def test_numbers_come_in_their_unit(volumes, tmp_path):
    path = planted.finetune(tmp_path, "age", volumes)
    r, error = read(path, "r")["value"], read(path, "mae")["value"]
    ages = volumes.table["age_years"]
    print(f"r {r:.3f}, mean absolute error {error:.2f} years")
    assert r > 0.8
    assert error < 0.6 * np.abs(ages - ages.mean()).mean()


def test_it_runs_at_the_demos_size(tmp_path, monkeypatch):
    """The demo's encoder on volumes of its shape, 150 tokens each, in every fold."""
    config = load_config(Path(__file__).parents[3] / "config" / "demo.yaml")
    monkeypatch.setattr(planted, "SHAPE", config.volumes.shape)
    monkeypatch.setattr(planted, "SIZES", config.pretrain)
    volumes = planted.PlantedVolumes(n=20)
    with torch.no_grad():
        net = MaskedAutoencoder(config.pretrain, config.volumes.shape)
        assert net.encode(torch.from_numpy(volumes.images[:1])[:, None]).shape == (1, 150, 384)
    row = read(planted.finetune(tmp_path, "sex", volumes, n_epochs=1, n_warmup_epochs=0), "auc")
    assert (row["n_people"], row["reason"]) == (20, "")
    assert 0 <= row["value"] <= 1


def test_labels_of_nothing_are_read_at_chance(volumes, tmp_path):
    """Within 99.7 % of the Mann-Whitney statistic's law without a relation."""
    value = read(planted.finetune(tmp_path, "handedness", volumes), "auc")["value"]
    n_left = (volumes.table["handedness"] == "L").sum()
    deviation = math.sqrt(81 / (12 * n_left * (80 - n_left)))
    print(f"AUC {value:.3f}, deviation {deviation:.3f}")
    assert abs(value - 0.5) < 3 * deviation


def test_a_task_without_labels_is_not_available_and_trains_nothing(volumes, tmp_path):
    row = read(planted.finetune(tmp_path, "mgmt", volumes), "auc")
    assert row["reason"] == "no labels in column mgmt"
    assert np.isnan(row["value"])
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("column", ["person_id", "group_id"])
def test_a_person_or_a_family_in_two_folds_stops_before_any_training(volumes, tmp_path, column):
    probe, source = planted.plan("sex", volumes), planted.start_from(volumes, tmp_path)
    probe.units[column] = "one"
    with pytest.raises(ContractError, match=f"{column} one lies in two folds"):
        predict_finetuned(probe, source, planted.FINETUNE, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


def test_a_family_across_folds_is_not_even_planned(volumes, monkeypatch):
    by_row = np.arange(len(volumes)) % 5
    monkeypatch.setattr(planning, "assign_folds", lambda *_: by_row)
    with pytest.raises(ContractError, match="lies in two folds"):
        planted.plan("sex", volumes)


@pytest.mark.parametrize("key", ["sex", "age"])
def test_every_unit_is_tested_once_by_a_fold_that_shares_no_family(volumes, key):
    tested, groups = [], volumes.table["group_id"].to_numpy()
    for is_test, fold in cut_folds(planted.plan(key, volumes)):
        tested += fold.test.tolist()
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert len(fold.train) + len(fold.test) == len(volumes)
        assert is_test.sum() == len(fold.test)
    assert sorted(tested) == list(range(len(volumes)))


@pytest.mark.parametrize("key", ["sex", "age"])
def test_a_fold_never_sees_its_own_people(volumes, tmp_path, key):
    """Other volumes and labels of a fold's people, but one, move nothing of what that one is predicted."""
    settings = planted.FINETUNE.model_copy(
        update={"optimiser": planted.FINETUNE.optimiser.model_copy(update=SHORT)}
    )
    probe, source = planted.plan(key, volumes), planted.start_from(volumes, tmp_path)
    before = predict_finetuned(probe, source, settings, tmp_path / "before")
    own = np.flatnonzero(probe.units["fold"] == 2)
    target = probe.units["target"].to_numpy().copy()
    target[own] = target[own][::-1] if key == "sex" else target[own] + 30
    assert (target != probe.units["target"].to_numpy()).any()
    probe.units["target"] = target
    changed = planted.PlantedVolumes()
    changed.images[own[1:]] += 5
    other = planted.start_from(changed, tmp_path)
    after = predict_finetuned(probe, other, settings, tmp_path / "after")
    np.testing.assert_array_equal(after[own[0]], before[own[0]])
    assert np.abs(after - before)[probe.units["fold"] != 2].max() > 1e-3


@pytest.mark.parametrize("key", ["sex", "age", "three"])
def test_it_begins_as_the_frozen_probe_of_its_fold(volumes, tmp_path, key):
    """Without a step that moves anything, the predictions are those of scikit-learn's plain models."""
    if key == "three":
        volumes = planted.PlantedVolumes()
        volumes.table["dx"] = np.array(["AD", "HC", "MCI"])[np.argsort(volumes.table["age_years"]) % 3]
    options = planted.FINETUNE.optimiser.model_copy(update=SHORT | {"lr": 1e-12})
    settings = planted.FINETUNE.model_copy(update={"optimiser": options})
    probe = planted.plan("disease" if key == "three" else key, volumes)
    source = planted.start_from(volumes, tmp_path)
    found = predict_finetuned(probe, source, settings, tmp_path / "checkpoints")
    fold, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    for k in np.unique(fold):
        train, x = fold != k, source.features
        model = make_pipeline(
            StandardScaler(), Ridge(1.0) if key == "age" else LogisticRegression(max_iter=1000)
        )
        if key == "age":
            expected = model.fit(x[train], target[train].astype(float)).predict(x[~train])[:, None]
        else:
            expected = model.fit(x[train], target[train].astype(str)).predict_proba(x[~train])
        np.testing.assert_allclose(found[~train], expected, rtol=2e-3, atol=2e-4)


def test_what_is_done_is_not_done_again_and_keeps_no_weights(volumes, tmp_path, monkeypatch):
    path = planted.finetune(tmp_path, "sex", volumes, **SHORT)
    digest = digest_file(path)
    assert not list(tmp_path.glob("checkpoints/*/*.safetensors"))
    seen = [set(name.read_text().split()) for name in tmp_path.glob("checkpoints/*/volumes.txt")]
    assert len(seen) == 5
    assert all(1 < len(names) < len(volumes) for names in seen), "whom its weights saw, and nobody else"
    monkeypatch.setattr(training, "update", None)
    left = next(tmp_path.glob("checkpoints/*/predictions.npy")).with_name("step-00000012.safetensors")
    left.write_bytes(b"of a job that was killed beside its predictions")
    assert digest_file(planted.finetune(tmp_path, "sex", volumes, **SHORT)) == digest
    assert not left.exists()


def test_other_labels_another_probe_or_another_rate_are_trained_anew(volumes, tmp_path):
    """In one folder of runs: each gives other predictions, and the first ones are still there."""
    options = planted.FINETUNE.optimiser.model_copy(update=SHORT)
    settings = planted.FINETUNE.model_copy(update={"optimiser": options})
    slow = settings.model_copy(update={"encoder_lr_scale": 1e-6})
    source = planted.start_from(volumes, tmp_path)
    weak = dataclasses.replace(source, probe=source.probe.model_copy(update={"max_iter": 1}))
    probe, other = planted.plan("sex", volumes), planted.plan("sex", volumes)
    other.units["target"] = other.units["target"].to_numpy()[::-1].copy()
    asked = [(probe, source, settings), (other, source, settings), (probe, weak, settings)]
    asked += [(probe, source, slow), (probe, source, settings)]
    found = [predict_finetuned(*one, tmp_path / "checkpoints") for one in asked]
    for one in found[1:4]:
        assert np.abs(one - found[0]).max() > 1e-3
    np.testing.assert_array_equal(found[4], found[0])
    assert len(list(tmp_path.glob("checkpoints/*/predictions.npy"))) == 4 * 5


@pytest.mark.parametrize("offset", ["none", "mean_image", "principal_images"])
def test_all_that_is_kept_of_the_encoder_learns(offset):
    """A weight without a gradient would stop a training on several GPUs."""
    encoder = MaskedAutoencoder(planted.SIZES.model_copy(update={"offset": offset}), planted.SHAPE)
    net = FinetunedEncoder(encoder, torch.randn(9, planted.SIZES.width), 2)
    torch.nn.init.normal_(net.head.weight)
    net(torch.randn(3, 1, *planted.SHAPE)).square().sum().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []
    assert not {name for name, _ in net.named_buffers()} & {"encoder.mean_image", "encoder.principal_images"}


def test_asked_to_stop_it_saves_and_goes_on_to_the_same_bits(volumes, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    whole = digest_file(planted.finetune(tmp_path / "whole", "sex", volumes, **SHORT))
    update, done = training.update, []

    def update_and_ask(*given):
        update(*given)
        done.append(given)
        if len(done) == N_SHORT // 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(training, "update", update_and_ask)
        with pytest.raises(StoppedError, match="asked to stop, after step 6 of 12"):
            planted.finetune(tmp_path / "stopped", "sex", volumes, **SHORT)
    assert len(list(tmp_path.glob("stopped/checkpoints/*/predictions.npy"))) == 2
    assert digest_file(planted.finetune(tmp_path / "stopped", "sex", volumes, **SHORT)) == whole


@pytest.mark.slow
def test_killed_at_a_random_step_it_ends_with_the_same_table(tmp_path, run_child):
    def run(function, folder, *rest):
        folder.mkdir(exist_ok=True)
        return run_child(function, folder, *rest, **SHORT)

    number = random.SystemRandom().randrange(N_SHORT)
    print(f"killed within step {number}")
    assert run(planted.finetune, tmp_path / "whole") == 0
    assert run(planted.finetune_and_die, tmp_path / "killed", number) == -signal.SIGKILL
    assert len(list(tmp_path.glob("killed/checkpoints/*/predictions.npy"))) == number // 12
    assert run(planted.finetune, tmp_path / "killed") == 0
    ours, theirs = (digest_file(tmp_path / name / "finetuned_sex.parquet") for name in ("killed", "whole"))
    assert ours == theirs
    paths = [sorted(tmp_path.glob(f"{name}/checkpoints/*/predictions.npy")) for name in ("killed", "whole")]
    assert [path.parent.name for path in paths[0]] == [path.parent.name for path in paths[1]]
    assert all(digest_file(a) == digest_file(b) for a, b in zip(*paths, strict=True))
