"""Arrays that grow on disk, batch by batch, so that a killed job goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braing3n.core.runtime import digest_text, write_atomically


def choose_part_dir(path: Path, word: str, made_of: Sequence[Any]) -> Path:
    """The folder beside an output in which it grows, named by a digest of what it is made from."""
    return Path(path).parent / f".{word}-{digest_text(json.dumps(list(made_of)))[:16]}"


@contextmanager
@torch.no_grad()
def grow_arrays(
    part_dir: Path,
    rows: Mapping[str, tuple[tuple[int, ...], type]],
    batches: Sequence[np.ndarray],
    compute: Callable[[list[np.ndarray]], Iterator[dict[str, Tensor]]],
) -> Iterator[dict[str, Path]]:
    """Fill one .npy for each name in `rows` (shape and type of a row) with what `compute` gives.

    They grow in part_dir with the number of batches done: what a killed job has done there is not done again.
    Yields their paths when all is there, to be moved into place; then the folder goes.

    Args:
        batches: the rows of each batch, which together are all rows.
        compute: takes the batches that are still to be done, and gives the values of each in order.
    """
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
    yield paths
    shutil.rmtree(part_dir)


def _open_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """A .npy file of this shape on disk, as it was left or new."""
    if not shape[0]:  # which no file can be mapped for
        np.save(path, np.zeros(shape, dtype))
        return np.zeros(shape, dtype)
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    with write_atomically(path) as beside:
        np.lib.format.open_memmap(beside, mode="w+", dtype=dtype, shape=shape).flush()
    return np.lib.format.open_memmap(path, mode="r+")
