"""From tokens to what our encoder sees in the decoded volume: decode, encode again, mean over tokens."""

from __future__ import annotations

import numpy as np
import torch

from braing3n import training
from braing3n.config import FidelitySettings
from braing3n.errors import CheckpointError
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.runtime import track
from braing3n.tokenizer.model import Tokenizer


@torch.no_grad()
def encode_decoded(
    tokens: np.ndarray,
    encoder: MaskedAutoencoder,
    tokenizer: Tokenizer,
    settings: FidelitySettings,
    description: str,
) -> np.ndarray:
    """Features (M, F) of the volumes that tokens (M, n_tokens, d) decode to, in the configured precision.

    Raises:
        CheckpointError: the tokens are not of this tokenizer's size.
    """
    expected = (encoder.n_tokens, tokenizer.n_channels)
    if tokens.shape[1:] != expected:
        raise CheckpointError(
            f"tokens of shape {tokens.shape[1:]} do not fit the tokenizer's {expected}; "
            "rerun the diffusion stage."
        )
    features, size = [], settings.batch_size
    for start in track(range(0, len(tokens), size), description):
        batch = torch.from_numpy(np.asarray(tokens[start : start + size], dtype=np.float32))
        with training.autocast(batch.device, settings):
            encoded = encoder.encode(tokenizer.decode(batch))
        features.append(encoded.float().mean(dim=1).numpy())  # (B, N, F) to (B, F)
    return np.concatenate(features) if features else np.zeros((0, encoder.settings.width), np.float32)
