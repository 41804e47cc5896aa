"""Train the masked autoencoder on the training split."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from braing3n import training
from braing3n.config import PretrainSettings
from braing3n.pretrain import STAGE_VERSION
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.runtime import track


def train_encoder(
    volumes: training.Volumes,
    settings: PretrainSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: list[Path],
    n_workers: int = 0,
    picture_path: Path | None = None,
) -> None:
    """Train, or go on training, and write the weights.

    inputs are the files whose bytes say what is trained on (the volume list, the packed indices): with
    the settings they name the run's folder in checkpoints_dir, where a killed run finds its checkpoint.
    picture_path, where given, becomes the loss curve.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    with training.open_run(checkpoints_dir, "pretrain", STAGE_VERSION, settings, inputs) as run_dir:
        done_path = run_dir / "weights.safetensors"
        if not done_path.exists():
            _train(volumes, settings, run_dir, n_workers)
        if Accelerator().is_main_process:
            if picture_path:
                training.publish(run_dir / "loss.png", picture_path)
            training.publish(done_path, weights_path)


def _train(volumes: training.Volumes, settings: PretrainSettings, run_dir: Path, n_workers: int) -> None:
    accelerator, options = Accelerator(), settings.optimiser
    device, rank, n_ranks = accelerator.device, accelerator.process_index, accelerator.num_processes
    ids = volumes.table["volume_id"].to_numpy()
    plan = training.plan_batches(training.find_rows(volumes.table, "train"), options, settings.seed, n_ranks)

    torch.manual_seed(settings.seed)
    net = MaskedAutoencoder(settings, volumes.load(0)[0].shape).to(device)
    optimiser = training.build_optimiser(net, options)
    parts = {"model": net, "optimiser": optimiser}
    losses, validation, start = training.resume(run_dir, len(plan), parts, device)
    model, optimiser = accelerator.prepare(net, optimiser)

    batches = training.load_batches(volumes, [rows[rank::n_ranks] for rows in plan[start:]], n_workers)
    for step, volume in enumerate(track(batches, "pretrain: steps", len(plan) - start), start):
        noise = _draw_noise(len(plan[step]), net.n_tokens, settings.seed, "mask", step)[rank::n_ranks]
        with training.autocast(device, options):
            loss = model(volume.to(device), noise.to(device))
        accelerator.backward(loss)
        rate = training.compute_learning_rate(step, len(plan), options)
        training.update(optimiser, model, rate, options.gradient_clip)
        losses[step] = loss.detach()

        due = training.find_due(step, len(plan), options)
        if due.check:
            training.check_losses(accelerator.reduce(losses, "mean"), step, plan, ids)
        if due.validate and accelerator.is_main_process:
            validation[step + 1] = measure_loss(net, volumes, settings, device)
            training.report("pretrain", step + 1, loss, validation[step + 1])
        if due.save and accelerator.is_main_process:
            training.save(run_dir, step + 1, parts, losses, validation)

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        training.finish(run_dir, len(plan), net, net.describe(), losses, validation)
    accelerator.wait_for_everyone()


@torch.no_grad()
def measure_loss(
    net: MaskedAutoencoder, volumes: training.Volumes, settings: PretrainSettings, device: torch.device
) -> float:
    """The loss over the validation split, always with the same masks; NaN where the split is empty."""
    rows = training.find_rows(volumes.table, "validation")
    total = 0.0
    for i, batch in enumerate(training.cut_batches(rows, settings.optimiser.batch_size)):
        volume = next(iter(training.load_batches(volumes, [batch]))).to(device)
        noise = _draw_noise(len(batch), net.n_tokens, settings.seed, "validation", i).to(device)
        with training.autocast(device, settings.optimiser):
            total += net(volume, noise).item() * len(batch)
    return total / len(rows) if len(rows) else float("nan")


def _draw_noise(n_volumes: int, n_tokens: int, *key: int | str) -> Tensor:
    """What decides which patches stay visible: uniform (n_volumes, n_tokens), a function of the key."""
    return torch.rand(n_volumes, n_tokens, generator=training.make_generator(*key))
