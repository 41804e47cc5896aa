"""Arrays that grow on disk, batch by batch, so that a killed job resumes where it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braing3n.core.runtime import acquire_lock, digest_text, write_atomically


def choose_part_dir(path: Path, word: str, made_of: Sequence[Any]) -> Path:
    """The folder beside an output in which it grows, named by a digest of what it is made from."""
    return Path(path).parent / f".{word}-{digest_text(json.dumps(list(made_of)))[:16]}"


@contextmanager
def grow_arrays(
    part_dir: Path,
    rows: Mapping[str, tuple[tuple[int, ...], type]],
    batches: Sequence[np.ndarray],
    compute: Callable[[list[np.ndarray]], Iterator[dict[str, Tensor]]],
) -> Iterator[dict[str, Path]]:
    """Fill one .npy for each name in `rows` (shape and type of a row) with what `compute` gives.

    They grow in part_dir with the number of batches done: what a killed job has done there is not done again.
    Yields their paths when all is there, to be moved into place; then the folder goes. A lock beside it waits
    for the orphan of a killed workflow, which may still be at the same arrays.

    Args:
        batches: the rows of each batch, which together are all rows.
        compute: takes the batches that are still to be done, and gives the values of each in order.
    """
    lock_path = part_dir.with_suffix(".lock")
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with acquire_lock(lock_path):
        yield _fill(part_dir, rows, batches, compute)
        shutil.rmtree(part_dir)
        lock_path.unlink(missing_ok=True)


@torch.no_grad()
def _fill(
    part_dir: Path,
    rows: Mapping[str, tuple[tuple[int, ...], type]],
    batches: Sequence[np.ndarray],
    compute: Callable[[list[np.ndarray]], Iterator[dict[str, Tensor]]],
) -> dict[str, Path]:
    """The paths of the arrays, when all is there."""
    part_dir.mkdir(parents=True, exist_ok=True)
    paths = {name: part_dir / f"{name}.npy" for name in rows}
    n_rows = sum(map(len, batches))
    arrays = {
        name: _open_array(paths[name], (n_rows, *shape), dtype) for name, (shape, dtype) in rows.items()
    }
    progress_path = part_dir / "n_batches_done"
    n_done = int(progress_path.read_text()) if progress_path.exists() else 0
    for i, found in enumerate(compute(list(batches[n_done:])), n_done):
        for name, values in found.items():
            array = arrays[name]
            array[batches[i]] = values.cpu().numpy()
            if isinstance(array, np.memmap):
                array.flush()
        with write_atomically(progress_path) as beside:
            beside.write_text(str(i + 1))

    progress_path.unlink(
        missing_ok=True
    )  # a job killed while its arrays move away must not take new ones for full
    return paths


def _open_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A .npy file of this shape on disk, as it was left or new."""
    if not shape[0]:  # which no file can be mapped for
        np.save(path, np.zeros(shape, dtype))
        return np.zeros(shape, dtype)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    with write_atomically(path) as beside:
        np.lib.format.open_memmap(beside, mode="w+", dtype=dtype, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):  # a disk that is full once the file is mapped kills the process
            with open(beside, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, beside.stat().st_size)
    return np.lib.format.open_memmap(path, mode="r+")
