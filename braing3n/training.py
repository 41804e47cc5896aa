"""What the training loops share: data order, schedule, checkpoints, weight files, loss curves.

All that is random in step `n` follows from (seed, n), so a run that was killed and goes on from its
last checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from braing3n.config import OptimiserSettings, Settings
from braing3n.errors import BrainG3nError, CheckpointError, ConfigurationError
from braing3n.runtime import digest_file, digest_text, write_atomically

CHECK_EVERY_STEPS = 10  # losses are looked at so often: each look waits for the accelerator


class Volumes(Protocol):
    """What a loop reads: `braing3n.volumes.dataset.PackedVolumes`, or a test's own."""

    table: pd.DataFrame

    def __len__(self) -> int: ...

    def load(self, i: int) -> tuple[np.ndarray, np.ndarray]: ...


class _Images(Dataset):
    """Volumes as tensors (1, D, H, W)."""

    def __init__(self, volumes: Volumes):
        self.volumes = volumes

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, row: int) -> Tensor:
        return torch.from_numpy(self.volumes.load(int(row))[0])[None]


def load_batches(volumes: Volumes, batches: list[np.ndarray], n_workers: int = 0) -> DataLoader:
    """The volumes (B, 1, D, H, W) of each batch of rows, in order."""
    return DataLoader(_Images(volumes), batch_sampler=batches, num_workers=n_workers)


def cut_batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows in their order, `size` at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def find_rows(table: pd.DataFrame, split: str) -> np.ndarray:
    """The row numbers of one split."""
    return np.flatnonzero((table["split"] == split).to_numpy())


def make_generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose stream is a function of the key alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def plan_batches(
    rows: np.ndarray, options: OptimiserSettings, seed: int, n_ranks: int = 1
) -> list[np.ndarray]:
    """The rows of every step's batch, all epochs after one another.

    Each epoch is a new order of all rows, a function of (seed, epoch); rows that do not fill a batch
    wait for the next epoch. Fewer rows than a batch make one smaller batch. Of n_ranks processes,
    each takes its equal share of every batch.

    Raises:
        ConfigurationError: there is nothing to train on.
    """
    if len(rows) == 0:
        raise ConfigurationError("the training split is empty; give more subjects or other split fractions.")
    size = min(options.batch_size, len(rows)) // n_ranks * n_ranks
    if size == 0:
        raise ConfigurationError(f"a batch of {len(rows)} volumes cannot be shared by {n_ranks} processes.")
    plan = []
    for epoch in range(options.n_epochs):
        order = torch.randperm(len(rows), generator=make_generator(seed, "order", epoch)).numpy()
        plan += [rows[order[start : start + size]] for start in range(0, len(rows) - size + 1, size)]
    return plan


def compute_learning_rate(step: int, n_steps: int, options: OptimiserSettings) -> float:
    """Linear warm-up to the peak, then half a cosine to 0 at the last step."""
    n_warmup = n_steps * options.n_warmup_epochs // options.n_epochs
    if step < n_warmup:
        return options.lr * (step + 1) / n_warmup
    return options.lr * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(1, n_steps - n_warmup)))


class Due(NamedTuple):
    """What is to be done after a step."""

    check: bool
    validate: bool
    save: bool


def find_due(step: int, n_steps: int, options: OptimiserSettings) -> Due:
    """Whether losses are checked, validated or saved after this step (counted from 0)."""
    n_done, is_last = step + 1, step + 1 == n_steps
    every = n_steps // options.n_epochs * options.validate_every_epochs
    validate = is_last or n_done % every == 0
    save = is_last or n_done % options.checkpoint_every_steps == 0
    return Due(validate or save or n_done % CHECK_EVERY_STEPS == 0, validate, save)


def build_optimiser(model: nn.Module, options: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases, norms and other vectors."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.lr, betas=options.betas, fused=True)


def update(optimiser: torch.optim.Optimizer, model: nn.Module, rate: float, clip: float) -> None:
    """One step down the gradients that lie in the model, which are cleared."""
    if clip > 0:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def autocast(device: torch.device, options: OptimiserSettings) -> torch.autocast:
    """The configured precision; float32 leaves everything as it is."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bfloat16")


def check_losses(losses: Tensor, step: int, plan: list[np.ndarray], ids: np.ndarray) -> None:
    """Stop at the first loss up to `step` that is not a number.

    Raises:
        BrainG3nError: names the step and the volumes of its batch.
    """
    bad = (~torch.isfinite(losses[: step + 1])).nonzero()
    if len(bad):
        first = int(bad[0])
        names = ", ".join(str(ids[row]) for row in plan[first])
        raise BrainG3nError(
            f"training: the loss of step {first} is not a number; its batch was {names}. "
            "Look at these volumes, or lower the learning rate; no weights were written for it."
        )


# ---- where a run lies -------------------------------------------------------------------------------


@contextmanager
def open_run(
    checkpoints_dir: Path, word: str, version: int, settings: Settings, inputs: list[Path]
) -> Iterator[Path]:
    """The folder of the run that these settings and these inputs' bytes make, held by a file lock.

    The lock waits for the orphan of a killed workflow, which may still be training the same run.
    """
    from filelock import FileLock

    parts = [word, version, settings.as_json(), *(digest_file(path) for path in inputs)]
    run_dir = Path(checkpoints_dir) / digest_text(json.dumps(parts))[:16]
    run_dir.mkdir(parents=True, exist_ok=True)
    rank = os.environ.get("RANK", "0")  # under torchrun each process holds its own lock
    with FileLock(run_dir / f"lock-{rank}"):
        yield run_dir


Parts = dict[str, nn.Module | torch.optim.Optimizer]


def save(run_dir: Path, n_done: int, parts: Parts, losses: Tensor, validation: dict[int, float]) -> None:
    """Write `step-<n>.safetensors` after n_done steps, atomically; it and the one before it are kept."""
    record = {"n_done": n_done, "validation": {str(step): loss for step, loss in validation.items()}}
    state = {"losses": losses}
    for name, part in parts.items():
        state |= {f"{name}.{key}": value for key, value in _list_state(part).items()}
    write_weights(run_dir / f"step-{n_done:08d}.safetensors", state, "checkpoint", record)
    for old in sorted(run_dir.glob("step-*.safetensors"))[:-2]:
        old.unlink()
    write_history(run_dir, losses, validation, n_done)


def resume(
    run_dir: Path, n_steps: int, parts: Parts, device: torch.device
) -> tuple[Tensor, dict[int, float], int]:
    """Bring modules and optimisers to the newest checkpoint's state, where the run has one.

    Returns the losses (n_steps,), the validation losses by steps done, and the steps done.
    """
    paths = sorted(run_dir.glob("step-*.safetensors"))
    if not paths:
        return torch.zeros(n_steps, device=device), {}, 0
    state, record = read_weights(paths[-1], "checkpoint")
    for name, part in parts.items():
        own = {
            key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")
        }
        if isinstance(part, torch.optim.Optimizer):
            _restore_optimiser(part, own)
        else:
            load_weights(part, own, paths[-1])
    validation = {int(step): loss for step, loss in record["validation"].items()}
    return state["losses"].to(device), validation, record["n_done"]


def _list_state(part: nn.Module | torch.optim.Optimizer) -> dict[str, Tensor]:
    """A module's tensors, or an optimiser's as `<parameter>.<name>`."""
    if isinstance(part, nn.Module):
        return part.state_dict()
    slots = part.state_dict()["state"]
    return {f"{i}.{name}": value for i, slot in slots.items() for name, value in slot.items()}


def _restore_optimiser(optimiser: torch.optim.Optimizer, slots: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in slots.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


# ---- weight files -----------------------------------------------------------------------------------


def write_weights(path: Path, tensors: dict[str, Tensor], model: str, record: dict[str, Any]) -> None:
    """A safetensors file whose metadata hold the model's name and record; equal content, equal bytes."""
    from safetensors.torch import save_file

    metadata = {"braing3n": json.dumps({"model": model, **record}, sort_keys=True)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with write_atomically(path) as beside:
        save_file(tensors, str(beside), metadata)


def read_weights(path: Path, model: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a weight file that holds this model.

    Raises:
        CheckpointError: no such file, no safetensors, or another model's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("braing3n", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error}); train it again.") from None
    if metadata.get("model") != model:
        raise CheckpointError(f"{path}: holds {metadata.get('model', 'no model of ours')}, not {model}.")
    return tensors, metadata


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load every tensor of a model, and nothing else.

    Raises:
        CheckpointError: one sentence that lists the missing, unexpected and misshapen names.
    """
    wanted = model.state_dict()
    faults = {
        "missing": sorted(set(wanted) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(wanted)),
        "of another shape": sorted(
            name for name in set(wanted) & set(tensors) if wanted[name].shape != tensors[name].shape
        ),
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {_shorten(names)}" for kind, names in faults.items() if names)
        raise CheckpointError(f"{path}: does not fit {type(model).__name__} ({listed}).")
    model.load_state_dict(tensors)


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def count_workers(n_threads: int) -> int:
    """Loader processes: beside an accelerator all threads but one, on a CPU none (the loop has the cores)."""
    return max(0, n_threads - 1) if torch.cuda.is_available() else 0


def publish(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where they lie on different devices."""
    with write_atomically(target) as beside:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)


# ---- what a run tells -------------------------------------------------------------------------------


def report(word: str, n_done: int, loss: Tensor, validation: float) -> None:
    """One line on the error stream, above the progress bar."""
    text = f"{word}: step {n_done}, loss {loss.item():.4f}, validation loss {validation:.4f}"
    print(text, file=sys.stderr, flush=True)


def finish(
    run_dir: Path, n_done: int, model: nn.Module, record: dict, losses: Tensor, validation: dict[int, float]
) -> None:
    """Write the loss curve and, last, the weights: that they are there says that the run is done."""
    losses = losses[:n_done].cpu()
    write_history(run_dir, losses, validation, n_done)
    plot_history(run_dir, losses, validation)
    write_weights(run_dir / "weights.safetensors", model.state_dict(), type(model).__name__, record)


def write_history(run_dir: Path, losses: Tensor, validation: dict[int, float], n_done: int) -> None:
    """`loss.csv` (step, loss, validation_loss) of the steps done so far."""
    with write_atomically(run_dir / "loss.csv") as beside, beside.open("w") as file:
        file.write("step,loss,validation_loss\n")
        for step, loss in enumerate(losses[:n_done].tolist(), start=1):
            file.write(f"{step},{loss:.6g},{validation.get(step, float('nan')):.6g}\n".replace("nan", ""))


def plot_history(run_dir: Path, losses: Tensor, validation: dict[int, float]) -> None:
    """`loss.png`: the loss of each step and the validation loss."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(range(1, len(losses) + 1), losses.tolist(), color="0.7", linewidth=0.8, label="training")
    if validation:
        axes.plot(list(validation), list(validation.values()), "o-", markersize=3, label="validation")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    with write_atomically(run_dir / "loss.png") as beside:
        figure.savefig(beside, dpi=120, metadata={"Software": None})
    plt.close(figure)
