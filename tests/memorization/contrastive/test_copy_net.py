"""The loss by loops; what is trained on; the same seed, interrupted or not, gives the same network."""

import dataclasses

import numpy as np
import pytest
import torch

from braing3n.core.errors import StoppedError
from braing3n.core.runtime import digest_file
from braing3n.fidelity.coarse import coarsen, halve
from braing3n.memorization.contrastive import train as module
from braing3n.memorization.contrastive.model import CopyNet, build_untrained
from braing3n.memorization.contrastive.train import (
    CoarseSource,
    average,
    compute_loss,
    plan_optimiser,
    train_copy_net,
)
from braing3n.nets.weights import load_model

from .conftest import N_TRAIN, SETTINGS, make_source

FEW = SETTINGS.model_copy(update={"n_steps": 7, "width": 2})


def test_the_loss_is_nt_xent_over_all_pairs_of_views():
    """Of volumes 0 to 3, of which 1 and 2 are one person's; three views each."""
    rng, group = np.random.default_rng(0), [5, 7, 7, 9]
    codes = rng.normal(size=(3, 4, 6))
    codes /= np.linalg.norm(codes, axis=2, keepdims=True)
    losses = []
    for view in range(3):
        for volume in range(4):
            own = codes[view, volume]
            rivals = [
                np.exp(own @ codes[v, k] / 0.2)
                for v in range(3)
                for k in range(4)
                if group[k] != group[volume]
            ]
            for other in range(3):
                if other != view:
                    pair = np.exp(own @ codes[other, volume] / 0.2)
                    losses.append(-np.log(pair / (pair + sum(rivals))))
    found = compute_loss(torch.from_numpy(codes), torch.tensor(group), 0.2)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-6)


def test_one_person_alone_teaches_nothing():
    codes = torch.nn.functional.normalize(torch.randn(2, 3, 4), dim=2).requires_grad_()
    loss = compute_loss(codes, torch.zeros(3, dtype=torch.long), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert (codes.grad == 0).all()


class Levels:
    """Volumes as packed arrays give them, of sides that do not divide."""

    shape = (62, 50, 45)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.levels = rng.integers(-900, 900, size=(11, *self.shape), dtype=np.int16)
        self.table = make_source(np.zeros((11, 1, 1, 1))).table

    def __len__(self):
        return len(self.levels)

    def digest(self):
        return "levels"

    def load_levels(self, i, out):
        out[...] = self.levels[i]
        return np.zeros(0, np.int64), np.zeros(0, np.float32)

    def load(self, i):
        levels = self.levels[i].astype(np.float32)
        return (levels + (levels < 0)) / 512, levels != 0


def test_packed_volumes_are_read_in_any_order_as_they_are_coarsened_elsewhere():
    """Batches larger than what is read at once; 62 voxels across make an edge of two."""
    volumes = Levels()
    batches = [np.array([3, 0, 10, 1, 2, 9, 8, 4, 5, 6]), np.array([7])]
    found = list(CoarseSource.of_packed(volumes, 2).read(batches, torch.device("cpu")))
    assert [part.shape for part in found] == [(10, 1, 16, 13, 12), (1, 1, 16, 13, 12)]
    for rows, part in zip(batches, found, strict=True):
        for row, one in zip(rows, part, strict=True):
            np.testing.assert_allclose(one[0], halve(coarsen(volumes.load(row)[0], 2)), atol=1e-5)
    whole = torch.rand(1, 1, 9, 8, 7)
    np.testing.assert_allclose(average(whole, 1)[0, 0], halve(coarsen(whole[0, 0].numpy(), 1)), atol=1e-6)


def train(source, folder, settings=FEW):
    path = folder / "net.safetensors"
    train_copy_net(source, settings, folder / "checkpoints", path)
    return path


def test_the_same_seed_gives_the_same_network_and_another_one_another(source, tmp_path, one_thread):
    first = digest_file(train(source, tmp_path / "a"))
    assert digest_file(train(source, tmp_path / "b")) == first
    other = FEW.model_copy(update={"seed": 7})
    assert digest_file(train(source, tmp_path / "c", other)) != first


def test_only_training_people_are_looked_at(source, people, tmp_path, one_thread):
    changed = people.copy()
    changed[N_TRAIN:] = 9
    found = digest_file(train(make_source(changed), tmp_path / "a"))
    assert found == digest_file(train(source, tmp_path / "b"))
    changed[0] = 9
    assert digest_file(train(make_source(changed), tmp_path / "c")) != found


def test_a_training_that_is_stopped_goes_on_where_it_was(source, tmp_path, one_thread, monkeypatch):
    whole = digest_file(train(source, tmp_path / "whole"))
    n_read = []

    def read(batches, device):
        for k, rows in enumerate(batches):
            n_read.append(len(rows))
            if len(n_read) == 4:
                monkeypatch.setattr("braing3n.training.steps._agree_to_stop", lambda run: True)
            yield from source.read(batches[k : k + 1], device)

    stopped = dataclasses.replace(source, read=read)
    with pytest.raises(StoppedError, match="contrastive: asked to stop, after step"):
        train(stopped, tmp_path / "stopped")
    monkeypatch.undo()
    n_read.clear()
    path = train(dataclasses.replace(source, read=read), tmp_path / "stopped")
    assert 0 < len(n_read) <= 4
    assert digest_file(path) == whole


def test_a_trained_network_is_not_trained_again_and_is_read_back(source, tmp_path):
    path = train(source, tmp_path)
    blind = dataclasses.replace(source, read=None)
    train(blind, tmp_path)
    net = load_model(CopyNet, path)
    assert net.settings == FEW
    codes = net(torch.rand(3, 1, 10, 12, 10))
    np.testing.assert_allclose(codes.norm(dim=1), 1, atol=1e-6)
    with torch.no_grad():
        assert not torch.equal(codes, build_untrained(FEW)(torch.rand(3, 1, 10, 12, 10)))


def test_gain_and_offset_of_the_whole_box_do_not_move_a_code():
    net, volume = build_untrained(FEW), torch.rand(2, 1, 10, 12, 10)
    with torch.no_grad():
        np.testing.assert_allclose(net(volume), net(3 * volume - 2), atol=1e-5)


def test_the_loss_is_given_the_groups_of_the_batch(source, tmp_path, monkeypatch):
    table = source.table.assign(group_id=[f"g{k // 3}" for k in range(len(source.table))])
    given, asked = [], []

    def read(batches, device):
        asked.extend(batches)
        yield from source.read(batches, device)

    def measure(codes, group, temperature):
        given.append(group.numpy())
        return compute_loss(codes, group, temperature)

    monkeypatch.setattr(module, "compute_loss", measure)
    train(dataclasses.replace(source, table=table, read=read), tmp_path)
    assert len(given) == len(asked) == FEW.n_steps
    names = table["group_id"].to_numpy()
    for rows, group in zip(asked, given, strict=True):
        np.testing.assert_array_equal(group[:, None] == group, names[rows][:, None] == names[rows])


@pytest.mark.parametrize(("n_volumes", "n_epochs"), [(60, 4), (19, 10), (200, 1)])
def test_the_plan_holds_the_steps_and_warms_up_over_a_twentieth_of_them(n_volumes, n_epochs):
    plan = plan_optimiser(SETTINGS.model_copy(update={"n_steps": 10}), n_volumes)
    assert plan.n_epochs == n_epochs
    assert plan.n_warmup_epochs == pytest.approx(0.05 * n_epochs)
