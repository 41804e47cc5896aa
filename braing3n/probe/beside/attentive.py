"""An attentive probe of cached tokens: a small cross-attention head, trained in each fold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braing3n.core.runtime import track
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import Reading
from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings

N_HEADS = 8
BATCH_SIZE = 128
N_EPOCHS, MIN_STEPS = 10, 300
LEARNING_RATE, WEIGHT_DECAY = 0.01, 0.1


class AttentiveHead(nn.Module):
    """Tokens (B, T, C), standardised by place and channel -> class scores, or one number, (B, n_outputs).

    Each head has one learned query. Its products with the keys are a weight a channel and, as a token's
    place is a part of its key, a number a place; the values' projection is a part of the last layer.
    """

    def __init__(self, mean: Tensor, deviation: Tensor, n_outputs: int, generator: torch.Generator):
        super().__init__()
        n_tokens, n_channels = mean.shape
        self.mean, self.deviation = mean, deviation
        scale = n_channels**-0.5
        self.query = nn.Parameter(torch.randn(N_HEADS, n_channels, generator=generator) * scale)
        self.place = nn.Parameter(torch.zeros(N_HEADS, n_tokens))
        weight = torch.randn(n_outputs, N_HEADS * n_channels, generator=generator) * scale
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(n_outputs))

    def forward(self, tokens: Tensor) -> Tensor:
        x = (tokens - self.mean) / self.deviation
        scores = torch.einsum("btc,hc->bht", x, self.query) + self.place
        pooled = scores.softmax(dim=2) @ x  # (B, heads, C)
        return functional.linear(pooled.flatten(1), self.weight, self.bias)


def read_attentive(tokens: np.ndarray, probes: list[Probe], settings: ProbeSettings) -> pd.DataFrame:
    """A row a task and metric of cached tokens (n_volumes, T, C), which may be a memory map.

    Without intervals: halves would train twenty more heads a task and fold.
    """
    rows = []
    for probe in track(probes, "readouts: attentive probe"):
        base = {"encoder": "mae", "slice": probe.slice, "people": probe.people, "title": probe.task.title}
        reading = None
        if not probe.reason:
            predictions = predict_attentive(tokens, probe, settings)
            reading = Reading(predictions, {"": np.empty((0, 2))}, True)
        found, _ = score_reading(probe, reading, settings)
        rows += [{**base, **row, "readout": "attentive probe", "note": probe.note} for row in found]
    return pd.DataFrame(rows)


def predict_attentive(tokens: np.ndarray, probe: Probe, settings: ProbeSettings) -> np.ndarray:
    """Each unit's prediction, (n_units, n_classes or 1), by the head that never saw its group.

    A batch of tokens is read once and trains the heads of all folds but its rows' own, so that a fold's head
    depends on nothing of that fold. Equal seeds give equal bits on one thread.

    Memory is that of a batch, whatever the number of volumes. At 35,309 volumes of 1200 x 32 numbers a batch
    of 128 takes 20 MB in float32 and its backward pass about five times that; five heads, with Adam's
    moments, take 2 MB and the moments of the tokens 5 MB. A task reads the tokens 12 times, 33 GB.
    """
    rows = np.flatnonzero(probe.unit_of_row >= 0)
    rows = rows[np.argsort(probe.unit_of_row[rows], kind="stable")]
    fold, target = probe.units["fold"].to_numpy(), probe.units["target"].to_numpy()
    places = range(int(fold.max()) + 1)
    generator = torch.Generator().manual_seed(settings.seed)
    n_outputs = len(probe.classes) or 1
    parts = _measure_tokens(tokens, rows, fold, len(places))
    heads = [AttentiveHead(mean, deviation, n_outputs, generator) for mean, deviation in parts]
    y, centre, spread = _code_target(target, fold, probe.classes, len(places))
    optimiser = torch.optim.AdamW(
        [parameter for head in heads for parameter in head.parameters()], weight_decay=WEIGHT_DECAY
    )
    n_steps = max(MIN_STEPS, -(-N_EPOCHS * len(rows) // BATCH_SIZE))
    for step, chosen in enumerate(_deal_batches(len(rows), n_steps, settings.seed)):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 + np.cos(np.pi * step / n_steps)) / 2
        x = _load(tokens, rows[chosen])
        optimiser.zero_grad()
        for k in places:
            seen = torch.from_numpy(fold[chosen] != k)
            if seen.any():
                found, wanted = heads[k](x[seen]), y[k][torch.from_numpy(chosen)[seen]]
                loss = (
                    functional.cross_entropy(found, wanted)
                    if probe.classes
                    else functional.mse_loss(found[:, 0], wanted)
                )
                loss.backward()
        optimiser.step()
    predictions = np.zeros((len(rows), n_outputs))
    for k in places:
        for chosen in _cut(np.flatnonzero(fold == k)):
            with torch.no_grad():
                found = heads[k](_load(tokens, rows[chosen]))
            values = found.softmax(dim=1) if probe.classes else found * spread[k] + centre[k]
            predictions[chosen] = values.numpy()
    return predictions


def _load(tokens: np.ndarray, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(tokens[rows], dtype=np.float32))


def _cut(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]


def _deal_batches(n_rows: int, n_steps: int, seed: int) -> Iterator[np.ndarray]:
    """Sorted positions of the units of each step; an epoch deals each once, but for a last, smaller batch."""
    rng = np.random.default_rng(seed)
    size, step = min(BATCH_SIZE, n_rows), 0
    while True:
        order = rng.permutation(n_rows)
        for start in range(0, n_rows - size + 1, size):
            if step == n_steps:
                return
            yield np.sort(order[start : start + size])
            step += 1


def _measure_tokens(
    tokens: np.ndarray, rows: np.ndarray, fold: np.ndarray, n_folds: int
) -> list[tuple[Tensor, Tensor]]:
    """Mean and deviation (T, C) of each fold's training units."""
    sums = np.zeros((n_folds, 2, *tokens.shape[1:]))
    for k in range(n_folds):
        for chosen in _cut(np.flatnonzero(fold == k)):
            x = np.asarray(tokens[rows[chosen]], dtype=np.float64)
            sums[k] += x.sum(axis=0), np.square(x).sum(axis=0)
    found = []
    for k in range(n_folds):
        mean, square = (sums.sum(axis=0) - sums[k]) / (fold != k).sum()
        variance = square - mean**2
        # Below this a number is constant, up to the rounding of its mean.
        deviation = np.sqrt(np.where(variance > 1e-9 * square, variance, 1.0))
        found.append((torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()))
    return found


def _code_target(
    target: np.ndarray, fold: np.ndarray, classes: tuple[str, ...], n_folds: int
) -> tuple[list[Tensor], np.ndarray, np.ndarray]:
    """What each fold's head is trained on, a class's place or the standardised number; centre and spread."""
    if classes:
        code = torch.from_numpy(np.searchsorted(np.array(classes), target.astype(str)))
        return [code] * n_folds, np.zeros(n_folds), np.ones(n_folds)
    y = target.astype(float)
    centre = np.array([y[fold != k].mean() for k in range(n_folds)])
    spread = np.array([y[fold != k].std() or 1.0 for k in range(n_folds)])
    wanted = [torch.from_numpy((y - centre[k]) / spread[k]).float() for k in range(n_folds)]
    return wanted, centre, spread
