"""Train the conditional DiT on the training split's tokens."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional

from braing3n import training
from braing3n.config import DiffusionSettings, OptimiserSettings
from braing3n.diffusion import STAGE_VERSION
from braing3n.diffusion.conditions import build_vocabularies, drop_conditions, read_conditions
from braing3n.diffusion.model import DiT
from braing3n.errors import ContractError
from braing3n.runtime import track


@dataclass
class Latents:
    """What the DiT learns from: tokens (N, T, d) float16, their grid, and a row of labels for each."""

    tokens: np.ndarray
    grid: tuple[int, int, int]
    labels: pd.DataFrame

    def __post_init__(self):
        if len(self.tokens) != len(self.labels) or self.tokens.shape[1] != np.prod(self.grid):
            raise ContractError(
                f"tokens {self.tokens.shape} do not belong to {len(self.labels)} labelled volumes on a grid "
                f"of {self.grid}; rerun `latents` and `manifest`."
            )


def train_dit(
    latents: Latents,
    settings: DiffusionSettings,
    checkpoints_dir: Path,
    weights_path: Path,
    inputs: list[Path],
) -> None:
    """Train, or go on training, and write the averaged (EMA) weights.

    inputs are the files whose bytes say what is trained on: tokens, volume list, labels, tokenizer.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    with training.open_run(checkpoints_dir, "diffusion", STAGE_VERSION, settings, inputs) as run_dir:
        done_path = run_dir / "weights.safetensors"
        if not done_path.exists():
            _train(latents, settings, run_dir)
        if Accelerator().is_main_process:
            training.publish(done_path, weights_path)


def _train(latents: Latents, settings: DiffusionSettings, run_dir: Path) -> None:
    accelerator, options = Accelerator(), settings.optimiser
    device, rank, n_ranks = accelerator.device, accelerator.process_index, accelerator.num_processes
    labels, rows = latents.labels, training.find_rows(latents.labels, "train")
    ids = labels["volume_id"].to_numpy()
    plan = training.plan_batches(rows, options, settings.seed, n_ranks)

    torch.manual_seed(settings.seed)
    vocabularies = build_vocabularies(labels.iloc[rows], settings)
    net = DiT(settings, vocabularies, latents.tokens.shape[2], latents.grid)
    measure_tokens(net, latents.tokens, rows)
    net = net.to(device)
    tokens = torch.from_numpy(np.asarray(latents.tokens)).to(device)
    codes, age_years = (part.to(device) for part in vocabularies.encode(read_conditions(labels)))
    average = copy.deepcopy(net).requires_grad_(False)
    optimiser = training.build_optimiser(net, options)
    parts = {"model": net, "average": average, "optimiser": optimiser}
    losses, validation, start = training.resume(run_dir, len(plan), parts, device)
    model, optimiser = accelerator.prepare(net, optimiser)

    for step in track(range(start, len(plan)), "diffusion: steps"):
        own = torch.from_numpy(plan[step][rank::n_ranks]).to(device)
        noise, t, chance = (
            part[rank::n_ranks].to(device)
            for part in draw_noise(len(plan[step]), tokens.shape[1:], settings.seed, "flow", step)
        )
        given = drop_conditions(
            codes[own], age_years[own], net.nulls, chance, settings.condition_dropout, settings.joint_dropout
        )
        loss = compute_loss(model, standardise(net, tokens[own]), noise, t, *given, options)
        accelerator.backward(loss)
        rate = training.compute_learning_rate(step, len(plan), options)
        training.update(optimiser, model, rate, options.gradient_clip)
        update_average(average, net, step, settings.ema_decay)
        losses[step] = loss.detach()

        due = training.find_due(step, len(plan), options)
        if due.check:
            training.check_losses(accelerator.reduce(losses, "mean"), step, plan, ids)
        if due.validate and accelerator.is_main_process:
            validation[step + 1] = measure_loss(average, tokens, codes, age_years, labels, settings)
            training.report("diffusion", step + 1, loss, validation[step + 1])
        if due.save and accelerator.is_main_process:
            training.save(run_dir, step + 1, parts, losses, validation)

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        training.finish(run_dir, len(plan), average, net.describe(), losses, validation)
    accelerator.wait_for_everyone()


def compute_loss(
    model: nn.Module,
    data: Tensor,
    noise: Tensor,
    t: Tensor,
    codes: Tensor,
    age_years: Tensor,
    options: OptimiserSettings,
) -> Tensor:
    """Flow matching: the mean squared error of the velocity at x_t = (1 - t) noise + t data."""
    x = torch.lerp(noise, data, t[:, None, None])
    with training.autocast(data.device, options):
        velocity = model(x, t, codes, age_years)
    return functional.mse_loss(velocity.float(), data - noise)


def draw_noise(n: int, shape: tuple[int, int], *key: int | str) -> tuple[Tensor, Tensor, Tensor]:
    """Normal noise (n, T, d), uniform times (n,) and uniform chances (n, 6), functions of the key."""
    generator = training.make_generator(*key)
    noise = torch.randn(n, *shape, generator=generator)
    return noise, torch.rand(n, generator=generator), torch.rand(n, 6, generator=generator)


def measure_tokens(net: DiT, tokens: np.ndarray, rows: np.ndarray) -> None:
    """Set the model's token mean and deviation by channel from the rows trained on, in float64."""
    total, squares, n = 0.0, 0.0, len(rows) * tokens.shape[1]
    for batch in training.cut_batches(np.sort(rows), 256):
        part = tokens[batch].astype(np.float64)
        total, squares = total + part.sum(axis=(0, 1)), squares + (part**2).sum(axis=(0, 1))
    mean = total / n
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 1e-12))
    net.token_mean.copy_(torch.from_numpy(mean))
    net.token_deviation.copy_(torch.from_numpy(deviation))


def standardise(net: DiT, tokens: Tensor) -> Tensor:
    """Tokens to zero mean and unit variance by channel, float32."""
    return (tokens.float() - net.token_mean) / net.token_deviation


@torch.no_grad()
def update_average(average: DiT, net: DiT, step: int, ceiling: float) -> None:
    """Move the average towards the model, with decay min(ceiling, (1 + n) / (10 + n)) after n steps."""
    decay = min(ceiling, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


@torch.no_grad()
def measure_loss(
    net: DiT,
    tokens: Tensor,
    codes: Tensor,
    age_years: Tensor,
    labels: pd.DataFrame,
    settings: DiffusionSettings,
) -> float:
    """The validation split's loss, nothing dropped, always with the same noise; NaN where it is empty."""
    rows = training.find_rows(labels, "validation")
    total = 0.0
    for i, batch in enumerate(training.cut_batches(rows, settings.optimiser.batch_size)):
        noise, t, _ = draw_noise(len(batch), tokens.shape[1:], settings.seed, "validation", i)
        own = torch.from_numpy(batch).to(tokens.device)
        data = standardise(net, tokens[own])
        given = data, noise.to(data.device), t.to(data.device), codes[own], age_years[own]
        total += compute_loss(net, *given, settings.optimiser).item() * len(batch)
    return total / len(rows) if len(rows) else float("nan")
