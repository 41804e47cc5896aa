"""What a run reports while it trains: losses as CSV, curve and TensorBoard events, example volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from braing3n.core.runtime import write_atomically
from braing3n.training.batches import Volumes, find_rows, load_batches
from braing3n.training.picture import cut_planes
from braing3n.training.steps import autocast

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

    from braing3n.training.runs import Run


def open_writer(run_dir: Path, n_done: int) -> SummaryWriter:
    """Writes `tensorboard/` of a run; what a killed process logged after n_done steps is shown no more."""
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(run_dir / "tensorboard"), purge_step=n_done + 1)


def write_history(run_dir: Path, losses: Tensor, validation: dict[int, float], n_done: int) -> None:
    """`loss.csv` (step, loss, validation_loss) of the steps done so far."""
    with write_atomically(run_dir / "loss.csv") as beside, beside.open("w") as file:
        file.write("step,loss,validation_loss\n")
        for step, loss in enumerate(losses[:n_done].tolist(), start=1):
            file.write(f"{step},{loss:.6g},{validation.get(step, float('nan')):.6g}\n".replace("nan", ""))


def plot_history(
    run_dir: Path, losses: Tensor, validation: dict[int, float], baselines: dict[str, float] | None = None
) -> None:
    """`loss.png`: the loss of each step and the validation loss, and what baselines reach in its place."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(range(1, len(losses) + 1), losses.tolist(), color="0.7", linewidth=0.8, label="training")
    if validation:
        axes.plot(list(validation), list(validation.values()), "o-", markersize=3, label="validation")
    for i, (name, value) in enumerate((baselines or {}).items(), start=1):
        axes.axhline(value, color=f"C{i}", linewidth=0.8, linestyle="--", label=name.replace("_", " "))
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    with write_atomically(run_dir / "loss.png") as beside:
        figure.savefig(beside, dpi=120, metadata={"Software": None})
    plt.close(figure)


@torch.no_grad()
def draw_examples(
    run: Run, step: int, volumes: Volumes, show: Callable[[Tensor, np.ndarray], tuple[Tensor, ...]]
) -> None:
    """`examples.png`, and the same among TensorBoard's images: up to two validation volumes, in z units.

    show gives, for volumes (B, 1, D, H, W) and their rows, batches of the same shape, which stand below each
    volume. Each has the middle axial, coronal and sagittal plane, -3 to 3 deviations as grey levels.
    """
    from PIL import Image

    drawn = find_rows(volumes.table, "validation")[:2]
    if run.writer is None or not len(drawn):
        return
    volume = next(load_batches(volumes, [drawn], device=run.device))
    with autocast(run.device, run.options):
        images = volume, *show(volume, drawn)
    rows = [cut_planes(image[i, 0].float().cpu().numpy()) for i in range(len(drawn)) for image in images]
    height = max(plane.shape[0] for plane in rows[0])
    lines = [
        np.hstack([np.pad(plane, ((0, height - len(plane)), (0, 1)), constant_values=-3) for plane in row])
        for row in rows
    ]
    grey = ((np.nan_to_num(np.vstack(lines)).clip(-3, 3) + 3) * (255 / 6)).astype(np.uint8)
    with write_atomically(run.run_dir / "examples.png") as beside:
        Image.fromarray(grey).save(beside)
    run.writer.add_image("examples", grey, step + 1, dataformats="HW")
