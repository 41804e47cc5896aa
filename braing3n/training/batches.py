"""Which volumes make which batch, and the batches themselves, read ahead and decoded on the device."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import count_cpus
from braing3n.core.settings import OptimiserSettings
from braing3n.nets.levels import LEVELS_A_DEVIATION

T = TypeVar("T")

N_AHEAD = 2  # batches that are read while one is computed


class Volumes(Protocol):
    """What a loop reads: `braing3n.volumes.dataset.PackedVolumes`, or a test's own."""

    table: pd.DataFrame

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def load(self, i: int) -> tuple[np.ndarray, np.ndarray]: ...

    def load_levels(self, i: int, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


# ---- which --------------------------------------------------------------------------------------


def cut_batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows in their order, `size` at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def find_rows(table: pd.DataFrame, split: str) -> np.ndarray:
    """The row numbers of one split."""
    return np.flatnonzero((table["split"] == split).to_numpy())


def make_generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose stream is a function of the key alone."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def plan_batches(
    rows: np.ndarray, options: OptimiserSettings, seed: int, n_ranks: int = 1
) -> list[np.ndarray]:
    """The rows of every step's batch, all epochs after one another.

    Each epoch is a new order of all rows, a function of (seed, epoch); rows that do not fill a batch
    wait for the next epoch. Fewer rows than a batch make one smaller batch. Of n_ranks processes,
    each takes its equal share of every batch.

    Raises:
        ConfigurationError: there is nothing to train on.
    """
    if len(rows) == 0:
        raise ConfigurationError("the training split is empty; give more subjects or other split fractions.")
    size = min(options.batch_size, len(rows)) // n_ranks * n_ranks
    if size == 0:
        raise ConfigurationError(f"a batch of {len(rows)} volumes cannot be shared by {n_ranks} processes.")
    plan = []
    for epoch in range(options.n_epochs):
        order = torch.randperm(len(rows), generator=make_generator(seed, "order", epoch)).numpy()
        plan += [rows[order[start : start + size]] for start in range(0, len(rows) - size + 1, size)]
    return plan


# ---- the batches themselves ---------------------------------------------------------------------


class _Packed(NamedTuple):
    """Levels (B, D, H, W) of a batch, and the places and z-scores of the voxels that levels do not reach."""

    levels: Tensor
    far_index: Tensor
    far_z: Tensor


def load_batches(
    volumes: Volumes,
    batches: list[np.ndarray],
    n_workers: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """The volumes (B, 1, D, H, W) of each batch of rows, in order, z-scored float32 on `device`.

    n_workers threads decompress the next batches meanwhile (decompression holds no interpreter lock); a
    batch goes to the device as 16-bit levels, half the bytes, on a stream of its own.
    """
    device = torch.device(device)
    with ThreadPoolExecutor(max(1, n_workers)) as pool:
        reading = _begin_ahead((_read(pool, volumes, rows, device) for rows in batches), N_AHEAD)
        moving = _begin_ahead((_move(*batch, device) for batch in reading), int(device.type == "cuda"))
        try:
            for batch in moving:
                yield _decode(*batch)
        finally:
            pool.shutdown(cancel_futures=True)  # where the loop ended early


def _begin_ahead(begun: Iterator[T], n: int) -> Iterator[T]:
    """What was begun, in order, each handed on when n more are."""
    waiting: deque[T] = deque()
    for item in begun:
        waiting.append(item)
        if len(waiting) > n:
            yield waiting.popleft()
    yield from waiting


def _read(
    pool: ThreadPoolExecutor, volumes: Volumes, rows: np.ndarray, device: torch.device
) -> tuple[Tensor, list[Future]]:
    """The memory for a batch's levels, which the pool is about to fill."""
    levels = torch.empty((len(rows), *volumes.shape), dtype=torch.int16, pin_memory=device.type == "cuda")
    jobs = [
        pool.submit(volumes.load_levels, int(row), out) for row, out in zip(rows, levels.numpy(), strict=True)
    ]
    return levels, jobs


def _move(
    levels: Tensor, jobs: list[Future], device: torch.device
) -> tuple[_Packed, torch.cuda.Stream | None]:
    """Wait for a batch's levels, and send them on their way to the device."""
    n_voxels = levels[0].numel()
    far = [job.result() for job in jobs]
    index = np.concatenate([places + i * n_voxels for i, (places, _) in enumerate(far)])
    packed = _Packed(levels, torch.from_numpy(index), torch.from_numpy(np.concatenate([z for _, z in far])))
    if device.type != "cuda":
        return _Packed(*(part.to(device) for part in packed)), None
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        return _Packed(*(send(part, device) for part in packed)), stream


def _decode(packed: _Packed, stream: torch.cuda.Stream | None) -> Tensor:
    """Volumes (B, 1, D, H, W) of a batch's levels, the same bits as `volumes.levels.dequantise` gives."""
    if stream is not None:
        current = torch.cuda.current_stream(packed.levels.device)
        current.wait_stream(stream)
        for part in packed:
            part.record_stream(current)
    below = packed.levels >> 15  # -1 below the mean, whose levels stand one lower
    image = (packed.levels - below).float().mul_(1 / LEVELS_A_DEVIATION)
    image.view(-1)[packed.far_index] = packed.far_z
    return image[:, None]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on its way to the device; the process does not wait for what the device is at."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def count_workers(n_threads: int) -> int:
    """Reading threads of a process: beside an accelerator its share of all but one, on a CPU one."""
    n_processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # of this node, under torchrun
    n_threads = min(n_threads, count_cpus())
    return max(1, n_threads // n_processes - 1) if torch.cuda.is_available() else 1
