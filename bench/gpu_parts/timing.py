"""What every part of bench/gpu.py shares: rows, clocks, memory and the search for a batch size."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from braing3n import training
from braing3n.config import Config
from braing3n.core.settings import OptimiserSettings


@dataclass
class Row:
    """One measurement; `is_met` is None where there is no target."""

    part: str
    what: str
    value: float | None
    unit: str
    note: str = ""
    is_met: bool | None = None


@dataclass
class Bench:
    """What the parts share.

    Attributes:
        config: sizes of the models, braing3n's.
        shape: voxels of a volume.
        batches: batch sizes to try, ascending.
        n_threads: reading threads.
        folder: for the packed volumes.
        until: the `time.monotonic()` at which the current part should end.
        peak_flops: operations a second that utilisation is reckoned against.
        n_calls: timed calls of a step at most.
        rows: what was found.
        best: the highest utilisation of what was swept.
    """

    device: torch.device
    config: Config
    shape: tuple[int, int, int]
    batches: tuple[int, ...]
    n_threads: int
    folder: Path
    n_calls: int = 20
    until: float = 0.0
    peak_flops: float = 0.0
    rows: list[Row] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        """Whether the device is one of CUDA's."""
        return self.device.type == "cuda"

    def note(self, part: str, what: str, value: float | None, unit: str, note: str = "", is_met=None) -> None:
        """Add a row, and print it at once: a killed run has shown what it found."""
        self.rows.append(Row(part, what, value, unit, note, is_met))
        number = "" if value is None else f"{value:.4g}"
        target = {None: "", True: "met", False: "not met"}[is_met]
        print(f"| {part} | {what} | {number} | {unit} | {target} | {note} |", flush=True)


# ---- how things are timed -----------------------------------------------------------------------


def synchronise(bench: Bench) -> None:
    """Wait until the device has done all that it was given."""
    if bench.is_gpu:
        torch.cuda.synchronize()


def time_calls(bench: Bench, call: Callable[[], object]) -> float:
    """Seconds a call: two to warm up, then as many as 10 s and the part's time allow, at least two."""
    for _ in range(2):  # choice of kernels, compilation, moments of AdamW
        call()
    synchronise(bench)
    start = time.perf_counter()
    call()
    synchronise(bench)
    once = time.perf_counter() - start
    left = max(0.0, min(10.0, bench.until - time.monotonic()))
    n = max(2, min(bench.n_calls, int(left / max(once, 1e-6))))
    start = time.perf_counter()
    for _ in range(n):
        call()
    synchronise(bench)
    return (time.perf_counter() - start) / n


def free(bench: Bench) -> None:
    """Give memory back and set its peak to what is left."""
    gc.collect()
    if bench.is_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def read_peak_gb(bench: Bench) -> float:
    """The most memory that tensors took since `free`; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if bench.is_gpu else 0.0


def try_batches(
    bench: Bench, measure: Callable[[int], float], batches: Iterable[int]
) -> Iterator[tuple[int, float, float]]:
    """(batch, seconds, peak GB) of each batch size until memory or the part's time ends."""
    for n_before, batch in enumerate(batches):
        if time.monotonic() > bench.until:
            return
        free(bench)
        try:
            seconds = measure(batch)
        except RuntimeError as error:  # memory, which libraries miss in words of their own
            if n_before == 0:
                raise
            print(f"batch {batch}: {describe_error(error)}", file=sys.stderr, flush=True)
            return
        yield batch, seconds, read_peak_gb(bench)


def sweep(
    bench: Bench,
    part: str,
    what: str,
    n_flops: int,
    measure: Callable[[int], float],
    batches: Iterable[int] | None = None,
) -> int:
    """Rows of the batch with the most volumes a second; that batch, or 0 where none could be measured."""
    found = []
    try:
        found += try_batches(bench, measure, batches or bench.batches)
    except Exception as error:  # no memory for the smallest, no compiler: the other ways are still measured
        bench.note(part, f"{what}: failed", None, "", describe_error(error))
    free(bench)
    if not found:
        bench.note(part, f"{what}: not measured", None, "")
        return 0
    for batch, seconds, peak_gb in found:
        described = f"{part}, {what}: batch {batch}, {1000 * seconds:.1f} ms, {peak_gb:.1f} GB"
        print(described, file=sys.stderr, flush=True)  # not among the rows of the table
    batch, seconds, peak_gb = max(found, key=lambda item: item[0] / item[1])
    utilisation = n_flops * batch / (seconds * bench.peak_flops)
    described = f"batch {batch}, {n_flops / 1e12:.3g} TFLOP a volume"
    bench.note(part, f"{what}: volumes a second", batch / seconds, "1/s", described)
    bench.note(part, f"{what}: step", 1000 * seconds, "ms", described)
    bench.note(part, f"{what}: utilisation", 100 * utilisation, "%", described)
    if bench.is_gpu:
        bench.note(part, f"{what}: peak memory", peak_gb, "GB", described)
    bench.best[f"{part}, {what}"] = utilisation
    return batch


def make_step(
    bench: Bench, net: nn.Module, options: OptimiserSettings, measure_loss: Callable[..., Tensor]
) -> Callable[..., None]:
    """A training step of the package's own parts: precision, gradients, fused AdamW."""
    run = SimpleNamespace(options=options, plan=range(10**6))  # what `update` reads of a run
    optimiser = training.build_optimiser(net, options)

    def step(*batch: Tensor) -> None:
        with training.autocast(bench.device, options):
            loss = measure_loss(*batch)
        loss.backward()
        training.update(run, optimiser, net, 0)

    return step


def invent(bench: Bench, n: int) -> Tensor:
    """Noise volumes (n, 1, D, H, W) on the device."""
    return torch.randn(n, 1, *bench.shape, device=bench.device)


def count_tokens(bench: Bench) -> int:
    """Tokens a volume."""
    d, h, w = (n // bench.config.pretrain.patch_size for n in bench.shape)
    return d * h * w


def describe_error(error: Exception) -> str:
    """The kind of an error and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}".replace("|", "/")
