"""Train projection and decoder on a frozen encoder, and keep the best by validation."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.nn import functional

from braing3n import training
from braing3n.config import OptimiserSettings, TokenizerSettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.runtime import track
from braing3n.tokenizer import STAGE_VERSION
from braing3n.tokenizer.model import Tokenizer
from braing3n.tokenizer.start import start_from_components


def train_tokenizer(
    volumes: training.Volumes,
    encoder: MaskedAutoencoder,
    settings: TokenizerSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: list[Path],
    n_workers: int = 0,
) -> None:
    """Train, or go on training, and write the weights with the best validation L1.

    inputs are the files whose bytes say what is trained on: encoder, volume list, packed indices.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    with training.open_run(checkpoints_dir, "tokenizer", STAGE_VERSION, settings, inputs) as run_dir:
        done_path = run_dir / "weights.safetensors"
        if not done_path.exists():
            _train(volumes, encoder, settings, run_dir, n_workers)
        if Accelerator().is_main_process:
            training.publish(done_path, weights_path)


def _train(
    volumes: training.Volumes,
    encoder: MaskedAutoencoder,
    settings: TokenizerSettings,
    run_dir: Path,
    n_workers: int,
) -> None:
    accelerator, options = Accelerator(), settings.optimiser
    device, rank, n_ranks = accelerator.device, accelerator.process_index, accelerator.num_processes
    ids = volumes.table["volume_id"].to_numpy()
    plan = training.plan_batches(training.find_rows(volumes.table, "train"), options, settings.seed, n_ranks)

    torch.manual_seed(settings.seed)
    encoder = encoder.to(device)
    net = Tokenizer(settings, encoder.settings.width, encoder.settings.patch_size, encoder.grid).to(device)
    best = copy.deepcopy(net).requires_grad_(False)
    optimiser = training.build_optimiser(net, options)
    parts = {"model": net, "best": best, "optimiser": optimiser}
    losses, validation, start = training.resume(run_dir, len(plan), parts, device)
    if start == 0:
        start_from_components(net, encoder, volumes, options.batch_size, device)
        validation[0] = measure_l1(net, encoder, volumes, options)
        best.load_state_dict(net.state_dict())
    model, optimiser = accelerator.prepare(net, optimiser)

    batches = training.load_batches(volumes, [rows[rank::n_ranks] for rows in plan[start:]], n_workers)
    for step, volume in enumerate(track(batches, "tokenizer: steps", len(plan) - start), start):
        if has_stalled(validation, len(plan) // options.n_epochs, settings.patience):
            break
        volume = volume.to(device)
        with training.autocast(device, options):
            with torch.no_grad():
                features = encoder.encode(volume)
            image = model(features)
        loss = functional.l1_loss(image.float(), volume)
        accelerator.backward(loss)
        rate = training.compute_learning_rate(step, len(plan), options)
        training.update(optimiser, model, rate, options.gradient_clip)
        losses[step] = loss.detach()

        due = training.find_due(step, len(plan), options)
        if due.check:
            training.check_losses(accelerator.reduce(losses, "mean"), step, plan, ids)
        if due.validate:  # on every process, since each must know when to stop
            validation[step + 1] = measure_l1(net, encoder, volumes, options)
            if validation[step + 1] <= min(validation.values()):
                best.load_state_dict(net.state_dict())
            training.report("tokenizer", step + 1, loss, validation[step + 1])
        if due.save and accelerator.is_main_process:
            training.save(run_dir, step + 1, parts, losses, validation)

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        training.finish(run_dir, max(validation), best, best.describe(), losses, validation)
    accelerator.wait_for_everyone()


def has_stalled(validation: dict[int, float], steps_an_epoch: int, patience: int) -> bool:
    """Whether the best validation loss is `patience` epochs old; validation: steps done -> loss."""
    best = min(validation, key=lambda step: (validation[step], -step))
    return max(validation) - best >= patience * steps_an_epoch


@torch.no_grad()
def measure_l1(
    net: Tokenizer, encoder: MaskedAutoencoder, volumes: training.Volumes, options: OptimiserSettings
) -> float:
    """The mean absolute error over the validation split's voxels.

    Without a validation split it is the training split's, since training cannot be stopped by nothing.
    """
    rows = training.find_rows(volumes.table, "validation")
    rows = rows if len(rows) else training.find_rows(volumes.table, "train")
    device = net.project.weight.device
    total = 0.0
    for batch in training.cut_batches(rows, options.batch_size):
        volume = next(iter(training.load_batches(volumes, [batch]))).to(device)
        with training.autocast(device, options):
            image = net(encoder.encode(volume))
        total += functional.l1_loss(image.float(), volume).item() * len(batch)
    return total / len(rows)
