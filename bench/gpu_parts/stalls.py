"""How long the device waits for volumes that come from packed files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import blosc2
import numpy as np
from gpu_parts.timing import Bench, free, invent, synchronise, time_calls
from torch import Tensor

from braing3n import training
from braing3n.nets.levels import quantise, read_far_voxels
from braing3n.volumes.dataset import read_chunk
from braing3n.volumes.pack import _create


def measure_stalls(
    bench: Bench,
    part: str,
    batch: int,
    step: Callable[..., None],
    draw: Callable[[int], tuple[Tensor, ...]] = lambda n: (),
) -> None:
    """The share of a step in which the device waits for volumes that are read, unpacked, sent and decoded.

    step takes volumes (batch, 1, D, H, W) and what `draw` makes of the step's number.
    """
    volumes = PackedInvention(bench.folder, bench.shape, n=8 if bench.is_gpu else 2)
    free(bench)
    resident = invent(bench, batch), *draw(0)
    alone = time_calls(bench, lambda: step(*resident))
    n_steps = max(4, min(30, int(bench.n_calls / 20 * 15 / alone)))
    rows = [np.arange(batch) % len(volumes)] * (n_steps + 3)
    loaded = training.load_batches(volumes, rows, bench.n_threads, bench.device)
    for n in range(3):  # read ahead, as in the midst of an epoch
        step(next(loaded), *draw(n))
    synchronise(bench)
    start = time.perf_counter()
    for n, volume in enumerate(loaded, start=3):
        step(volume, *draw(n))
    synchronise(bench)
    fed = (time.perf_counter() - start) / n_steps
    described = f"batch {batch}, {bench.n_threads} reading threads, {volumes.n_bytes / 1e6:.3g} MB a volume"
    bench.note(part, "packed volumes: volumes a second", batch / fed, "1/s", described)
    bench.note(part, "stalls: 1 - step alone / step fed", 100 * max(0.0, 1 - alone / fed), "%", described)


class PackedInvention:
    """Invented brains packed as `volumes` packs, in the interface of PackedVolumes."""

    def __init__(self, folder: Path, shape: tuple[int, int, int], n: int):
        self.shape, self._n, self._path = shape, n, folder / "invented.b2nd"
        array, rng = _create(self._path, (n, *shape)), np.random.default_rng(0)
        axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij", sparse=True)
        mask = sum((axis / 0.85) ** 2 for axis in axes) < 1
        for i in range(n):
            waves = sum(np.sin(rng.uniform(6, 20) * axis + rng.uniform(0, 6)) for axis in axes)
            image = (waves + 0.1 * rng.standard_normal(shape))[mask]
            array[i], _ = quantise((image - image.mean()) / image.std(), mask)
        self.n_bytes = sum(len(read_chunk(array, i)[0]) for i in range(n)) / n

    def __len__(self) -> int:
        return self._n

    def load_levels(self, i: int, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As PackedShard: open, check, unpack."""
        chunk, _ = read_chunk(blosc2.open(str(self._path), mode="r"), i)
        blosc2.decompress2(chunk, dst=out, nthreads=1)
        return read_far_voxels("")
