"""What a run shows while it trains: its curve, its events, and the lines it prints."""

import math
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboardX.proto.event_pb2 import SessionLog

from braing3n import training
from braing3n.config import OptimiserSettings
from braing3n.core.errors import StoppedError
from braing3n.training.logs import open_writer, plot_history
from braing3n.training.steps import heed_signals

sys.path.insert(0, str(Path(__file__).parent))
import tiny


def test_the_curve_shows_every_loss_on_a_logarithmic_axis(tmp_path, monkeypatch):
    close, figures = plt.close, []
    monkeypatch.setattr(plt, "close", figures.append)
    plot_history(tmp_path, torch.tensor([0.5, 0.25, 0.125]), {0: 0.75, 2: 0.375}, {"mean_image": 0.3})
    (axes,) = figures[0].axes
    training_line, validation_line, baseline = axes.lines
    assert np.array_equal(training_line.get_xydata(), [(1, 0.5), (2, 0.25), (3, 0.125)])
    assert np.array_equal(validation_line.get_xydata(), [(0, 0.75), (2, 0.375)])
    assert list(baseline.get_ydata()) == [0.3, 0.3]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("step", "loss", "log")
    assert [text.get_text() for text in axes.get_legend().texts] == ["training", "validation", "mean image"]
    close(figures[0])
    picture = Image.open(tmp_path / "loss.png")
    assert picture.size == (720, 420)
    assert "Software" not in picture.text  # so that the same curve has the same bytes


def test_events_after_the_last_checkpoint_are_shown_no_more(tmp_path):
    """TensorBoard drops earlier events from the step on that a new session begins with."""
    open_writer(tmp_path, 5).close()
    starts = [event for event in tiny.read_events(tmp_path) if event.session_log.status == SessionLog.START]
    assert [event.step for event in starts] == [6]


class Scalars(list):
    """A writer that keeps (name, value, step)."""

    def add_scalar(self, *item):
        self.append(item)


def make_run(n_steps=20, n_processes=1, **options):
    """A run of batches of 1, 2, 3, 1, 2, ... volumes, without a folder."""
    sizes = [1 + i % 3 for i in range(n_steps)]
    settings = OptimiserSettings(n_epochs=5, n_warmup_epochs=1, lr=1.0).model_copy(update=options)
    accelerator = SimpleNamespace(
        num_processes=n_processes,
        process_index=0,
        device=torch.device("cpu"),
        reduce=lambda value, how: value / 2 if how == "mean" else value,  # of two, the other's being 0
        wait_for_everyone=lambda: None,
    )
    if n_processes == 1:
        accelerator.reduce = lambda value, how: value
    ids, plan = np.array(list("abc")), [np.arange(n) for n in sizes]
    run = training.Run("mae", Path("run"), accelerator, settings, ids, plan, torch.arange(1.0, n_steps + 1))
    run.writer = Scalars()
    return run


def test_losses_are_checked_once_with_the_rate_of_their_volumes(monkeypatch):
    run, clock = make_run(), iter([14.0, 14.0, 16.0, 16.0])
    run.checked_at_s = 10.0
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    training.check_losses(run, 3)
    training.check_losses(run, 5)
    losses = [(value, step) for name, value, step in run.writer if name == "loss"]
    assert losses == [(1.0, 1), (2.0, 2), (3.0, 3), (4.0, 4), (5.0, 5), (6.0, 6)]
    rates = [item[1:] for item in run.writer if item[0] == "volumes_per_second"]
    assert rates == [((1 + 2 + 3 + 1) / 4.0, 4), ((2 + 3) / 2.0, 6)]
    rate = (1 + math.cos(math.pi * (5 - 4) / 16)) / 2  # four of 20 steps warm up
    assert [item for item in run.writer if item[0] == "learning_rate"][1] == (
        "learning_rate",
        pytest.approx(rate),
        6,
    )


def test_losses_of_several_processes_are_averaged_once():
    run = make_run(n_processes=2)
    training.check_losses(run, 3)
    training.check_losses(run, 5)
    assert run.losses.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, *range(7, 21)]


def test_totals_of_all_processes_are_added():
    assert training.add_up(make_run(), 1.5) == 1.5
    run = make_run(n_processes=2)
    run.accelerator.reduce = lambda value, how: {"sum": value + 2.25}[how]  # the other's total
    assert training.add_up(run, 1.5) == 3.75


def test_what_is_due_after_each_step():
    run = make_run(checkpoint_every_steps=7, validate_every_epochs=2)
    due = [training.find_due(run, step) for step in range(20)]
    validated, saved = {8, 16, 20}, {7, 14, 20}
    assert {i for i, item in enumerate(due, 1) if item.validate} == validated
    assert {i for i, item in enumerate(due, 1) if item.save} == saved
    assert {i for i, item in enumerate(due, 1) if item.check} == validated | saved | {10}
    assert not any(item.stop for item in due)


def test_a_run_that_is_asked_to_stop_saves_and_says_where_it_goes_on():
    run = make_run(checkpoint_every_steps=100, validate_every_epochs=100)
    before = signal.getsignal(signal.SIGTERM)
    with heed_signals():
        assert not training.find_due(run, 2).stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert training.find_due(run, 2)[1:] == (False, True, True)
        assert training.find_due(run, 19)[1:] == (True, True, False), "the last step ends the run anyway"
    assert signal.getsignal(signal.SIGTERM) is before
    with heed_signals():
        assert not training.find_due(run, 2).stop, "a signal is heeded by one run"
    with pytest.raises(StoppedError, match=r"^mae: asked to stop, after step 3 of 20; .* in run, and"):
        training.stop(run, 2)


def test_the_second_ctrl_c_ends_a_run_at_once():
    run = make_run(checkpoint_every_steps=100, validate_every_epochs=100)
    before = signal.getsignal(signal.SIGINT)
    with heed_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert training.find_due(run, 2).stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_several_processes_agree_on_the_votes_of_the_step_before():
    run = make_run(n_processes=2, checkpoint_every_steps=100, validate_every_epochs=100)
    with heed_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert not training.find_due(run, 2).stop
        assert training.find_due(run, 3).stop


@pytest.mark.parametrize(
    ("n_processes", "n_parts", "sizes"), [(1, 1, [10, 10, 3]), (1, 3, [4] * 5 + [3]), (2, 2, [3] * 4)]
)
def test_measured_rows_are_shared_in_parts_that_fit_a_device(n_processes, n_parts, sizes):
    run = make_run(n_processes=n_processes, batch_size=10, n_accumulation_steps=n_parts)
    rows, found = np.arange(100, 123), []
    for index in range(n_processes):
        run.accelerator.process_index = index
        found.append(training.share_batches(run, rows))
    assert [len(batch) for batch in found[0]] == sizes
    assert sorted(np.concatenate([row for batches in found for row in batches])) == list(rows)


@pytest.mark.parametrize("kind", ["mae", "tokenizer"])
def test_each_validation_is_printed_with_the_baselines_that_there_are(kind, tmp_path, capfd):
    tiny.train(kind, tmp_path)
    losses = tiny.read_losses(tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if ", validation loss" in line]
    word = {"mae": "pretrain"}.get(kind, kind)
    for line, (step, loss, validation) in zip(lines, losses[[7, 15, 23]], strict=True):
        text = f"{word}: step {step:.0f}, loss {loss:.4f}, validation loss {validation:.4f}"
        assert line == text or (kind == "mae" and line.startswith(f"{text} (") and "mean_image 0." in line)
