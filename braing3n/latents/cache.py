"""Cache every volume's tokens and pooled encoder features in one job that can be killed and go on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch

from braing3n import training
from braing3n.config import LatentsSettings
from braing3n.errors import ContractError
from braing3n.latents import STAGE_VERSION
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.runtime import digest_file, digest_text, track, write_atomically
from braing3n.tokenizer.model import Tokenizer


@torch.no_grad()
def cache_latents(
    encoder: MaskedAutoencoder,
    tokenizer: Tokenizer,
    volumes: training.Volumes,
    settings: LatentsSettings,
    tokens_path: Path,
    features_path: Path,
    inputs: list[Path],
    device: torch.device,
    n_workers: int = 1,
) -> None:
    """Write tokens float16 (N, T, channels) and mean encoder tokens float32 (N, width).

    Rows are as in the volume list. Both grow in an undeclared folder beside the tokens, named by the digest
    of the inputs (weights, volume list, packed indices) and the settings, with the number of rows done; what
    a killed job has done there is not done again, and the files move into place when all is there.
    """
    key = digest_text(
        json.dumps([STAGE_VERSION, settings.as_json(), *(digest_file(path) for path in inputs)])
    )
    part_dir = Path(tokens_path).parent / f".latents-{key[:16]}"
    part_dir.mkdir(parents=True, exist_ok=True)
    n = len(volumes)
    tokens = _open_array(part_dir / "tokens.npy", (n, encoder.n_tokens, tokenizer.n_channels), np.float16)
    features = _open_array(part_dir / "features.npy", (n, encoder.settings.width), np.float32)
    progress_path = part_dir / "n_batches_done"
    n_done = int(progress_path.read_text()) if progress_path.exists() else 0

    batches = training.cut_batches(np.arange(n), settings.batch_size)
    loaded = training.load_batches(volumes, batches[n_done:], n_workers, device)
    for i, volume in enumerate(track(loaded, "latents: batches", len(batches) - n_done), n_done):
        encoded = encoder.encode(volume)
        tokens[batches[i]] = to_float16(tokenizer.project(encoded)).cpu().numpy()
        features[batches[i]] = encoded.mean(dim=1).cpu().numpy()
        tokens.flush()
        features.flush()
        with write_atomically(progress_path) as beside:
            beside.write_text(str(i + 1))

    write_features(volumes.table["volume_id"].to_numpy(dtype=str), np.array(features), features_path)
    os.replace(part_dir / "tokens.npy", tokens_path)
    shutil.rmtree(part_dir)


def to_float16(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens in half precision.

    Raises:
        ContractError: a value is no number or beyond the range of float16.
    """
    half = tokens.half()
    if not bool(half.isfinite().all()):
        raise ContractError("latents: a token is no number that float16 holds; look at the tokenizer's loss.")
    return half


def _open_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.memmap:
    """A .npy file of this shape on disk, as it was left or new."""
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    with write_atomically(path) as beside:
        np.lib.format.open_memmap(beside, mode="w+", dtype=dtype, shape=shape).flush()
    return np.lib.format.open_memmap(path, mode="r+")


def write_features(volume_ids: np.ndarray, features: np.ndarray, path: Path) -> None:
    """Features float32 (N, F) with their volume ids (.npz); equal content gives equal bytes."""
    with write_atomically(path) as beside:
        np.savez(beside, volume_id=volume_ids.astype(str), features=features.astype(np.float32))
