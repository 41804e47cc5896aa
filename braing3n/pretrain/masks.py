"""Which patches are hidden: noise as a function of (seed, step), or of a validation volume's row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from braing3n import training


def draw_noise(n_volumes: int, n_tokens: int, *key: int | str) -> Tensor:
    """Uniform (n_volumes, n_tokens), a function of the key; the patches with the least stay visible."""
    return torch.rand(n_volumes, n_tokens, generator=training.make_generator(*key))


def draw_validation_noise(rows: np.ndarray, n_tokens: int, seed: int) -> Tensor:
    """The same for validation volumes (n,), a function of each one's row, however they are batched."""
    return torch.cat([draw_noise(1, n_tokens, seed, "validation", int(row)) for row in rows])
