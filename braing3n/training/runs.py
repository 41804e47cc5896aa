"""A training run: its folder, its plan, how it resumes from a checkpoint and ends."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

from braing3n.core.accounting import SEEN_NAME
from braing3n.core.runtime import acquire_lock, digest_file, digest_text, track, write_atomically
from braing3n.core.scratch import is_abandoned, remove_half_written
from braing3n.core.settings import OptimiserSettings, Settings
from braing3n.nets.weights import load_weights, read_weights, write_weights
from braing3n.training.batches import find_rows, plan_batches
from braing3n.training.logs import open_writer, plot_history, write_history
from braing3n.training.steps import (
    check_cudnn,
    check_losses,
    find_due,
    has_stalled,
    heed_signals,
    prepare_device,
    stop,
)

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

T = TypeVar("T")
WEIGHTS_NAME = "weights.safetensors"  # that it is there says that a run is done
Parts = dict[str, nn.Module | torch.optim.Optimizer]


class Described(Protocol):
    """A model whose weight file says how to build it again."""

    def describe(self) -> dict: ...

    def state_dict(self) -> dict[str, Tensor]: ...


@dataclass
class Run:
    """What a loop carries from step to step.

    Attributes:
        word: the stage.
        run_dir: its folder.
        accelerator: device and processes.
        options: the optimiser's settings.
        ids: the volume ids by row.
        plan: the rows of every step's batch.
        losses: of every step, on the device; of this process's share until `check_losses` averaged it.
        validation: validation losses by steps done.
        baselines: by name, what they reach in place of the validation loss.
        parts: modules and optimisers that a checkpoint holds.
        n_done: steps that were done when this process began.
        n_checked: steps whose losses were checked, at `checked_at_s` last.
        votes: how many processes had been asked to stop a step ago, and when that is known here.
        writer: of TensorBoard's events; the main process's.
    """

    word: str
    run_dir: Path
    accelerator: Accelerator
    options: OptimiserSettings
    ids: np.ndarray
    plan: list[np.ndarray]
    losses: Tensor
    validation: dict[int, float] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    parts: Parts = field(default_factory=dict)
    n_done: int = 0
    n_checked: int = 0
    checked_at_s: float = 0.0
    votes: tuple[Tensor, torch.cuda.Event | None] = (torch.zeros(()), None)
    writer: SummaryWriter | None = None

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.accelerator.is_main_process

    @property
    def own(self) -> slice:
        """Which of a batch's rows are this process's."""
        return slice(self.accelerator.process_index, None, self.accelerator.num_processes)

    @property
    def own_batches(self) -> list[np.ndarray]:
        """This process's rows of every batch that is still to come."""
        return [rows[self.own] for rows in self.plan[self.n_done :]]


# ---- its folder ---------------------------------------------------------------------------------


@contextmanager
def open_run_dir(
    checkpoints_dir: Path,
    word: str,
    version: int,
    settings: Settings,
    inputs: Sequence[Path | str],
) -> Iterator[Path]:
    """The folder of the run that these settings and inputs make, held by a file lock.

    inputs are files, whose bytes count, or digests of what lies in several files, such as
    `PackedVolumes.digest`. `run.json` in it says what they are. The lock waits for the orphan of a killed
    workflow, which may still be training the same run. Within, SIGTERM and SIGINT let the run save its state
    first. What killed processes left half written in it goes.
    """
    digests = [digest_input(item) for item in inputs]
    parts = [word, version, settings.as_json(), *digests]
    run_dir = Path(checkpoints_dir) / digest_text(json.dumps(parts))[:16]
    run_dir.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get("RANK", "0")  # under torchrun each process holds its own lock
    with acquire_lock(run_dir / f"lock-{rank}"), heed_signals():
        for path in run_dir.glob(".*"):
            if is_abandoned(path):
                remove_half_written(path)
        names = [item.name if isinstance(item, Path) else "content" for item in inputs]
        pairs = [list(pair) for pair in zip(names, digests, strict=True)]
        record = {"stage": word, "stage_version": version, "inputs": pairs}
        described = {**record, "settings": json.loads(settings.as_json())}
        with write_atomically(run_dir / "run.json") as beside:
            beside.write_text(json.dumps(described, indent=1) + "\n")
        yield run_dir


def train_once(
    train: Callable[[Path], None],
    outputs: Mapping[str, Path | None],
    checkpoints_dir: Path,
    word: str,
    version: int,
    settings: Settings,
    inputs: Sequence[Path | str],
) -> None:
    """Train in the folder of the run that these settings and inputs make, unless done; publish its files.

    Args:
        train: trains, or resumes training, in the folder that it is given.
        outputs: name of a file of the run -> where it becomes a hard link; None: nowhere. The weights are
            last, since a workflow takes the run for done where they are.
        checkpoints_dir, word, version, settings, inputs: as of `open_run_dir`.
    """
    with open_run_dir(checkpoints_dir, word, version, settings, inputs) as run_dir:
        if not (run_dir / WEIGHTS_NAME).exists():
            train(run_dir)
        if open_accelerator().is_main_process:
            for name in sorted(outputs, key=lambda name: name == WEIGHTS_NAME):
                path = outputs[name]
                if path:
                    publish(run_dir / name, path)


def digest_input(item: Path | str) -> str:
    """The sha256 of a file's bytes; a digest stands for itself."""
    return digest_file(item) if isinstance(item, Path) else item


def publish(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where they lie on different devices."""
    with write_atomically(target) as beside:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)


# ---- its first step, or the next ----------------------------------------------------------------


def open_accelerator() -> Accelerator:
    """This process's device and its peers; under torchrun without a GPU, processes on CPUs."""
    is_on_cpu = "LOCAL_RANK" in os.environ and not torch.cuda.is_available()
    # Buffers are constants here, so they need no broadcast; gradients lie where they are exchanged.
    exchange = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=is_on_cpu, kwargs_handlers=[exchange])
    prepare_device(accelerator.device)
    return accelerator


def plan_run(word: str, run_dir: Path, table: pd.DataFrame, options: OptimiserSettings, seed: int) -> Run:
    """Plan every step's batch over the training split of a table (volume_id, split).

    Raises:
        ConfigurationError: there is nothing to train on.
    """
    accelerator = open_accelerator()
    if accelerator.is_main_process:  # whom these weights saw, should one of them withdraw
        with write_atomically(run_dir / SEEN_NAME) as beside:
            beside.write_text("".join(f"{name}\n" for name in table["volume_id"]))
    plan = plan_batches(find_rows(table, "train"), options, seed, accelerator.num_processes)
    losses = torch.zeros(len(plan), device=accelerator.device)
    return Run(word, run_dir, accelerator, options, table["volume_id"].to_numpy(), plan, losses)


def resume_run(run: Run, parts: Parts) -> None:
    """Load the newest checkpoint into modules and optimisers, where the run has one, and open its logs.

    Raises:
        CheckpointError: a checkpoint of other modules.
        ConfigurationError: a library that would compute wrongly.
    """
    run.parts = parts
    for part in parts.values():
        if isinstance(part, nn.Module):
            check_cudnn(part, run.options, run.device)
    paths = sorted(run.run_dir.glob("step-*.safetensors"))
    if paths:
        _restore(run, paths[-1])
    run.checked_at_s = time.monotonic()
    if run.is_main:
        run.writer = open_writer(run.run_dir, run.n_done)


def take_steps(
    run: Run, batches: Iterable[T], validate: Callable[[int], None], patience: int | None = None
) -> Iterator[tuple[int, T]]:
    """(step, batch) from where the run stands; what is due after a step is done before the next one.

    Losses are checked, validated and saved as `find_due` says, and a run that was asked to stop ends saved.

    Args:
        validate: measures the model after a step and notes the loss; on every process.
        patience: epochs without a better validation loss after which the steps end; None: never before.

    Raises:
        BrainG3nError: a loss is not a number.
        StoppedError: the run was asked to stop.
    """
    for step, batch in _count_steps(run, batches):
        if patience is not None and has_stalled(run, patience):
            return
        yield step, batch
        due = find_due(run, step)
        if due.check:
            check_losses(run, step)
        if due.validate:
            validate(step)
        if due.save:
            save(run, step + 1)
        if due.stop:
            stop(run, step)


def _count_steps(run: Run, batches: Iterable[T]) -> Iterator[tuple[int, T]]:
    """(step, batch) with a progress bar that gives the time left."""
    steps = zip(range(run.n_done, len(run.plan)), batches, strict=True)
    return track(steps, f"{run.word}: steps", len(run.plan) - run.n_done) if run.is_main else steps


# ---- its checkpoints ----------------------------------------------------------------------------


def save(run: Run, n_done: int) -> None:
    """Write `step-<n>.safetensors` after n_done steps, atomically, and the losses; the last few are kept."""
    if run.writer is None:
        return
    record = {"n_done": n_done, "validation": {str(step): loss for step, loss in run.validation.items()}}
    state = {"losses": run.losses}
    for name, part in run.parts.items():
        state |= {f"{name}.{key}": value for key, value in _list_state(part).items()}
    write_weights(run.run_dir / f"step-{n_done:08d}.safetensors", state, "checkpoint", record)
    for old in sorted(run.run_dir.glob("step-*.safetensors"))[: -run.options.n_checkpoints_kept]:
        old.unlink()
    write_history(run.run_dir, run.losses, run.validation, n_done)
    run.writer.flush()


def _restore(run: Run, path: Path) -> None:
    state, record = read_weights(path, "checkpoint")
    for name, part in run.parts.items():
        own = {
            key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")
        }
        if isinstance(part, torch.optim.Optimizer):
            _restore_optimiser(part, own)
        else:
            load_weights(part, own, path)
    run.validation = {int(step): loss for step, loss in record["validation"].items()}
    run.losses = state["losses"].to(run.device)
    run.n_done = run.n_checked = record["n_done"]


def _list_state(part: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    """A module's tensors, or an optimiser's as `<parameter>.<name>`."""
    if isinstance(part, nn.Module):
        return part.state_dict()
    slots = part.state_dict()["state"]
    return {f"{i}.{name}": value for i, slot in slots.items() for name, value in slot.items()}


def _restore_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in saved.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    # A fused step reads a parameter and its moments side by side, so they must lie in memory alike.
    for parameter, slots in optimiser.state.items():
        for slot, value in slots.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                slots[slot] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


# ---- what it found ------------------------------------------------------------------------------


def note_validation(run: Run, step: int, loss: float, net: Described) -> bool:
    """Note, print, log and draw a validation loss; where none was lower, keep `best.safetensors`.

    Returns whether it is the lowest so far.
    """
    run.validation[step + 1] = loss
    is_best = loss <= min(run.validation.values())
    if run.writer is not None:
        text = f"{run.word}: step {step + 1}, loss {run.losses[step].item():.4f}, validation loss {loss:.4f}"
        beside = ", ".join(f"{name} {value:.4f}" for name, value in run.baselines.items())
        print(text + (f" ({beside})" if beside else ""), file=sys.stderr, flush=True)
        run.writer.add_scalar("validation_loss", loss, step + 1)
        plot_history(run.run_dir, run.losses[: step + 1], run.validation, run.baselines)
        if is_best:
            _write_model(run, "best", net, n_done=step + 1, validation_loss=loss)
    return is_best


def finish(run: Run, net: Described, n_done: int | None = None) -> None:
    """Write losses, loss curve and, last, `weights.safetensors`: that it is there says that the run is done.

    n_done is the number of steps, where the run ended before its plan did.
    """
    run.accelerator.wait_for_everyone()
    if run.writer is not None:
        n_done = n_done or len(run.plan)
        write_history(run.run_dir, run.losses, run.validation, n_done)
        plot_history(run.run_dir, run.losses[:n_done], run.validation, run.baselines)
        run.writer.close()
        _write_model(run, "weights", net, n_epochs_trained=n_done * run.options.n_epochs / len(run.plan))
    run.accelerator.wait_for_everyone()


def _write_model(run: Run, name: str, net: Described, **more: float) -> None:
    """Weights with what builds the model again (`describe()`) and what it was trained from (`run.json`)."""
    described = json.loads((run.run_dir / "run.json").read_text())
    record = {key: described[key] for key in ("stage", "stage_version", "inputs")}
    path = run.run_dir / f"{name}.safetensors"
    write_weights(path, net.state_dict(), type(net).__name__, net.describe() | record | more)
