"""Train projection and decoder on a frozen encoder, and keep the best by validation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from braing3n import training
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer import STAGE_VERSION
from braing3n.tokenizer.initial_weights import initialise_from_components
from braing3n.tokenizer.measure import Reconstruct
from braing3n.tokenizer.model import Tokenizer
from braing3n.tokenizer.settings import TokenizerSettings

ERRORS = {"l1": functional.l1_loss, "l2": functional.mse_loss}


def train_tokenizer(
    volumes: training.Volumes,
    encoder: MaskedAutoencoder,
    settings: TokenizerSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: Sequence[Path | str],
    n_workers: int = 1,
) -> None:
    """Train, or resume training, and write the weights with the best validation loss.

    inputs say what is trained on, see `training.open_run_dir`.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    training.train_once(
        lambda run_dir: _train(volumes, encoder, settings, run_dir, n_workers),
        {"weights.safetensors": weights_path},
        checkpoints_dir,
        "tokenizer",
        STAGE_VERSION,
        settings,
        inputs,
    )


def _train(
    volumes: training.Volumes,
    encoder: MaskedAutoencoder,
    settings: TokenizerSettings,
    run_dir: Path,
    n_workers: int,
) -> None:
    options, compute_error = settings.optimiser, ERRORS[settings.loss]
    run = training.plan_run("tokenizer", run_dir, volumes.table, options, settings.seed)
    torch.manual_seed(settings.seed)
    encoder = encoder.to(run.device)
    net = Tokenizer(settings, encoder.settings.width, encoder.settings.patch_size, encoder.grid)
    net = training.arrange_channels(net.to(run.device), run.device)
    best = copy.deepcopy(net).requires_grad_(False)
    training.recompute_activations(net.cnn.layers, options)
    training.compile_blocks(net.cnn.layers, options)
    optimiser = training.build_optimiser(net, options)
    training.resume_run(run, {"model": net, "best": best, "optimiser": optimiser})

    def reconstruct(volume: Tensor) -> Tensor:
        return net(encoder.encode(volume))

    def validate(step: int) -> None:
        error = measure_loss(run, volumes, reconstruct, compute_error)
        if training.note_validation(run, step, error, net):
            best.load_state_dict(net.state_dict())
        training.draw_examples(run, step, volumes, lambda volume, _: (reconstruct(volume),))

    if run.n_done == 0:
        initialise_from_components(net, encoder, volumes, options.batch_size, run.device)
        run.validation[0] = measure_loss(run, volumes, reconstruct, compute_error)
        best.load_state_dict(net.state_dict())
    model, optimiser = run.accelerator.prepare(net, optimiser)

    batches = training.load_batches(volumes, run.own_batches, n_workers, run.device)
    for step, volume in training.take_steps(run, batches, validate, settings.patience):
        for share, images in training.accumulate(run, model, volume):
            with training.autocast(run.device, options):
                with torch.no_grad():
                    features = encoder.encode(images)
                reconstruction = model(features)
            loss = share * compute_error(reconstruction.float(), images)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
    training.finish(run, best, n_done=max(run.validation))


@torch.no_grad()
def measure_loss(
    run: training.Run,
    volumes: training.Volumes,
    reconstruct: Reconstruct,
    compute_error: Callable[[Tensor, Tensor], Tensor],
) -> float:
    """The mean error of `reconstruct` over the validation split's voxels.

    Without a validation split it is the training split's, since training cannot be stopped by nothing.
    """
    rows = training.find_rows(volumes.table, "validation")
    rows = rows if len(rows) else training.find_rows(volumes.table, "train")
    batches = training.share_batches(run, rows)
    total = 0.0
    for volume in training.load_batches(volumes, batches, device=run.device):
        with training.autocast(run.device, run.options):
            image = reconstruct(volume)
        total += compute_error(image.float(), volume).item() * len(volume)
    return training.add_up(run, total) / len(rows)
