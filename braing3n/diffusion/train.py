"""Train the conditional DiT on the training split's tokens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n import training
from braing3n.core.contracts import MODALITIES
from braing3n.core.errors import ContractError
from braing3n.core.settings import OptimiserSettings
from braing3n.diffusion import STAGE_VERSION
from braing3n.diffusion.conditions import build_vocabularies, drop_conditions, read_conditions
from braing3n.diffusion.model import DiT, shift_times
from braing3n.diffusion.settings import DiffusionSettings, Times


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
    inputs: Sequence[Path | str],
) -> None:
    """Train, or resume training, and write the averaged (EMA) weights.

    inputs say what is trained on, see `training.open_run_dir`.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    training.train_once(
        lambda run_dir: _train(latents, settings, run_dir),
        {"weights.safetensors": weights_path},
        checkpoints_dir,
        "diffusion",
        STAGE_VERSION,
        settings,
        inputs,
    )


def _train(latents: Latents, settings: DiffusionSettings, run_dir: Path) -> None:
    options, labels = settings.optimiser, latents.labels
    run = training.plan_run("diffusion", run_dir, labels, options, settings.seed)
    rows = training.find_rows(labels, "train")
    torch.manual_seed(settings.seed)
    vocabularies = build_vocabularies(labels.iloc[rows], settings)
    net = DiT(settings, vocabularies, latents.tokens.shape[2], latents.grid)
    measure_tokens(net, latents.tokens, rows, labels["modality"].to_numpy())
    net = net.to(run.device)
    tokens = torch.from_numpy(np.asarray(latents.tokens)).to(run.device)
    codes, age_years = (part.to(run.device) for part in vocabularies.encode(read_conditions(labels)))
    weights = weigh_modalities(labels["modality"], rows, settings.modality_balance).to(run.device)
    average = copy.deepcopy(net).requires_grad_(False)
    training.recompute_activations(net.blocks, options)
    training.compile_blocks(net.blocks, options)
    optimiser = training.build_optimiser(net, options)
    training.resume_run(run, {"model": net, "average": average, "optimiser": optimiser})
    model, optimiser = run.accelerator.prepare(net, optimiser)

    def validate(step: int) -> None:
        loss = measure_loss(run, average, tokens, codes, age_years, labels, settings)
        training.note_validation(run, step, loss, average)

    for step, batch in training.take_steps(run, run.own_batches, validate):
        own = training.send(torch.from_numpy(batch), run.device)
        drawn = draw_noise(len(run.plan[step]), tokens.shape[1:], settings.seed, "flow", step)
        noise, t, chance = (training.send(part[run.own], run.device) for part in drawn)
        t = shift_times(spread_times(t, settings.times), settings.time_shift)
        kept_codes, kept_ages = drop_conditions(
            codes[own], age_years[own], net.nulls, chance, settings.condition_dropout, settings.joint_dropout
        )
        data = net.standardise(tokens[own], codes[own])
        whole = data, noise, t, kept_codes, kept_ages, weights[own]
        for share, *part, weight in training.accumulate(run, model, *whole):
            loss = share * compute_loss(model, *part, options=options, weights=weight)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
        update_average(average, net, step, settings.ema_decay)
    training.finish(run, average)


def compute_loss(
    model: nn.Module,
    data: Tensor,
    noise: Tensor,
    t: Tensor,
    codes: Tensor,
    age_years: Tensor,
    *,
    options: OptimiserSettings,
    weights: Tensor | float = 1.0,
) -> Tensor:
    """Flow matching: the mean squared error of the velocity at x_t = (1 - t) noise + t data."""
    x = torch.lerp(noise, data, t[:, None, None])
    with training.autocast(data.device, options):
        velocity = model(x, t, codes, age_years)
    errors = functional.mse_loss(velocity.float(), data - noise, reduction="none").mean(dim=(1, 2))
    return (weights * errors).mean()


def weigh_modalities(modalities: pd.Series, rows: np.ndarray, balance: float) -> Tensor:
    """What each volume weighs in the loss, float32 (N,), 1 on average over the rows trained on.

    Rare modalities are learned last: of a hundred training volumes ten may show an enhancing tumour.
    """
    counts = modalities.iloc[rows].value_counts()
    weights = modalities.map(counts).fillna(1.0).to_numpy(np.float64) ** -balance
    return torch.from_numpy(weights / weights[rows].mean()).float()


def draw_noise(n: int, shape: Sequence[int], *key: int | str) -> tuple[Tensor, Tensor, Tensor]:
    """Normal noise (n, T, d), uniform times (n,) and uniform chances (n, 6), functions of the key."""
    generator = training.make_generator(*key)
    noise = torch.randn(n, *shape, generator=generator)
    return noise, torch.rand(n, generator=generator), torch.rand(n, 6, generator=generator)


def spread_times(t: Tensor, times: Times) -> Tensor:
    """Uniform times (n,) as they are, or as those with the same ranks whose logits are standard normal.

    The latter, more in the middle, are those of Esser et al. 2024 ("Scaling rectified flow transformers").
    Validation keeps uniform times, so that its losses can be compared.
    """
    return t if times == "uniform" else torch.special.ndtri(t).sigmoid()


def measure_tokens(net: DiT, tokens: np.ndarray, rows: np.ndarray, modalities: np.ndarray) -> None:
    """Set the model's token statistics from the rows trained on; modalities (N,) has one for each volume.

    Most of the tokens' variance is what all volumes of a modality have in common, its mean image. Against
    that mean people differ by a unit, and the flow is spent on them. Scales are those of a next volume, whose
    distance from the mean of n others exceeds their own: the sum of squares over n - 1, times 1 + 1 / n. A
    modality of fewer than two volumes takes the statistics of all.
    """
    everybody = _measure_volumes(tokens, rows)
    total = np.zeros(tokens.shape[1:])
    for code, name in enumerate(MODALITIES):
        own = rows[modalities[rows] == name]
        mean, squares, scale = _measure_volumes(tokens, own) if len(own) > 1 else everybody
        net.token_mean[code] = torch.from_numpy(mean)
        net.token_scale[code] = scale
        if len(own) > 1:
            total += squares / scale**2
    total = total if total.any() else everybody[1]
    net.token_variance.copy_(torch.from_numpy(total / max(total.mean(), 1e-12)))


def _measure_volumes(tokens: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (T, d) and squares about it (T, d) of some rows, and the deviation of a next volume."""
    batches, n = training.cut_batches(np.sort(rows), 256), len(rows)
    mean = sum(tokens[batch].sum(axis=0, dtype=np.float64) for batch in batches) / n
    squares = sum(((tokens[batch] - mean) ** 2).sum(axis=0) for batch in batches)
    return mean, squares, np.sqrt(max(squares.mean() / max(n - 1, 1) * (1 + 1 / n), 1e-12))


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, step: int, ceiling: float) -> None:
    """Move the average towards the model, with decay min(ceiling, (1 + n) / (10 + n)) after n steps."""
    decay = min(ceiling, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


@torch.no_grad()
def measure_loss(
    run: training.Run,
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
    for batch in training.share_batches(run, rows):
        drawn = [draw_noise(1, tokens.shape[1:], settings.seed, "validation", int(row)) for row in batch]
        noise, t, _ = (torch.cat(part).to(run.device) for part in zip(*drawn, strict=True))
        own = torch.from_numpy(batch).to(run.device)
        data, options = net.standardise(tokens[own], codes[own]), settings.optimiser
        loss = compute_loss(net, data, noise, t, codes[own], age_years[own], options=options)
        total += loss.item() * len(batch)
    return training.add_up(run, total) / len(rows) if len(rows) else float("nan")
