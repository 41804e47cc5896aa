"""A small convolutional network that separates two classes of coarse volumes; it is trained in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (8, 16)  # channels of its two layers
WEIGHT_DECAY = 0.01


def build_classifier(shape: tuple[int, ...]) -> nn.Sequential:
    """Two strided convolutions and a linear layer: volumes (B, 1, D, H, W) -> logits (B, 1)."""
    first, second = WIDTHS
    layers = [
        nn.Conv3d(1, first, 5, 4, 2),
        nn.ReLU(),
        nn.Conv3d(first, second, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
    ]
    n_places = int(np.prod([-(-n // 8) for n in shape]))
    return nn.Sequential(*layers, nn.Linear(second * n_places, 1))


def fit_classifier(
    positive: np.ndarray, negative: np.ndarray, n_steps: int, batch_size: int, lr: float, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Train on volumes (n, D, H, W) of two classes; each step sees as many of the one as of the other.

    The same numbers give the same network, whatever the number of threads and whatever was drawn before.

    Returns:
        A function: volumes (m, D, H, W) -> logits (m,), high for the positive class.
    """
    volumes = np.concatenate([positive, negative]).astype(np.float32)
    mean, scale = volumes.mean(axis=0), volumes.std() or 1.0

    def prepare(raw: np.ndarray) -> Tensor:
        return torch.from_numpy((raw.astype(np.float32) - mean) / scale)[:, None]

    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, known = build_classifier(volumes.shape[1:]), prepare(volumes)
        optimiser = torch.optim.AdamW(network.parameters(), lr, weight_decay=WEIGHT_DECAY)
        half = batch_size // 2
        target = (torch.arange(2 * half) < half).float()
        for _ in range(n_steps):
            rows = torch.randint(len(positive), (half,)), torch.randint(len(positive), len(known), (half,))
            loss = functional.binary_cross_entropy_with_logits(network(known[torch.cat(rows)])[:, 0], target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    @torch.no_grad()
    def predict(raw: np.ndarray) -> np.ndarray:
        with _one_thread():
            return network(prepare(raw))[:, 0].numpy()

    return predict


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread is the fastest for so small a network, and sums in one order."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
