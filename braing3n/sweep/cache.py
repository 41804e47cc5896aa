"""Cache the latents of a baseline tokenizer, in one job that can be killed and resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braing3n import training
from braing3n.latents.cache import choose_part_dir, grow_over_volumes, to_float16
from braing3n.latents.settings import LatentsSettings
from braing3n.sweep.baseline import Baseline


def cache_baseline(
    net: Baseline,
    volumes: training.Volumes,
    settings: LatentsSettings,
    latents_path: Path,
    inputs: Sequence[Path | str],
    device: torch.device,
    n_workers: int = 1,
) -> None:
    """Write the latents of all volumes, float16 (N, C, d, h, w), in their order.

    inputs name the part folder from which a killed job resumes.
    """

    def encode(volume: Tensor) -> dict[str, Tensor]:
        with training.autocast(device, settings):  # one volume fills memory with its first layers
            latents = [net.encode(one) for one in volume.split(1)]
        return {"latents": to_float16(torch.cat(latents))}

    rows = {"latents": (net.latent_shape, np.float16)}
    part_dir = choose_part_dir(latents_path, settings, inputs)
    with grow_over_volumes(part_dir, rows, encode, volumes, settings, device, n_workers) as arrays:
        os.replace(arrays["latents"], latents_path)
