"""Train a baseline tokenizer on the training split, and keep the best by validation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional

from braing3n import training
from braing3n.sweep import STAGE_VERSION
from braing3n.sweep.baseline import Baseline
from braing3n.sweep.baselines import BaselineSettings
from braing3n.tokenizer.train import measure_loss


def train_baseline(
    name: str,
    volumes: training.Volumes,
    settings: BaselineSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: Sequence[Path | str],
    n_workers: int = 1,
) -> None:
    """Train for optimiser.n_epochs, or resume training, and write the weights with the best validation L1.

    inputs say what is trained on, see `training.open_run_dir`.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    training.train_once(
        lambda run_dir: _train(name, volumes, settings, run_dir, n_workers),
        {"weights.safetensors": weights_path},
        checkpoints_dir,
        name,
        STAGE_VERSION,
        settings,
        inputs,
    )


def _train(
    name: str, volumes: training.Volumes, settings: BaselineSettings, run_dir: Path, n_workers: int
) -> None:
    options, seed = settings.optimiser, settings.seed
    run = training.plan_run(name, run_dir, volumes.table, options, seed)
    torch.manual_seed(seed)
    net = Baseline(name, settings, volumes.shape).to(run.device)
    best = copy.deepcopy(net).requires_grad_(False)
    training.recompute_activations(net.list_blocks(), options)
    training.compile_blocks(net.list_blocks(), options)
    optimiser = training.build_optimiser(net, options)
    training.resume_run(run, {"model": net, "best": best, "optimiser": optimiser})
    if run.n_done == 0:
        run.validation[0] = measure_loss(run, volumes, net.reconstruct, functional.l1_loss)
    model, optimiser = run.accelerator.prepare(net, optimiser)

    def validate(step: int) -> None:
        error = measure_loss(run, volumes, net.reconstruct, functional.l1_loss)
        if training.note_validation(run, step, error, net):
            best.load_state_dict(net.state_dict())
        training.draw_examples(run, step, volumes, lambda volume, _: (net.reconstruct(volume),))

    batches = training.load_batches(volumes, run.own_batches, n_workers, run.device)
    for step, volume in training.take_steps(run, batches, validate, settings.patience):
        generator = training.make_generator(seed, "latent", step)
        noise = torch.randn(len(run.plan[step]), *net.latent_shape, generator=generator)[run.own]
        noise = training.send(noise, run.device)
        for share, images, part in training.accumulate(run, model, volume, noise):
            with training.autocast(run.device, options):
                reconstruction, penalty = model(images, part)
            loss = share * (functional.l1_loss(reconstruction.float(), images) + penalty)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
    training.finish(run, best, n_done=max(run.validation))
