"""Killed at any step, or asked to stop: a run that goes on ends with the bits of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from braing3n.core.runtime import digest_file
from braing3n.training import read_weights

sys.path.insert(0, str(Path(__file__).parent))
import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
N_STEPS = 24  # 8 volumes to train on, batches of 4, 12 epochs


@pytest.fixture(scope="module")
def undisturbed(run_child, tmp_path_factory):
    """The folder of an undisturbed run of each kind."""
    folders = {}
    for kind in tiny.KINDS:
        folders[kind] = tmp_path_factory.mktemp(kind)
        assert run_child(tiny.train, kind, folders[kind]) == 0
    return folders


@pytest.mark.parametrize("draw", range(5))
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_killed_at_a_random_step_ends_with_the_same_weights(kind, draw, run_child, undisturbed, tmp_path):
    step = random.SystemRandom().randrange(N_STEPS)
    print(f"draw {draw}: killed within step {step}")
    assert run_child(tiny.train_and_die, kind, tmp_path, step) == -signal.SIGKILL
    saved = sorted(path.name for path in tmp_path.glob("runs/*/step-*"))
    assert saved == [f"step-{n:08d}.safetensors" for n in range(5, step + 1, 5)][-2:]
    assert run_child(tiny.train, kind, tmp_path) == 0
    name = f"{kind}.safetensors"
    assert digest_file(tmp_path / name) == digest_file(undisturbed[kind] / name)
    (ours,), (theirs,) = (list(f.glob("runs/*/loss.csv")) for f in (tmp_path, undisturbed[kind]))
    assert ours.read_text() == theirs.read_text()
    (ours,), (theirs,) = (list(f.glob("runs/*/best.safetensors")) for f in (tmp_path, undisturbed[kind]))
    assert digest_file(ours) == digest_file(theirs)


@pytest.mark.parametrize("draw", range(5))
def test_killed_within_a_random_batch_the_samples_are_the_same_bytes(draw, run_child, tmp_path):
    n_batches = random.SystemRandom().randrange(tiny.N_BATCHES)
    print(f"draw {draw}: killed after {n_batches} batches")
    for name, given in (("whole", None), ("killed", n_batches), ("killed", None)):
        (tmp_path / name).mkdir(exist_ok=True)
        expected = 0 if given is None else -signal.SIGKILL
        assert run_child(tiny.sample, tmp_path / name, given) == expected
    whole, killed = (digest_file(tmp_path / name / "samples.npz") for name in ("whole", "killed"))
    assert whole == killed


COMMAND = """
import sys, time
sys.path.insert(0, sys.argv[1])
import tiny
from braing3n.core.runtime import digest_file
from braing3n.volumes import dataset

class Slow(tiny.InventedVolumes):
    n_loaded = 0
    def load_levels(self, i, out):
        time.sleep(0.05)
        Slow.n_loaded += 1
        if Slow.n_loaded == 30:
            open("begun", "w").close()
        return super().load_levels(i, out)
    def digest(self):
        return digest_file("list")

dataset.PackedVolumes = lambda *paths: Slow()
settings = tiny.SIZES["mae"].model_copy(
    update={"optimiser": tiny.OPTIMISER.model_copy(update={"checkpoint_every_steps": 1000})}
)
from braing3n.cli import main
sys.exit(main(["run-training", "--log", "log", "pretrain", "train", "--volume-list", "list",
               "--volumes-dir", ".", "--checkpoints", "runs", "--weights", "mae.safetensors",
               "--settings", settings.as_json()]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_so_that_the_run_goes_on(run_child, undisturbed, tmp_path, number):
    """As a rule runs it, when a scheduler or a terminal signals every process of the job."""
    rule = (ROOT / "workflow" / "rules" / "pretrain.smk").read_text()
    assert '"exec python -m braing3n run-training --gpus' in rule  # else bash dies first
    (tmp_path / "list").write_text("what is trained on")
    (tmp_path / "train.py").write_text(COMMAND)
    command = f"{sys.executable} train.py {Path(__file__).parent}"
    line = f"set -euo pipefail; exec {command}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

    job = subprocess.Popen(
        ["bash", "-c", line], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert job.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, "no step was done"
        time.sleep(0.02)
    os.killpg(job.pid, number)
    assert job.wait(60) == 128 + signal.SIGTERM
    last = (tmp_path / "log").read_text().splitlines()[-1]
    (saved,) = tmp_path.glob("runs/*/step-*.safetensors")
    n_done = int(saved.stem.split("-")[1])
    assert f"pretrain: asked to stop, after step {n_done} of {N_STEPS}" in last
    assert not (tmp_path / "mae.safetensors").exists()

    assert run_child(tiny.train, "mae", tmp_path, checkpoint_every_steps=1000) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 1  # it went on where the job had stopped
    ours, theirs = (
        read_weights(folder / "mae.safetensors", "MaskedAutoencoder")[0]
        for folder in (tmp_path, undisturbed["mae"])
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
