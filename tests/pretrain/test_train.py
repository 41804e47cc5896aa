"""Training: the same bits after a kill, the right volumes, and a stop at what is not a number."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from braing3n import training
from braing3n.config import OptimiserSettings, PretrainSettings
from braing3n.errors import BrainG3nError, ConfigurationError
from braing3n.pretrain.model import load_encoder
from braing3n.pretrain.train import train_encoder
from braing3n.runtime import digest_file

sys.path.insert(0, str(Path(__file__).parent))
from invented import InventedVolumes

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


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_killed_run_ends_with_the_same_bits(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    train(tmp_path / "whole", tmp_path / "whole.safetensors")

    slow = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import torch; torch.set_num_threads(1)\n"
        "import test_train, pathlib\n"
        "class Slow(test_train.InventedVolumes):\n"
        "    def load(self, i):\n"
        "        time.sleep(0.05); return super().load(i)\n"
        "folder = pathlib.Path(sys.argv[2]); test_train.train(folder, folder / 'w.safetensors', Slow())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", slow, str(Path(__file__).parent), str(tmp_path / "killed")]
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("runs/*/step-*.safetensors")):
        assert child.poll() is None, "the child ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "killed" / "w.safetensors").exists()

    train(tmp_path / "killed", tmp_path / "killed.safetensors")
    assert digest_file(tmp_path / "killed.safetensors") == digest_file(tmp_path / "whole.safetensors")
    (whole,), (killed,) = (list((tmp_path / name).glob("runs/*/loss.csv")) for name in ("whole", "killed"))
    assert whole.read_text() == killed.read_text()
    assert len(list(killed.parent.glob("step-*.safetensors"))) == 2  # the last and the one before


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
    a, b = load_encoder(tmp_path / "a.safetensors"), load_encoder(tmp_path / "b.safetensors")
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


def test_not_a_number_stops_with_step_and_volumes(tmp_path):
    volumes = InventedVolumes()
    volumes.images[5][4, 4, 4] = np.nan
    with pytest.raises(BrainG3nError, match=r"loss of step \d+ is not a number; its batch was .*v05"):
        train(tmp_path, tmp_path / "w.safetensors", volumes)
    assert not (tmp_path / "w.safetensors").exists()
    assert not list(tmp_path.glob("runs/*/step-*.safetensors"))


def test_plan_covers_every_epoch_in_another_order():
    options = OptimiserSettings(batch_size=4, n_epochs=3)
    rows = np.arange(10, 22)
    plan = training.plan_batches(rows, options, seed=0)
    epochs = [np.concatenate(plan[3 * i : 3 * i + 3]) for i in range(3)]
    assert all(sorted(epoch) == list(rows) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    longer = training.plan_batches(rows, options.model_copy(update={"n_epochs": 5}), seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(plan, longer, strict=False))
    with pytest.raises(ConfigurationError, match="training split is empty"):
        training.plan_batches(rows[:0], options, seed=0)


def test_schedule_warms_up_and_ends_near_zero():
    options = OptimiserSettings(lr=1.0, n_epochs=10, n_warmup_epochs=2)
    rates = [training.compute_learning_rate(step, 100, options) for step in range(100)]
    assert rates[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert rates[60] == pytest.approx(0.5)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 1e-3


def test_biases_and_norms_do_not_decay():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    decayed, plain = training.build_optimiser(net, OptimiserSettings(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert [p.ndim for p in decayed["params"]] == [2]
    assert [p.ndim for p in plain["params"]] == [1, 1, 1]
