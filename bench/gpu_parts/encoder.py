"""The device itself, attention, and the masked autoencoder: its step, its stalls, its encoding."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import blosc2
import numpy as np
import torch
from gpu_parts.timing import (
    Bench,
    count_tokens,
    free,
    invent,
    make_step,
    sweep,
    synchronise,
    time_calls,
)
from torch.nn.functional import scaled_dot_product_attention as attend

from braing3n import training
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.training.flops import count_flops
from braing3n.volumes.dataset import read_chunk
from braing3n.volumes.levels import quantise, read_far_voxels
from braing3n.volumes.pack import _create

MIN_MAE_UTILISATION, MAX_ENCODE_MS = 0.40, 10.0
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # NVIDIA's data sheets: SXM, dense bfloat16
FORMULA = "utilisation = operations a volume x volumes a step / (seconds a step x peak operations a second)"


def measure_device(bench: Bench) -> None:
    """What it is, and how fast it multiplies large bfloat16 matrices."""
    name = torch.cuda.get_device_name() if bench.is_gpu else "CPU"
    bench.note("device", name, None, "", f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    n = 8192 if bench.is_gpu else 256
    a, b = (torch.randn(n, n, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    ceiling = 2 * n**3 / time_calls(bench, lambda: a @ b)
    bench.note("device", f"matrix product, bf16, {n}^3", ceiling / 1e12, "TFLOP/s")
    sheet = next((peak for key, peak in PEAK_FLOPS.items() if key in name), None)
    bench.peak_flops = sheet or ceiling
    told = "data sheet, dense bf16" if sheet else "no data sheet known here: the matrix product's"
    bench.note(
        "device", "peak that utilisation is reckoned against", bench.peak_flops / 1e12, "TFLOP/s", told
    )


def measure_attention(bench: Bench) -> None:
    """Attention forward and backward, heads as wide as the MAE's against powers of two."""
    options = bench.config.pretrain
    b, n = bench.batches[0], count_tokens(bench)
    for head in (options.width // options.n_heads, 64, 128):
        shape = (b, options.n_heads, n, head)
        q, k, v = (
            torch.randn(shape, device=bench.device, dtype=torch.bfloat16, requires_grad=True) for _ in "qkv"
        )
        seconds = time_calls(bench, lambda q=q, k=k, v=v: attend(q, k, v).sum().backward())
        n_flops = 3 * 4 * b * options.n_heads * n * n * head
        bench.note("attention", f"heads of {head}: step", 1000 * seconds, "ms", f"{b} x {n} tokens")
        bench.note(
            "attention", f"heads of {head}", n_flops / seconds / 1e12, "TFLOP/s", "forward and backward"
        )


def build_mae(bench: Bench) -> MaskedAutoencoder:
    """An untrained masked autoencoder, on the device of the context."""
    return MaskedAutoencoder(bench.config.pretrain, bench.shape)


def measure_mae(bench: Bench) -> None:
    """The MAE's training step: volumes on the device, blocks compiled, volumes from packed files."""
    options = bench.config.pretrain.optimiser

    def count() -> None:
        net = build_mae(bench)
        net(torch.zeros(1, 1, *bench.shape), torch.rand(1, net.n_tokens)).backward()

    def measure(batch: int, is_compiled: bool = False) -> float:
        with bench.device:
            net = build_mae(bench)
            noise = torch.rand(batch, net.n_tokens)
        chosen = options.model_copy(update={"compile_blocks": is_compiled})
        training.compile_blocks([*net.blocks, *net.decoder_blocks], chosen)
        step, volume = make_step(bench, net, chosen, net), invent(bench, batch)
        return time_calls(bench, lambda: step(volume, noise))

    n_flops = count_flops(count)
    batch = sweep(bench, "MAE training", "plain", n_flops, measure)
    if batch and bench.is_gpu:  # on a CPU the compiler takes minutes
        sweep(bench, "MAE training", "blocks compiled", n_flops, partial(measure, is_compiled=True), (batch,))
    utilisation = max((u for name, u in bench.best.items() if name.startswith("MAE training")), default=0.0)
    told = f"{FORMULA}; target at least {100 * MIN_MAE_UTILISATION:.0f} %"
    is_met = utilisation >= MIN_MAE_UTILISATION if bench.is_gpu else None
    bench.note("MAE training", "utilisation", 100 * utilisation, "%", told, is_met)
    if batch:
        measure_stalls(bench, min(batch, options.batch_size // 4))  # a GPU's share, where there are four


def measure_stalls(bench: Bench, batch: int) -> None:
    """The share of a step in which the device waits for volumes that are read, unpacked, sent and decoded."""
    volumes = PackedInvention(bench.folder, bench.shape, n=8 if bench.is_gpu else 2)
    free(bench)
    with bench.device:
        net = build_mae(bench)
        noise = torch.rand(batch, net.n_tokens)
    step = make_step(bench, net, bench.config.pretrain.optimiser, net)
    resident = invent(bench, batch)
    alone = time_calls(bench, lambda: step(resident, noise))
    n_steps = max(4, min(30, int(bench.n_calls / 20 * 15 / alone)))
    rows = [np.arange(batch) % len(volumes)] * (n_steps + 3)
    loaded = training.load_batches(volumes, rows, bench.n_threads, bench.device)
    for _ in range(3):  # read ahead, as in the midst of an epoch
        step(next(loaded), noise)
    synchronise(bench)
    start = time.perf_counter()
    for n, volume in enumerate(loaded):
        generator = training.make_generator(0, "mask", n)
        step(volume, training.send(torch.rand(batch, net.n_tokens, generator=generator), bench.device))
    synchronise(bench)
    fed = (time.perf_counter() - start) / n_steps
    told = f"batch {batch}, {bench.n_threads} reading threads, {volumes.n_bytes / 1e6:.3g} MB a volume"
    bench.note("MAE training", "packed volumes: volumes a second", batch / fed, "1/s", told)
    bench.note(
        "MAE training", "stalls: 1 - step alone / step fed", 100 * max(0.0, 1 - alone / fed), "%", told
    )


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


def measure_encoding(bench: Bench) -> None:
    """All tokens of full volumes: float32 (TF32), as `latents` caches them, and bfloat16."""
    with bench.device:
        net = build_mae(bench).eval().requires_grad_(False)
    batch = min(bench.config.latents.batch_size, bench.batches[-1])
    for precision in ("float32", "bfloat16"):
        options = SimpleNamespace(precision=precision)
        for n in (1, batch):
            volume = invent(bench, n)
            with torch.no_grad(), training.autocast(bench.device, options):
                ms = 1000 * time_calls(bench, lambda volume=volume: net.encode(volume)) / n
            is_judged = bench.is_gpu and precision == "float32" and n == batch
            told = f"target at most {MAX_ENCODE_MS:g} ms" if is_judged else ""
            is_met = ms <= MAX_ENCODE_MS if is_judged else None
            bench.note("encode", f"{precision}, batch {n}: a volume", ms, "ms", told, is_met)
