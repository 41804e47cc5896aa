"""The same encoder as it starts, from the seed after the trained one's: the mean over its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from braing3n.core.errors import ConfigurationError
from braing3n.encoders import grow_features

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from braing3n.latents.settings import LatentsSettings
    from braing3n.pretrain.settings import PretrainSettings
    from braing3n.training import Volumes

SECTIONS = ("pretrain",)
HAS_PCA = False
MOST_TOKEN_NUMBERS = 2**28  # of all volumes' flattened tokens: 1 GB


def compute(
    volumes: Volumes,
    settings: LatentsSettings,
    sections: Mapping[str, Any],
    device: torch.device,
    part_dir: Path,
) -> np.ndarray:
    """Mean tokens, float32 (N, width)."""
    return encode_untrained(volumes, settings, sections["pretrain"], device, part_dir)


def encode_untrained(
    volumes: Volumes,
    settings: LatentsSettings,
    pretrain: PretrainSettings,
    device: torch.device,
    part_dir: Path,
    is_flattened: bool = False,
) -> np.ndarray:
    """Mean tokens (N, width) of the same encoder as it starts, from the seed after the trained one's.

    Flattened: all its tokens (N, tokens * width).
    """
    import torch

    from braing3n import training
    from braing3n.pretrain.model import MaskedAutoencoder

    torch.manual_seed(pretrain.seed + 1)
    encoder = MaskedAutoencoder(pretrain, volumes.shape).to(device).eval()
    n_numbers = len(volumes) * encoder.n_tokens * pretrain.width
    if is_flattened and n_numbers > MOST_TOKEN_NUMBERS:
        raise ConfigurationError(
            f"latents.encoders: untrained_flattened would take {4 * n_numbers / 1e9:.1f} GB "
            f"({len(volumes):,} volumes of {encoder.n_tokens} tokens); leave it out of large runs."
        )

    def encode(rest: list[np.ndarray]) -> Iterator[Tensor]:
        for volume in training.load_batches(volumes, rest, device=device):
            with training.autocast(device, settings):
                tokens = encoder.encode(volume).float()
            yield tokens.flatten(1) if is_flattened else tokens.mean(dim=1)

    n_features = encoder.n_tokens * pretrain.width if is_flattened else pretrain.width
    batches = training.cut_batches(np.arange(len(volumes)), settings.batch_size)
    return grow_features("untrained", n_features, batches, encode, part_dir)
