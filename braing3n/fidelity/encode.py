"""From tokens to what our encoder sees in the decoded volume: decode, encode again, mean over tokens.

A volume of the paper's size takes 1.8 TFLOP (decoding 1.25, encoding .55). All 35,309 would take 64 PFLOP:
at least 4 minutes of an H100 in float32, and days of a few CPU cores. An arm is therefore measured on at most
`fidelity.n_real` real people and as many more as it has samples. With 256 and 64 that is 320 volumes for each
of the 13 arms and 1,856 for the two pooled ones: 6,016 where no two arms share a volume, 11 PFLOP at most.
The training and the held-out people, on whom each arm is measured as well, add as many volumes each at most,
and share most. The 832 samples take another 1.5. Tokens are read batch by batch, and no volume is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from braing3n import training
from braing3n.core.errors import CheckpointError
from braing3n.core.runtime import track
from braing3n.fidelity.settings import FidelitySettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer

Watcher = Callable[[np.ndarray, np.ndarray], None]


@torch.no_grad()
def encode_decoded(
    tokens: np.ndarray,
    rows: np.ndarray,
    encoder: MaskedAutoencoder,
    tokenizer: Tokenizer,
    settings: FidelitySettings,
    description: str,
    watchers: Sequence[Watcher] = (),
    again: Watcher | None = None,
) -> np.ndarray:
    """Features (n, F) of the volumes that n rows of the tokens (M, n_tokens, d) decode to.

    The models' device computes, in the configured precision; the tokens may stay on disk. Watchers are given
    the rows of a batch and their volumes, float32 (B, D, H, W); `again` the rows and the tokens that the
    volumes have, float32 (B, n_tokens, d).

    Raises:
        CheckpointError: the tokens are not of this tokenizer's size.
    """
    expected = (encoder.n_tokens, tokenizer.n_channels)
    if tokens.shape[1:] != expected:
        raise CheckpointError(
            f"tokens of shape {tokens.shape[1:]} do not fit the tokenizer's {expected}; "
            "rerun the diffusion stage."
        )
    device = encoder.positions.device
    features = np.zeros((len(rows), encoder.settings.width), np.float32)
    for start in track(range(0, len(rows), settings.batch_size), description):
        part = slice(start, start + settings.batch_size)
        batch = torch.from_numpy(np.asarray(tokens[rows[part]], dtype=np.float32)).to(device)
        with training.autocast(device, settings):
            volumes = tokenizer.decode(batch)  # (B, 1, D, H, W)
            encoded = encoder.encode(volumes)  # (B, N, F)
        for watch in watchers:
            watch(rows[part], volumes[:, 0].float().cpu().numpy())
        if again is not None:
            with training.autocast(device, settings):
                projected = tokenizer.project(encoded)
            again(rows[part], projected.float().cpu().numpy())
        features[part] = encoded.float().mean(dim=1).cpu().numpy()
    return features
