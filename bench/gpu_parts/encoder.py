"""The device itself, attention, and the masked autoencoder: its step, its stalls, its encoding."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import torch
from gpu_parts.stalls import measure_stalls
from gpu_parts.timing import Bench, count_tokens, invent, make_step, sweep, time_calls
from torch.nn.functional import scaled_dot_product_attention as attend

from braing3n import training
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.training.flops import count_flops

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
    described = "data sheet, dense bf16" if sheet else "no data sheet known here: the matrix product's"
    bench.note(
        "device", "peak that utilisation is reckoned against", bench.peak_flops / 1e12, "TFLOP/s", described
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
    described = f"{FORMULA}; target at least {100 * MIN_MAE_UTILISATION:.0f} %"
    is_met = utilisation >= MIN_MAE_UTILISATION if bench.is_gpu else None
    bench.note("MAE training", "utilisation", 100 * utilisation, "%", described, is_met)
    if batch:
        measure_mae_stalls(bench, min(batch, options.batch_size // 4))  # a GPU's share, where there are four


def measure_mae_stalls(bench: Bench, batch: int) -> None:
    """The MAE's stalls; what is masked is drawn on the CPU at every step, as in training."""
    with bench.device:
        net = build_mae(bench)

    def draw(n: int) -> tuple[torch.Tensor]:
        generator = training.make_generator(0, "mask", n)
        return (training.send(torch.rand(batch, net.n_tokens, generator=generator), bench.device),)

    step = make_step(bench, net, bench.config.pretrain.optimiser, net)
    measure_stalls(bench, "MAE training", batch, step, draw)


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
            described = f"target at most {MAX_ENCODE_MS:g} ms" if is_judged else ""
            is_met = ms <= MAX_ENCODE_MS if is_judged else None
            bench.note("encode", f"{precision}, batch {n}: a volume", ms, "ms", described, is_met)
