"""Train the masked autoencoder on the training split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.contracts import read_table, write_table
from braing3n.pretrain import STAGE_VERSION
from braing3n.pretrain.baselines import fit_baselines, measure_baselines
from braing3n.pretrain.contracts import MASKED_LOSS
from braing3n.pretrain.masks import draw_noise, draw_validation_noise
from braing3n.pretrain.model import MaskedAutoencoder, patchify
from braing3n.pretrain.settings import PretrainSettings
from braing3n.pretrain.verdict import add_encoder, find_fault


def train_encoder(
    volumes: training.Volumes,
    settings: PretrainSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: Sequence[Path | str],
    n_workers: int = 1,
    picture_path: Path | None = None,
    table_path: Path | None = None,
) -> None:
    """Train, or resume training, and write the weights.

    inputs say what is trained on, see `training.open_run_dir`: with the settings they name the run's folder
    in checkpoints_dir, where a killed run finds its checkpoint.
    picture_path, where given, becomes the loss curve, and table_path the last validation loss beside what
    baselines reach on the same hidden patches.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    outputs = {
        "loss.png": picture_path,
        "masked_loss.parquet": table_path,
        "weights.safetensors": weights_path,
    }
    training.train_once(
        lambda run_dir: _train(volumes, settings, run_dir, n_workers),
        outputs,
        checkpoints_dir,
        "pretrain",
        STAGE_VERSION,
        settings,
        inputs,
    )


def _train(volumes: training.Volumes, settings: PretrainSettings, run_dir: Path, n_workers: int) -> None:
    options, seed = settings.optimiser, settings.seed
    run = training.plan_run("pretrain", run_dir, volumes.table, options, seed)
    torch.manual_seed(seed)
    net = MaskedAutoencoder(settings, volumes.shape).to(run.device)
    training.recompute_activations([*net.blocks, *net.decoder_blocks], options)
    training.compile_blocks([*net.blocks, *net.decoder_blocks], options)
    encoder = (net.embed, *net.blocks, net.norm)
    optimiser = training.build_optimiser(net, options, encoder, settings.encoder_lr_scale)
    if settings.offset != "none":
        net.mean_image.copy_(average_targets(run, net, volumes))
    if settings.offset == "principal_images":
        net.principal_images.copy_(torch.from_numpy(fit_baselines(run, net, volumes).principal_images))
    training.resume_run(run, {"model": net, "optimiser": optimiser})
    model, optimiser = run.accelerator.prepare(net, optimiser)

    def fill_in(volume: Tensor, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Volumes with what stays visible, and with the rest filled in by the model."""
        return net.fill_in(volume, draw_validation_noise(rows, net.n_tokens, seed).to(run.device))

    def validate(step: int) -> None:
        note_baselines(run, net, volumes)
        training.note_validation(run, step, measure_loss(run, net, volumes, settings), net)
        training.draw_examples(run, step, volumes, fill_in)

    batches = training.load_batches(volumes, run.own_batches, n_workers, run.device)
    for step, volume in training.take_steps(run, batches, validate):
        noise = draw_noise(len(run.plan[step]), net.n_tokens, seed, "mask", step)[run.own]
        noise = training.send(noise, run.device)
        for share, images, chances in training.accumulate(run, model, volume, noise):
            with training.autocast(run.device, options):
                loss = share * model(images, chances)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
    if run.is_main:
        _tabulate(run)
    training.finish(run, net)


@torch.no_grad()
def average_targets(run: training.Run, net: MaskedAutoencoder, volumes: training.Volumes) -> Tensor:
    """The training split's mean target of each place, (N, voxels)."""
    rows = training.find_rows(volumes.table, "train")
    total = torch.zeros(net.n_tokens, net.settings.patch_size**3, dtype=torch.float64)
    batches = training.cut_batches(rows, run.options.batch_size)
    for volume in training.load_batches(volumes, batches):
        total += net.make_target(patchify(volume, net.settings.patch_size)).sum(dim=0, dtype=torch.float64)
    return (total / len(rows)).float()


def note_baselines(run: training.Run, net: MaskedAutoencoder, volumes: training.Volumes) -> None:
    """Measure the baselines, once a run, and let them stand beside every validation loss."""
    if not run.is_main or run.baselines:
        return
    path = run.run_dir / "baselines.parquet"
    if not path.exists():
        write_table(measure_baselines(run, net, volumes), path, MASKED_LOSS)
    table = read_table(path, MASKED_LOSS)
    run.baselines = dict(zip(table["predictor"], table["loss"], strict=True))


def _tabulate(run: training.Run) -> None:
    """The baselines and the encoder in one table; print where nothing was learned."""
    n_volumes = len({row for batch in run.plan for row in batch})
    table = read_table(run.run_dir / "baselines.parquet", MASKED_LOSS)
    table = add_encoder(table, run.validation[len(run.plan)], n_volumes)
    write_table(table, run.run_dir / "masked_loss.parquet", MASKED_LOSS)
    if fault := find_fault(table):
        print(f"pretrain: {fault}", file=sys.stderr, flush=True)


@torch.no_grad()
def measure_loss(
    run: training.Run, net: MaskedAutoencoder, volumes: training.Volumes, settings: PretrainSettings
) -> float:
    """The loss over the validation split, always with the same masks; NaN where the split is empty."""
    rows = training.find_rows(volumes.table, "validation")
    batches = training.share_batches(run, rows)
    total = 0.0
    for batch, volume in zip(
        batches, training.load_batches(volumes, batches, device=run.device), strict=True
    ):
        noise = draw_validation_noise(batch, net.n_tokens, settings.seed).to(run.device)
        with training.autocast(run.device, settings.optimiser):
            total += net(volume, noise).item() * len(batch)
    return training.add_up(run, total) / len(rows) if len(rows) else float("nan")
