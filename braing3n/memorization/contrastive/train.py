"""Train the contrastive copy detector on the training split."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from braing3n import training
from braing3n.core.settings import OptimiserSettings
from braing3n.fidelity.coarse import choose_edge
from braing3n.memorization import STAGE_VERSION
from braing3n.memorization.contrastive.model import build_untrained
from braing3n.memorization.contrastive.views import draw_view
from braing3n.memorization.settings import ContrastiveSettings

WORD = "contrastive"
N_AT_ONCE = 8  # volumes at full size, 20 MB each at 1 mm
WARM_UP = 0.05  # of the steps


@dataclass(frozen=True)
class CoarseSource:
    """Volumes that are read batch by batch and never all held.

    Attributes:
        table: one row a volume: volume_id, group_id and split.
        read: gives, for batches of rows and a device, volumes (B, 1, d, h, w) on voxels of about 8 mm.
        digest: of all that a network is trained from.
    """

    table: pd.DataFrame
    read: Callable[[Sequence[np.ndarray], torch.device], Iterator[Tensor]]
    digest: str

    @classmethod
    def of_packed(cls, volumes, n_workers: int) -> CoarseSource:
        """A run's `PackedVolumes`, decoded by so many threads."""
        edge = choose_edge(volumes.shape) if len(volumes) else 1

        def read(batches: Sequence[np.ndarray], device: torch.device) -> Iterator[Tensor]:
            parts = [training.cut_batches(rows, N_AT_ONCE) for rows in batches]
            whole = training.load_batches(volumes, [rows for own in parts for rows in own], n_workers, device)
            for own in parts:
                yield torch.cat([average(next(whole), edge) for _ in own])

        return cls(volumes.table, read, volumes.digest())


def average(volume: Tensor, edge: int) -> Tensor:
    """Volumes (B, 1, D, H, W) as `coarsen` and then `halve` of `fidelity.coarse` make them of each."""
    padding = [pad for n in reversed(volume.shape[2:]) for pad in (0, -n % (2 * edge))]
    return functional.avg_pool3d(functional.pad(volume, padding), 2 * edge)


def train_copy_net(
    source: CoarseSource, settings: ContrastiveSettings, checkpoints_dir: Path, weights_path: Path
) -> None:
    """Train for `n_steps`, or resume training, and write the weights.

    Raises:
        BrainG3nError: a loss is not a number; the message names the step and its volumes.
    """
    training.train_once(
        lambda run_dir: _train(source, settings, run_dir),
        {"weights.safetensors": weights_path},
        checkpoints_dir,
        WORD,
        STAGE_VERSION,
        settings,
        [source.digest],
    )


def _train(source: CoarseSource, settings: ContrastiveSettings, run_dir: Path) -> None:
    options = plan_optimiser(settings, int((source.table["split"] == "train").sum()))
    run = training.plan_run(WORD, run_dir, source.table, options, settings.seed)
    run.plan, run.losses = run.plan[: settings.n_steps], run.losses[: settings.n_steps]
    net = build_untrained(settings).to(run.device)
    optimiser = training.build_optimiser(net, options)
    training.resume_run(run, {"model": net, "optimiser": optimiser})
    group = torch.from_numpy(np.unique(source.table["group_id"], return_inverse=True)[1]).to(run.device)
    batches = source.read(run.own_batches, run.device)
    for step, volume in training.take_steps(run, batches, lambda step: None):
        generator = training.make_generator(settings.seed, "views", step)
        views = [draw_view(volume, settings, generator) for _ in range(settings.n_views)]
        codes = net(torch.cat(views)).unflatten(0, (settings.n_views, -1))
        loss = compute_loss(codes, group[run.plan[step]], settings.temperature)
        run.accelerator.backward(loss)
        run.losses[step] += loss.detach()
        training.update(run, optimiser, net, step)
    training.finish(run, net)


def plan_optimiser(settings: ContrastiveSettings, n_volumes: int) -> OptimiserSettings:
    """As many passes over n volumes as hold the steps."""
    n_a_pass = max(1, n_volumes // settings.batch_size)
    n_epochs = max(1, math.ceil(settings.n_steps / n_a_pass))
    return OptimiserSettings(
        lr=settings.lr,
        batch_size=settings.batch_size,
        n_epochs=n_epochs,
        n_warmup_epochs=WARM_UP * n_epochs,
        precision="float32",
    )


def compute_loss(codes: Tensor, group: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020), of all pairs of views of one volume.

    Views of other volumes of the same group are neither pairs nor rivals: a person's repeat scans may lie
    where they will.

    Args:
        codes: (n_views, B, n_numbers) of unit length; group: (B,).
    """
    n_views, n, _ = codes.shape
    flat, row = codes.flatten(0, 1), torch.arange(n, device=codes.device).repeat(n_views)
    alike = flat @ flat.T / temperature
    is_pair = (row[:, None] == row) & ~torch.eye(len(row), dtype=torch.bool, device=codes.device)
    is_rival = group[row][:, None] != group[row]
    rivals = alike.masked_fill(~is_rival, torch.finfo(alike.dtype).min).logsumexp(dim=1)
    return functional.softplus(rivals[:, None] - alike)[is_pair].mean()
