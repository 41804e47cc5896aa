"""Train the bridge on the training split's pairs of visits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n import training
from braing3n.diffusion.train import update_average
from braing3n.longitudinal import STAGE_VERSION
from braing3n.longitudinal.model import N_DROPPABLE, Bridge, Conditions, drop_conditions
from braing3n.longitudinal.settings import LongitudinalSettings

N_AT_ONCE = 256  # pairs of which the statistics are taken


class Ends:
    """The two ends of every pair: tokens (M, T, d) float16 of the volumes that any pair has, and their rows.

    Args:
        tokens: float16 (N, T, d) of all volumes, as `latents` caches them.
        grid: tokens along each axis.
        pairs: the table of pairs.
        volume_ids: those of the N rows.
    """

    def __init__(
        self, tokens: np.ndarray, grid: tuple[int, int, int], pairs: pd.DataFrame, volume_ids: pd.Series
    ):
        rows = pd.Series(np.arange(len(volume_ids)), index=volume_ids)
        both = rows.loc[[*pairs["volume_id"], *pairs["later_volume_id"]]].to_numpy()
        used, own = np.unique(both, return_inverse=True)
        self.grid, self.pairs = grid, pairs
        self.tokens = torch.from_numpy(np.array(tokens[used]))
        self.earlier, self.later = torch.from_numpy(own).chunk(2)

    def to(self, device: torch.device) -> Ends:
        """The same, with everything on a device."""
        self.tokens, self.earlier, self.later = (
            part.to(device) for part in (self.tokens, self.earlier, self.later)
        )
        return self

    def take(self, chosen: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, d) of the chosen pairs' earlier and later visits."""
        chosen = torch.as_tensor(chosen, device=self.tokens.device)
        return self.tokens[self.earlier[chosen]], self.tokens[self.later[chosen]]


def train_bridge(
    ends: Ends,
    settings: LongitudinalSettings,
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
        lambda run_dir: _train(ends, settings, run_dir),
        {"weights.safetensors": weights_path},
        checkpoints_dir,
        "longitudinal",
        STAGE_VERSION,
        settings,
        inputs,
    )


def _train(ends: Ends, settings: LongitudinalSettings, run_dir: Path) -> None:
    options, pairs = settings.optimiser, ends.pairs
    run = training.plan_run("longitudinal", run_dir, pairs, options, settings.seed)
    torch.manual_seed(settings.seed)
    net = Bridge(settings, ends.tokens.shape[2], ends.grid)
    measure_pairs(net, ends, training.find_rows(pairs, "train"))
    net, ends = net.to(run.device), ends.to(run.device)
    conditions = net.encode(pairs)
    average = copy.deepcopy(net).requires_grad_(False)
    training.recompute_activations(net.blocks, options)
    training.compile_blocks(net.blocks, options)
    optimiser = training.build_optimiser(net, options)
    training.resume_run(run, {"model": net, "average": average, "optimiser": optimiser})
    model, optimiser = run.accelerator.prepare(net, optimiser)

    def validate(step: int) -> None:
        training.note_validation(run, step, measure_loss(run, average, ends, conditions, settings), average)

    for step, batch in training.take_steps(run, run.own_batches, validate):
        drawn = draw_noise(len(run.plan[step]), net, settings.seed, "bridge", step)
        noise, t, chance = (training.send(part[run.own], run.device) for part in drawn)
        chosen = training.send(torch.from_numpy(batch), run.device)
        earlier, later = (net.standardise(end) for end in ends.take(chosen))
        own = Conditions(*(part[chosen] for part in conditions))
        given = drop_conditions(own, net.nulls, chance, settings.condition_dropout, settings.joint_dropout)
        for share, *part in training.accumulate(run, model, earlier, later, noise, t, *given):
            loss = share * compute_loss(model, *part, settings=settings, scale=net.change_scale)
            run.accelerator.backward(loss)
            run.losses[step] += loss.detach()
        training.update(run, optimiser, model, step)
        update_average(average, net, step, settings.ema_decay)
    training.finish(run, average)


def draw_noise(n: int, net: Bridge, *key: int | str) -> tuple[Tensor, Tensor, Tensor]:
    """Normal noise (n, T, d), uniform times (n,) and uniform chances (n, 4), functions of the key."""
    generator = training.make_generator(*key)
    noise = torch.randn(n, net.n_tokens, net.d, generator=generator)
    return noise, torch.rand(n, generator=generator), torch.rand(n, N_DROPPABLE + 1, generator=generator)


def interpolate(
    earlier: Tensor, later: Tensor, noise: Tensor, t: Tensor, settings: LongitudinalSettings
) -> tuple[Tensor, Tensor]:
    """x_t and what the velocity there approaches, each (B, T, d), at times t (B,).

    The derivative of the noise grows without bound towards both ends; it is that of a time .001 from them.
    """
    t = t[:, None, None]
    x = torch.lerp(earlier, later, t) + settings.noise * (t * (1 - t)).sqrt() * noise
    change = later - earlier
    if settings.target == "velocity":
        inner = t.clamp(1e-3, 1 - 1e-3)
        change = change + settings.noise * (1 - 2 * inner) / (2 * (inner * (1 - inner)).sqrt()) * noise
    return x, change


def compute_loss(
    model: nn.Module,
    earlier: Tensor,
    later: Tensor,
    noise: Tensor,
    t: Tensor,
    *conditions: Tensor,
    settings: LongitudinalSettings,
    scale: Tensor,
) -> Tensor:
    """The mean squared error of the velocity at x_t, in units of `scale`; that of no change is 1."""
    x, change = interpolate(earlier, later, noise, t, settings)
    with training.autocast(earlier.device, settings.optimiser):
        velocity = model(x, t, *conditions)
    return functional.mse_loss(velocity.float() / scale, change / scale)


def measure_pairs(net: Bridge, ends: Ends, rows: np.ndarray) -> None:
    """Set the model's statistics from the training pairs: mean, deviation and size of a change."""
    batches, n = training.cut_batches(rows, N_AT_ONCE), 2 * len(rows)
    zero = torch.zeros(ends.tokens.shape[1:], dtype=torch.float64)
    mean, squares, change = zero.clone(), zero.clone(), zero.clone()
    for earlier, later in map(ends.take, batches):
        mean += (earlier.double().sum(0) + later.double().sum(0)) / n
        change += (later.double() - earlier.double()).square().sum(0) / len(rows)
    for ends_of_batch in map(ends.take, batches):
        squares += sum((end.double() - mean).square().sum(0) for end in ends_of_batch) / n
    scale = squares.mean().sqrt().clamp(min=1e-6)
    net.token_mean.copy_(mean)
    net.token_scale.copy_(scale)
    net.change_scale.copy_((change.mean().sqrt() / scale).clamp(min=1e-6))


@torch.no_grad()
def measure_loss(
    run: training.Run, net: Bridge, ends: Ends, conditions: Conditions, settings: LongitudinalSettings
) -> float:
    """The validation split's loss, nothing dropped, always with the same noise; NaN where it is empty."""
    rows = training.find_rows(ends.pairs, "validation")
    total = 0.0
    for batch in training.share_batches(run, rows):
        drawn = [draw_noise(1, net, settings.seed, "validation", int(row)) for row in batch]
        noise, t, _ = (torch.cat(part).to(run.device) for part in zip(*drawn, strict=True))
        chosen = torch.from_numpy(batch).to(run.device)
        earlier, later = (net.standardise(end) for end in ends.take(chosen))
        own = (part[chosen] for part in conditions)
        loss = compute_loss(net, earlier, later, noise, t, *own, settings=settings, scale=net.change_scale)
        total += loss.item() * len(batch)
    return training.add_up(run, total) / len(rows) if len(rows) else float("nan")
