"""Training: the same bits after a kill, the right volumes, and a stop at what is not a number."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from braing3n.config import OptimiserSettings, PretrainSettings
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import digest_file
from braing3n.nets.weights import load_model
from braing3n.pretrain.masks import draw_validation_noise
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.train import train_encoder

sys.path.insert(0, str(Path(__file__).parent))
from invented import InventedVolumes

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = PretrainSettings(
    patch_size=4,
    depth=1,
    width=12,
    n_heads=2,
    decoder_depth=1,
    decoder_width=12,
    decoder_n_heads=2,
    optimiser=OptimiserSettings(
        batch_size=3, n_epochs=12, n_warmup_epochs=2, checkpoint_every_steps=4, validate_every_epochs=5
    ),
)


def train(folder, weights, volumes=None, settings=SETTINGS):
    source = folder / "list"
    source.write_text("what is trained on")
    train_encoder(volumes or InventedVolumes(), settings, folder / "runs", weights, [source])


def test_loss_falls_and_weights_are_a_hard_link(tmp_path):
    weights = tmp_path / "out" / "mae.safetensors"
    train(tmp_path, weights)
    (run,) = (tmp_path / "runs").iterdir()
    assert weights.stat().st_ino == (run / "weights.safetensors").stat().st_ino
    rows = [line.split(",") for line in (run / "loss.csv").read_text().splitlines()[1:]]
    losses = [float(row[1]) for row in rows]
    assert len(losses) == 24  # 8 training volumes, batches of 3: 2 steps an epoch
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    assert [int(row[0]) for row in rows if row[2]] == [10, 20, 24]
    assert (run / "loss.png").stat().st_size > 1000


def test_finished_run_is_not_trained_again_and_other_settings_are(tmp_path):
    train(tmp_path, tmp_path / "a.safetensors")
    (run,) = (tmp_path / "runs").iterdir()
    stamp = (run / "weights.safetensors").stat().st_mtime_ns
    (tmp_path / "a.safetensors").unlink()  # as Snakemake removes outputs before a rerun
    train(tmp_path, tmp_path / "a.safetensors")
    assert (run / "weights.safetensors").stat().st_mtime_ns == stamp
    train(tmp_path, tmp_path / "b.safetensors", settings=SETTINGS.model_copy(update={"seed": 1}))
    assert len(list((tmp_path / "runs").iterdir())) == 2
    a, b = (
        load_model(MaskedAutoencoder, tmp_path / "a.safetensors"),
        load_model(MaskedAutoencoder, tmp_path / "b.safetensors"),
    )
    assert not torch.equal(a.embed.weight, b.embed.weight)


def test_only_the_training_split_is_trained_on(tmp_path):
    """Volumes of other splits full of NaN change no weight."""
    volumes = InventedVolumes()
    train(tmp_path, tmp_path / "a.safetensors", volumes)
    for i in np.flatnonzero(volumes.table["split"] != "train"):
        volumes.images[i] = np.full_like(volumes.images[i], np.nan)
    (tmp_path / "again").mkdir()
    train(tmp_path / "again", tmp_path / "b.safetensors", volumes)
    assert digest_file(tmp_path / "a.safetensors") == digest_file(tmp_path / "b.safetensors")


def test_masks_are_new_at_every_step_and_the_same_at_every_validation(tmp_path, monkeypatch):
    """What is hidden differs between volumes and steps; of validation volumes it is always the same."""
    noises = {True: [], False: []}
    forward = MaskedAutoencoder.forward

    def record(self, volume, noise):
        noises[torch.is_grad_enabled()].append(noise.clone())
        return forward(self, volume, noise)

    monkeypatch.setattr(MaskedAutoencoder, "forward", record)
    train(tmp_path, tmp_path / "w.safetensors")
    hidden = torch.cat([noise.argsort(dim=1)[:, 2:].sort(dim=1).values for noise in noises[True]])  # 6 of 8
    assert hidden.shape == (24 * 3, 6)
    counts = hidden.unique(dim=0, return_counts=True)[1]
    assert len(counts) > 20  # of 28 ways to hide 6 of 8 patches
    assert counts.max() < 12  # 72 draws: 2.6 a way
    assert torch.cat(noises[True]).unique(dim=0).shape[0] == 72
    first, *others = noises[False]
    assert len(others) == 2
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first[0], first[1])


def test_another_seed_hides_other_patches():
    rows = np.arange(3)
    noise = draw_validation_noise(rows, 50, 1)
    assert torch.equal(noise[[2]], draw_validation_noise(rows[2:], 50, 1))
    assert not torch.isclose(noise, draw_validation_noise(rows, 50, 2)).any()
    assert 0.4 < noise.mean() < 0.6


def test_not_a_number_stops_with_step_and_volumes(tmp_path):
    volumes = InventedVolumes()
    volumes.images[5][4, 4, 4] = np.nan
    with pytest.raises(BrainG3nError, match=r"loss of step \d+ is not a number; its batch was .*v05"):
        train(tmp_path, tmp_path / "w.safetensors", volumes)
    assert not (tmp_path / "w.safetensors").exists()
    assert not list(tmp_path.glob("runs/*/step-*.safetensors"))
