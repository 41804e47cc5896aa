"""Cache every volume's tokens and pooled encoder features in one job that can be killed and resumed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.errors import ContractError
from braing3n.core.runtime import track, write_atomically
from braing3n.latents import STAGE_VERSION
from braing3n.latents.settings import LatentsSettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer


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

    Rows are as in the volume list. Both grow beside the tokens, as `training.grow_arrays` says.
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
    with grow_over_volumes(part_dir, rows, encode, volumes, settings, device, n_workers) as arrays:
        ids = volumes.table["volume_id"].to_numpy(dtype=str)
        write_features(ids, np.load(arrays["features"]), features_path)
        os.replace(arrays["tokens"], tokens_path)


def choose_part_dir(path: Path, settings: LatentsSettings, inputs: Sequence[Path | str]) -> Path:
    """The folder beside an output in which it grows; inputs: as of `training.open_run_dir`."""
    made_of = [STAGE_VERSION, settings.as_json(), *map(training.digest_input, inputs)]
    return training.choose_part_dir(path, "latents", made_of)


def grow_over_volumes(
    part_dir: Path,
    rows: Mapping[str, tuple[tuple[int, ...], type]],
    encode: Callable[[Tensor], dict[str, Tensor]],
    volumes: training.Volumes,
    settings: LatentsSettings,
    device: torch.device,
    n_workers: int,
) -> AbstractContextManager[dict[str, Path]]:
    """`training.grow_arrays` with a row for each volume; `encode` takes a batch (B, 1, D, H, W)."""
    batches = training.cut_batches(np.arange(len(volumes)), settings.batch_size)

    def compute(rest: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        loaded = training.load_batches(volumes, rest, n_workers, device)
        return map(encode, track(loaded, "latents: batches", len(rest)))

    return training.grow_arrays(part_dir, rows, batches, compute)


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


def write_features(
    volume_ids: np.ndarray, features: np.ndarray, path: Path, reason: str = "", weights: str = ""
) -> None:
    """Features float32 (N, F) with their volume ids (.npz); equal content gives equal bytes.

    reason: why there are none (F = 0); weights: the sha256 of the file that made them, of others' encoders.
    """
    content: dict[str, Any] = {"volume_id": volume_ids.astype(str), "features": features.astype(np.float32)}
    content |= {name: np.array(text) for name, text in (("reason", reason), ("weights", weights)) if text}
    with write_atomically(path) as beside:
        np.savez(beside, **content)


def join_features(parts: Sequence[Path], path: Path) -> None:
    """One file of the features of all parts, as `write_features` of all volumes would write it.

    Raises:
        ContractError: the parts are not of the same weights, or some have features and some have none, or
            one is damaged.
    """
    volume_ids, features, notes = [], [], []
    for part in parts:
        try:
            with np.load(part) as file:
                volume_ids.append(file["volume_id"])
                features.append(file["features"])
                notes.append([str(file[name]) if name in file else "" for name in ("reason", "weights")])
        except (ValueError, KeyError, EOFError, BadZipFile):
            raise ContractError(f"{part}: is no file of features; remove it and rerun.") from None
    for part, one, values in zip(parts, notes, features, strict=True):
        if one != notes[0] or values.shape[1] != features[0].shape[1]:
            raise ContractError(f"{part}: is not of the same encoder as {parts[0]}; remove both and rerun.")
    write_features(np.concatenate(volume_ids), np.concatenate(features), path, *notes[0])
