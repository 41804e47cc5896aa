"""One step of training: its learning rate, its parts, its update, and what is due after it."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from braing3n.core.errors import BrainG3nError, ConfigurationError, StoppedError
from braing3n.core.runtime import has_bfloat16, has_matrix_units
from braing3n.core.settings import OptimiserSettings, Precision
from braing3n.training.batches import cut_batches

if TYPE_CHECKING:
    from braing3n.training.runs import Run

Net = TypeVar("Net", bound=nn.Module)
CHECK_EVERY_STEPS = 10  # losses are looked at so often: each look waits for the accelerator


def compute_learning_rate(step: int, n_steps: int, options: OptimiserSettings) -> float:
    """Linear warm-up to the peak, then half a cosine to 0 at the last step, or the peak to the end."""
    n_warmup = int(n_steps * options.n_warmup_epochs / options.n_epochs)
    if step < n_warmup:
        return options.lr * (step + 1) / n_warmup
    if options.schedule == "constant":
        return options.lr
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(1, n_steps - n_warmup)))


def build_optimiser(
    model: nn.Module, options: OptimiserSettings, slow: Iterable[nn.Module] = (), lr_scale: float = 1.0
) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases, norms and other vectors.

    Parts of the model in `slow` learn at `lr_scale` times the rate of the others.
    """
    is_slow = {id(p) for part in slow for p in part.parameters()} if lr_scale != 1 else set()
    groups = []
    for scale in dict.fromkeys((1.0, lr_scale)):
        own = [p for p in model.parameters() if p.requires_grad and (id(p) in is_slow) == (scale != 1)]
        for is_decayed, decay in ((True, options.weight_decay), (False, 0.0)):
            chosen = [p for p in own if (p.ndim > 1) == is_decayed]
            groups.append({"params": chosen, "weight_decay": decay, "lr_scale": scale})
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas, fused=True)


class HasPrecision(Protocol):
    """A section of the configuration that has a precision."""

    @property
    def precision(self) -> Precision: ...


def autocast(device: torch.device, options: HasPrecision) -> torch.autocast:
    """The precision of a section; float32 leaves everything as it is."""
    is_half = uses_bfloat16(device, options)
    if is_half and device.type == "cpu":
        warn_of_emulation()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_half)


def uses_bfloat16(device: torch.device, options: HasPrecision) -> bool:
    """Whether a section computes in bfloat16 on this device; `auto` does where that is the faster."""
    if options.precision == "auto":
        return device.type == "cuda" or (device.type == "cpu" and has_matrix_units())
    return options.precision == "bfloat16"


@cache
def warn_of_emulation() -> None:
    """Say once where the processor has no units for bfloat16: it is used all the same, and slow."""
    if not has_bfloat16():
        print(
            "braing3n: this processor has no units for bfloat16, which takes several times as long as float32"
            " on it; set `precision: float32` or `auto`.",
            file=sys.stderr,
        )


def accumulate(run: Run, model: nn.Module, *batch: Tensor) -> Iterator[tuple]:
    """The parts of a batch that fit on a device at once: (share of the batch, the part of each tensor).

    Gradients of all parts add up; processes exchange them with the last (of `options.n_accumulation_steps`).
    """
    n_parts = min(run.options.n_accumulation_steps, len(batch[0]))
    parts = list(zip(*(tensor.tensor_split(n_parts) for tensor in batch), strict=True))
    for i, part in enumerate(parts):
        with nullcontext() if i + 1 == n_parts else run.accelerator.no_sync(model):
            yield len(part[0]) / len(batch[0]), *part


def recompute_activations(blocks: Iterable[nn.Module], options: OptimiserSettings) -> None:
    """Where so configured, let each block keep its input only, and compute the rest again backwards.

    Known as activation checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost").
    """
    if options.recompute_activations:
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(blocks: Iterable[nn.Module], options: OptimiserSettings) -> None:
    """Where so configured, compile each block in place; names and values of its tensors stay.

    Blocks that are alike share one compilation; each shape of their input has its own.
    """
    if options.compile_blocks:
        # Widths, ragged last batches and validation each count; beyond the limit blocks would run uncompiled.
        torch._dynamo.config.recompile_limit = 64
        for block in blocks:
            block.compile(dynamic=False)


def update(run: Run, optimiser: torch.optim.Optimizer, model: nn.Module, step: int) -> None:
    """One step down the gradients that lie in the model, which are cleared."""
    if run.options.gradient_clip > 0:
        nn.utils.clip_grad_norm_(model.parameters(), run.options.gradient_clip)
    for group in optimiser.param_groups:
        rate = compute_learning_rate(step, len(run.plan), run.options)
        group["lr"] = rate * group.get("lr_scale", 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


# ---- between steps ------------------------------------------------------------------------------


class Due(NamedTuple):
    """What is to be done after a step."""

    check: bool
    validate: bool
    save: bool
    stop: bool


def find_due(run: Run, step: int) -> Due:
    """Whether after this step (from 0) losses are checked, validated or saved, or the run ends."""
    n_done, n_steps, options = step + 1, len(run.plan), run.options
    is_last, must_stop = n_done == n_steps, _agree_to_stop(run)
    every = n_steps // options.n_epochs * options.validate_every_epochs
    validate = is_last or n_done % every == 0
    save = is_last or must_stop or n_done % options.checkpoint_every_steps == 0
    return Due(validate or save or n_done % CHECK_EVERY_STEPS == 0, validate, save, must_stop and not is_last)


def has_stalled(run: Run, patience: int) -> bool:
    """Whether the best validation loss is `patience` epochs old."""
    best = min(run.validation, key=lambda n_done: (run.validation[n_done], -n_done))
    n_steps_an_epoch = len(run.plan) // run.options.n_epochs
    return max(run.validation) - best >= patience * n_steps_an_epoch


def check_losses(run: Run, step: int) -> None:
    """Average the losses since the last check over the processes; stop at the first that is not a number.

    Raises:
        BrainG3nError: names the step and the volumes of its batch.
    """
    new = slice(run.n_checked, step + 1)
    run.losses[new] = run.accelerator.reduce(run.losses[new], "mean")
    losses = run.losses[new].tolist()
    for n, loss in enumerate(losses, start=run.n_checked):
        if not math.isfinite(loss):
            names = ", ".join(str(run.ids[row]) for row in run.plan[n])
            raise BrainG3nError(
                f"{run.word}: the loss of step {n} is not a number; its batch was {names}. "
                "Look at these volumes, or lower the learning rate; no weights were written for it."
            )
    if run.writer is not None:
        n_volumes = sum(len(run.plan[n]) for n in range(run.n_checked, step + 1))
        rate = n_volumes / (time.monotonic() - run.checked_at_s)
        for n, loss in enumerate(losses, start=run.n_checked):
            run.writer.add_scalar("loss", loss, n + 1)
        run.writer.add_scalar("volumes_per_second", rate, step + 1)
        learning_rate = compute_learning_rate(step, len(run.plan), run.options)
        run.writer.add_scalar("learning_rate", learning_rate, step + 1)
    run.n_checked, run.checked_at_s = step + 1, time.monotonic()


def share_batches(run: Run, rows: np.ndarray) -> list[np.ndarray]:
    """This process's batches of rows that are measured: as large as those that it trains on at once."""
    n_parts = run.accelerator.num_processes * run.options.n_accumulation_steps
    batches = cut_batches(rows, -(-run.options.batch_size // n_parts))
    return batches[run.accelerator.process_index :: run.accelerator.num_processes]


def add_up(run: Run, total: float) -> float:
    """The sum of every process's total."""
    if run.accelerator.num_processes == 1:
        return total
    return run.accelerator.reduce(torch.tensor(total, device=run.accelerator.device), "sum").item()


# ---- when a scheduler says stop -----------------------------------------------------------------

_is_asked_to_stop = threading.Event()  # by SIGTERM or SIGINT, to this process


@contextmanager
def heed_signals() -> Iterator[None]:
    """Within, SIGTERM (a time limit) and SIGINT (Ctrl-C) let the step end and the state be saved.

    SIGTERM may come more than once: a scheduler signals every process of a job, and torchrun its own once
    more. A second Ctrl-C ends the process at once; the last checkpoint holds.
    Outside the main thread, where Python handles no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number, frame):
        if number == signal.SIGINT and _is_asked_to_stop.is_set():
            raise KeyboardInterrupt
        _is_asked_to_stop.set()

    _is_asked_to_stop.clear()
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _agree_to_stop(run: Run) -> bool:
    """Whether any process was asked to stop; all get the same answer.

    Several processes learn the answer of the step before: the present one's would wait for the accelerator.
    """
    if run.accelerator.num_processes == 1:
        return _is_asked_to_stop.is_set()
    asked = torch.tensor(float(_is_asked_to_stop.is_set()), device=run.accelerator.device)
    counted = run.accelerator.reduce(asked, "sum").to("cpu", non_blocking=True)
    arrival = torch.cuda.Event() if asked.is_cuda else None
    if arrival is not None:
        arrival.record()
    (votes, has_arrived), run.votes = run.votes, (counted, arrival)
    if has_arrived is not None:
        has_arrived.synchronize()
    return votes.item() > 0


def stop(run: Run, step: int) -> None:
    """End a run whose state was just saved.

    Raises:
        StoppedError: always; the command line exits with 143, so that a scheduler starts the job again.
    """
    run.accelerator.wait_for_everyone()
    raise StoppedError(
        f"{run.word}: asked to stop, after step {step + 1} of {len(run.plan)}; its state is saved in "
        f"{run.run_dir}, and the same command resumes there."
    )


# ---- what a device must have --------------------------------------------------------------------


def prepare_device(device: torch.device) -> None:
    """Let a GPU multiply float32 as TF32 and try out which convolution is fastest for a shape.

    Shapes are fixed here, so that is tried once. CPUs keep all their bits: nothing changes there.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True


def arrange_channels(net: Net, device: torch.device) -> Net:
    """On a GPU, a network whose 3-D kernels lie channels last, as tensor cores take them."""
    return net.to(memory_format=torch.channels_last_3d) if device.type == "cuda" else net


def check_cudnn(net: nn.Module, options: OptimiserSettings, device: torch.device) -> None:
    """Refuse convolutions in bfloat16 on releases of cuDNN in which they are slow, hungry or wrong.

    Reported of cuDNN 9.10.2 with torch 2.9, three-dimensional convolutions in bfloat16; fixed in 9.15.

    Raises:
        ConfigurationError: what was found, and what to install.
    """
    has_convolutions = any(isinstance(module, nn.Conv3d) for module in net.modules())
    if device.type != "cuda" or not has_convolutions or not uses_bfloat16(device, options):
        return
    version = torch.backends.cudnn.version() or 0
    if 91000 <= version < 91500:
        raise ConfigurationError(
            f"cuDNN {version // 10000}.{version // 100 % 100}.{version % 100} computes 3-D convolutions in "
            "bfloat16 slowly or wrongly; install cuDNN 9.15 or newer (a newer torch brings it), or set "
            "precision: float32."
        )
