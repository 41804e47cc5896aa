"""What a run leaves: checkpoints, best and final weights with their origin, losses, events, pictures."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from braing3n import training
from braing3n.config import PretrainSettings
from braing3n.core import scratch
from braing3n.core.errors import CheckpointError
from braing3n.core.runtime import digest_file
from braing3n.pretrain import STAGE_VERSION
from braing3n.training import read_weights, write_weights
from braing3n.training.logs import write_history
from braing3n.training.runs import _list_state, _restore_optimiser

sys.path.insert(0, str(Path(__file__).parent))
import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mae")
    tiny.train("mae", folder, n_checkpoints_kept=3)
    return folder


@pytest.fixture(scope="module")
def run_dir(trained):
    (path,) = (trained / "runs").iterdir()
    return path


def test_the_last_few_checkpoints_and_the_best_weights_stay(run_dir):
    kept = sorted(path.name for path in run_dir.glob("step-*"))
    assert kept == [f"step-{n:08d}.safetensors" for n in (15, 20, 24)]
    losses = tiny.read_losses(run_dir.parents[1])
    validated = losses[np.isfinite(losses[:, 2])]
    best = validated[validated[:, 2].argmin()]
    _, record = read_weights(run_dir / "best.safetensors", "MaskedAutoencoder")
    assert record["n_done"] == best[0]
    assert record["validation_loss"] == pytest.approx(best[2], rel=1e-5)


def test_a_training_goes_on_from_its_newest_checkpoint_to_the_same_bytes(trained, tmp_path, capfd):
    folder = tmp_path / "again"
    shutil.copytree(trained, folder)
    wanted = digest_file(folder / "mae.safetensors")
    (folder / "mae.safetensors").unlink()
    (run_dir,) = (folder / "runs").iterdir()
    for name in ("step-00000024.safetensors", "weights.safetensors"):
        (run_dir / name).unlink()
    tiny.train("mae", folder, n_checkpoints_kept=3)
    assert digest_file(folder / "mae.safetensors") == wanted
    assert "steps: 4/4" in capfd.readouterr().err  # of 24, 20 were done


def test_weights_tell_what_they_are_and_come_from(trained, run_dir):
    _, record = read_weights(trained / "mae.safetensors", "MaskedAutoencoder")
    assert PretrainSettings.model_validate(record["settings"]).width == 12
    assert (record["stage"], record["stage_version"]) == ("pretrain", STAGE_VERSION)
    assert record["inputs"] == [["list", digest_file(trained / "list")]]
    assert record["n_epochs_trained"] == record["settings"]["optimiser"]["n_epochs"]
    assert json.loads((run_dir / "run.json").read_text())["settings"]["optimiser"]["batch_size"] == 4


def test_a_checkpoint_of_another_model_is_one_sentence(trained, run_dir, tmp_path):
    other = tmp_path / "runs" / run_dir.name
    other.mkdir(parents=True)
    source, _ = read_weights(run_dir / "step-00000024.safetensors", "checkpoint")
    del source["model.mask_token"]
    write_weights(other / "step-00000003.safetensors", source, "checkpoint", {"n_done": 3, "validation": {}})
    with pytest.raises(CheckpointError, match=r"does not fit MaskedAutoencoder \(missing: mask_token\)"):
        tiny.train("mae", tmp_path, n_checkpoints_kept=3)


def test_weights_of_another_model_are_one_sentence_and_not_taken(trained, tmp_path):
    given, taken = trained / "mae.safetensors", tmp_path / "deeper" / "taken.safetensors"
    with pytest.raises(CheckpointError, match="holds MaskedAutoencoder, not DiT"):
        training.take_weights(given, "DiT", taken)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="holds no model of ours, not DiT"):
        read_weights(tmp_path / "foreign.safetensors", "DiT")
    assert not taken.exists()
    training.take_weights(given, "MaskedAutoencoder", taken)
    assert digest_file(taken) == digest_file(given)


def test_processes_of_one_training_hold_a_lock_each(tmp_path, monkeypatch):
    """Two ranks of torchrun train one run; a second process of a rank waits for the first."""
    (tmp_path / "list").write_text("")
    given = tmp_path / "runs", "mae", 1, PretrainSettings(), [tmp_path / "list"]
    monkeypatch.setenv("RANK", "0")
    with training.open_run_dir(*given) as first:
        monkeypatch.setenv("RANK", "1")
        with training.open_run_dir(*given) as second:
            assert first == second
            assert {path.name for path in first.glob("lock-*")} == {"lock-0", "lock-1"}
    monkeypatch.delenv("RANK")
    with training.open_run_dir(*given):
        assert {path.name for path in first.glob("lock-*")} == {"lock-0", "lock-1"}


def test_what_a_killed_process_left_half_written_goes_with_the_next_one(tmp_path):
    """Its checkpoint of another step, which none will write again."""
    given = tmp_path, "mae", 1, PretrainSettings(), ["content"]
    with training.open_run_dir(*given) as run_dir:
        pass
    kept = run_dir / "step-00000012.safetensors", run_dir / ".mine.safetensors"
    halves = [scratch.name_half_written(run_dir / "step-00000237.safetensors") for _ in range(2)]
    killed = subprocess.Popen(["true"])
    killed.wait()
    halves[0] = halves[0].with_name(halves[0].name.replace(f"{os.getpid():06x}", f"{killed.pid:06x}"))
    for path in (*kept, *halves):
        path.write_bytes(b"x")
    with training.open_run_dir(*given):
        assert [path.exists() for path in (*kept, *halves)] == [True, True, False, True]


@pytest.mark.parametrize("can_link", [True, False])
def test_what_is_published_is_a_link_or_elsewhere_a_copy(tmp_path, monkeypatch, can_link):
    source, target = tmp_path / "weights", tmp_path / "out" / "mae.safetensors"
    source.write_bytes(b"weights")

    def refuse(*paths):
        raise OSError(errno.EXDEV, "on another device")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    training.publish(source, target)
    assert target.read_bytes() == b"weights"
    assert target.samefile(source) == can_link
    assert [path.name for path in target.parent.iterdir()] == ["mae.safetensors"]


def test_moments_are_restored_in_the_memory_order_of_their_kernels():
    def start():
        torch.manual_seed(0)
        net = torch.nn.Conv3d(4, 8, 3).to(memory_format=torch.channels_last_3d)
        return net, training.build_optimiser(net, tiny.OPTIMISER)

    def step(net, optimiser):
        net(volume).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    volume = torch.randn(2, 4, 5, 5, 5, generator=torch.Generator().manual_seed(1))
    (net, optimiser), (again, resumed) = start(), start()
    step(net, optimiser)
    saved = {name: value.contiguous().clone() for name, value in _list_state(optimiser).items()}
    _restore_optimiser(resumed, saved)
    again.load_state_dict(net.state_dict())
    step(net, optimiser)
    step(again, resumed)
    assert torch.equal(net.weight, again.weight)


def list_shown(run_dir):
    """{name: {step: value}} of a run's events, later ones first, and the names of images."""
    scalars, images = {}, set()
    for event in tiny.read_events(run_dir):
        for value in event.summary.value:
            if value.HasField("image"):
                images.add(value.tag)
            else:
                scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return scalars, images


def test_events_say_what_the_table_says(run_dir):
    losses = tiny.read_losses(run_dir.parents[1])
    scalars, images = list_shown(run_dir)
    assert [scalars["loss"][step] for step in range(1, 25)] == pytest.approx(losses[:, 1], rel=1e-5)
    assert sorted(scalars["validation_loss"]) == [8, 16, 24]
    assert all(rate > 0 for rate in scalars["volumes_per_second"].values())
    assert scalars["learning_rate"][24] < scalars["learning_rate"][10]
    assert images == {"examples"}


def test_examples_are_real_masked_and_filled_in_volumes(run_dir):
    picture = np.asarray(Image.open(run_dir / "examples.png"))
    assert picture.shape == (2 * 3 * 8, 3 * (8 + 1))  # two volumes of 8 voxels by three, in three planes
    real, masked, filled = picture[:8], picture[8:16], picture[16:24]
    is_blank = (masked == 127) & (real != 127)
    assert is_blank.mean() > 0.2
    visible = (masked != 127) & (masked != 0)
    assert np.array_equal(masked[visible], real[visible])
    assert np.array_equal(filled[visible], real[visible])
    assert not np.array_equal(filled[is_blank], masked[is_blank])


def test_loss_curve_is_drawn_while_it_trains(tmp_path, monkeypatch):
    curves, note = [], training.note_validation

    def note_and_look(run, *rest):
        is_best = note(run, *rest)
        curves.append((run.run_dir / "loss.png").read_bytes())
        return is_best

    monkeypatch.setattr(training, "note_validation", note_and_look)
    tiny.train("mae", tmp_path)
    assert len(set(curves)) == len(curves) == 3  # each shows more than the last
    (final,) = tmp_path.glob("runs/*/loss.png")
    assert final.read_bytes() == curves[-1]


def test_time_left_is_shown(tmp_path, capfd):
    tiny.train("mae", tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if "pretrain: steps" in line]
    assert "s left" in lines[0]


def test_a_step_without_validation_has_an_empty_field(tmp_path):
    write_history(tmp_path, torch.tensor([0.5, 0.25, 9.0]), {2: 0.125}, 2)
    assert (tmp_path / "loss.csv").read_text() == "step,loss,validation_loss\n1,0.5,\n2,0.25,0.125\n"


def test_a_training_keeps_the_names_of_the_volumes_that_it_saw(run_dir):
    names = tiny.InventedVolumes().table["volume_id"].tolist()
    assert (run_dir / "volumes.txt").read_text().split() == names
