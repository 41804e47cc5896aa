"""Cache every volume's tokens and pooled encoder features in one job that can be killed and go on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.errors import ContractError
from braing3n.core.runtime import digest_text, track, write_atomically
from braing3n.latents import STAGE_VERSION
from braing3n.latents.settings import LatentsSettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer

if TYPE_CHECKING:
    pass  # which imports MONAI, slowly


def cache_latents(
    encoder: MaskedAutoencoder,
    tokenizer: Tokenizer,
    volumes: training.Volumes,
    settings: LatentsSettings,
    tokens_path: Path,
    features_path: Path,
    inputs: Sequence[Path | str],
    device: torch.device,
    n_workers: int = 1,
) -> None:
    """Write tokens float16 (N, T, channels) and mean encoder tokens float32 (N, width).

    Rows are as in the volume list. Both grow beside the tokens, as `grow_arrays` says.
    """

    def encode(volume: Tensor) -> dict[str, Tensor]:
        with training.autocast(device, settings):
            encoded = encoder.encode(volume)
            tokens = tokenizer.project(encoded)
        return {"tokens": to_float16(tokens), "features": encoded.float().mean(dim=1)}

    rows = {
        "tokens": ((encoder.n_tokens, tokenizer.n_channels), np.float16),
        "features": ((encoder.settings.width,), np.float32),
    }
    part_dir = choose_part_dir(tokens_path, settings, inputs)
    with grow_arrays(part_dir, rows, encode, volumes, settings.batch_size, device, n_workers) as arrays:
        ids = volumes.table["volume_id"].to_numpy(dtype=str)
        write_features(ids, np.load(arrays["features"]), features_path)
        os.replace(arrays["tokens"], tokens_path)


def choose_part_dir(path: Path, settings: LatentsSettings, inputs: Sequence[Path | str]) -> Path:
    """The folder beside an output in which it grows, named by what it is made from.

    inputs: as of `training.open_run`.
    """
    key = digest_text(json.dumps([STAGE_VERSION, settings.as_json(), *map(training.digest_input, inputs)]))
    return Path(path).parent / f".latents-{key[:16]}"


@contextmanager
@torch.no_grad()
def grow_arrays(
    part_dir: Path,
    rows: dict[str, tuple[tuple[int, ...], type]],
    encode: Callable[[Tensor], dict[str, Tensor]],
    volumes: training.Volumes,
    batch_size: int,
    device: torch.device,
    n_workers: int,
) -> Iterator[dict[str, Path]]:
    """Fill one .npy for each name in `rows` (shape and type of a volume's row) with what `encode` gives.

    They grow in part_dir with the number of batches done: what a killed job has done there is not done again.
    Yields their paths when all is there, to be moved into place; then the folder goes.
    """
    part_dir.mkdir(parents=True, exist_ok=True)
    paths = {name: part_dir / f"{name}.npy" for name in rows}
    arrays = {
        name: _open_array(paths[name], (len(volumes), *shape), dtype) for name, (shape, dtype) in rows.items()
    }
    progress_path = part_dir / "n_batches_done"
    n_done = int(progress_path.read_text()) if progress_path.exists() else 0

    batches = training.cut_batches(np.arange(len(volumes)), batch_size)
    loaded = training.load_batches(volumes, batches[n_done:], n_workers, device)
    for i, volume in enumerate(track(loaded, "latents: batches", len(batches) - n_done), n_done):
        for name, values in encode(volume).items():
            arrays[name][batches[i]] = values.cpu().numpy()
            arrays[name].flush()
        with write_atomically(progress_path) as beside:
            beside.write_text(str(i + 1))

    progress_path.unlink()  # a job killed while its arrays move away must not take new ones for full
    yield paths
    shutil.rmtree(part_dir)


def to_float16(values: Tensor) -> Tensor:
    """Tokens or latents in half precision.

    Raises:
        ContractError: a value is no number or beyond the range of float16.
    """
    half = values.half()
    if not bool(half.isfinite().all()):
        raise ContractError(
            "latents: a value is no number that float16 holds; look at the losses of training."
        )
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
