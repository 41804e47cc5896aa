"""What comes after the encoder: tokenizer, decoder, diffusion transformer and its samples."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from gpu_parts.encoder import build_mae
from gpu_parts.stalls import measure_stalls
from gpu_parts.timing import Bench, count_tokens, invent, make_step, sweep, time_calls
from torch import Tensor
from torch.nn import functional

from braing3n import training
from braing3n.core.contracts import MODALITIES
from braing3n.diffusion.conditions import Vocabularies
from braing3n.diffusion.model import DiT
from braing3n.diffusion.train import compute_loss, draw_noise, update_average
from braing3n.sweep.baseline import Baseline
from braing3n.tokenizer.model import Tokenizer
from braing3n.training.flops import count_flops
from braing3n.training.steps import check_cudnn

MIN_DIT_UTILISATION = 0.4
N_SAMPLES = 64  # an arm of the paper


def build_tokenizer(bench: Bench) -> Tokenizer:
    """An untrained projection and decoder, on the device of the context."""
    options, p = bench.config.pretrain, bench.config.pretrain.patch_size
    grid = tuple(n // p for n in bench.shape)
    return Tokenizer(bench.config.tokenizer, options.width, p, grid)


def measure_tokenizer(bench: Bench) -> None:
    """The tokenizer's training step, kernels contiguous and channels last, encoder included."""
    options = bench.config.tokenizer.optimiser

    def count() -> None:
        with torch.no_grad():
            features = build_mae(bench).encode(torch.zeros(1, 1, *bench.shape))
        build_tokenizer(bench)(features).sum().backward()

    def build_step(layout: torch.memory_format) -> Callable[[Tensor], None]:
        with bench.device:
            encoder = build_mae(bench).eval().requires_grad_(False)
            net = build_tokenizer(bench).to(memory_format=layout)
        check_cudnn(net, options, bench.device)

        def measure_loss(volume: Tensor) -> Tensor:
            with torch.no_grad():
                features = encoder.encode(volume)
            return functional.l1_loss(net(features).float(), volume)

        return make_step(bench, net, options, measure_loss)

    def measure(batch: int, layout: torch.memory_format) -> float:
        step, volume = build_step(layout), invent(bench, batch)
        return time_calls(bench, lambda: step(volume))

    n_flops, end = count_flops(count), bench.until
    batches = sorted(
        {max(1, batch // 4) for batch in bench.batches}
    )  # a volume takes far more than the MAE's
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last_3d}
    for i, (name, layout) in enumerate(layouts.items()):
        bench.until = time.monotonic() + (end - time.monotonic()) / (len(layouts) - i)
        batch = sweep(bench, "tokenizer training", name, n_flops, partial(measure, layout=layout), batches)
    if batch:  # as training has it: channels last, a GPU's share of a batch where there are four
        batch, step = min(batch, options.batch_size // 4), build_step(torch.channels_last_3d)
        measure_stalls(bench, "tokenizer training", batch, step)


def measure_akl(bench: Bench) -> None:
    """The training step of Table 5's AutoencoderKL, whose convolutions are at full resolution."""
    settings = bench.config.sweep.akl

    def measure_loss(net: Baseline, volume: Tensor, noise: Tensor) -> Tensor:
        image, penalty = net(volume, noise)
        return functional.l1_loss(image.float(), volume) + penalty

    def build(batch: int) -> tuple:
        net = Baseline("akl", settings, bench.shape)
        return net, torch.zeros(batch, 1, *bench.shape), torch.zeros(batch, *net.latent_shape)

    def count() -> None:
        measure_loss(*build(1)).backward()

    def measure(batch: int) -> float:
        with bench.device:
            net, _, noise = build(batch)
        step = make_step(bench, net, settings.optimiser, partial(measure_loss, net))
        volume = invent(bench, batch)
        return time_calls(bench, lambda: step(volume, noise))

    sweep(bench, "AKL training", "plain", count_flops(count), measure, (1, 2, 4))


def measure_decoding(bench: Bench) -> None:
    """Tokens to volumes: float32 (TF32), as the pipeline decodes, and bfloat16."""
    with bench.device:
        net = training.arrange_channels(build_tokenizer(bench), bench.device).eval().requires_grad_(False)
    n = min(bench.config.fidelity.batch_size, bench.batches[-1])
    tokens = torch.randn(n, count_tokens(bench), bench.config.tokenizer.d, device=bench.device)
    for precision in ("float32", "bfloat16"):
        options = SimpleNamespace(precision=precision)
        with torch.no_grad(), training.autocast(bench.device, options):
            ms = 1000 * time_calls(bench, lambda: net.decode(tokens)) / n
        bench.note("decode", f"{precision}, batch {n}: a volume", ms, "ms")


def build_dit(bench: Bench) -> DiT:
    """An untrained diffusion transformer, on the device of the context."""
    options, p = bench.config.diffusion, bench.config.pretrain.patch_size
    sites = tuple(str(i) for i in range(options.n_sites))
    names = Vocabularies(tuple(options.diseases), ("F", "M"), MODALITIES, sites, ("wildtype", "mutant"))
    return DiT(options, names, bench.config.tokenizer.d, tuple(n // p for n in bench.shape))


def invent_conditions(n: int) -> tuple[Tensor, Tensor]:
    """Codes (n, 5) and ages (n,), on the device of the context."""
    return torch.zeros(n, 5, dtype=torch.int64), torch.full((n,), 50.0)


def measure_dit(bench: Bench) -> None:
    """The DiT's training step with its average, noise on the device and drawn on the CPU as in training."""
    settings = bench.config.diffusion
    options, shape = settings.optimiser, (count_tokens(bench), bench.config.tokenizer.d)

    def count() -> None:
        net = build_dit(bench)
        net(torch.zeros(1, *shape), torch.rand(1), *invent_conditions(1)).sum().backward()

    def measure(batch: int, is_drawn: bool) -> float:
        with bench.device:
            net, data, given = build_dit(bench), torch.randn(batch, *shape), invent_conditions(batch)
        average = copy.deepcopy(net).requires_grad_(False)
        step = make_step(
            bench, net, options, lambda noise, t: compute_loss(net, data, noise, t, *given, options=options)
        )
        drawn = [training.send(part, bench.device) for part in draw_noise(batch, shape, 0)[:2]]

        def train() -> None:
            parts = drawn
            if is_drawn:
                parts = [training.send(part, bench.device) for part in draw_noise(batch, shape, 0)[:2]]
            step(*parts)
            update_average(average, net, 0, settings.ema_decay)

        return time_calls(bench, train)

    n_flops = count_flops(count)
    batch = sweep(bench, "DiT training", "noise on the device", n_flops, partial(measure, is_drawn=False))
    if batch:
        drawn = partial(measure, is_drawn=True)
        sweep(bench, "DiT training", "noise drawn on the CPU", n_flops, drawn, (batch,))
    utilisation = max((u for name, u in bench.best.items() if name.startswith("DiT training")), default=0.0)
    described = f"target at least {100 * MIN_DIT_UTILISATION:.0f} %"
    is_met = utilisation >= MIN_DIT_UTILISATION if bench.is_gpu else None
    bench.note("DiT training", "utilisation", 100 * utilisation, "%", described, is_met)


@torch.no_grad()
def measure_samples(bench: Bench) -> None:
    """Samples of all guided steps, and the share of the floor: two branches a step at the peak rate."""
    settings = bench.config.diffusion.sampling
    n = min(settings.batch_size, bench.batches[-1])
    n_batches = max(1, N_SAMPLES // n) if bench.is_gpu else 1
    with bench.device:
        net, given = build_dit(bench).eval().requires_grad_(False), invent_conditions(n)
        x = torch.randn(n, count_tokens(bench), bench.config.tokenizer.d)
        times = torch.linspace(0, 1, settings.n_steps + 1)

    def sample() -> None:
        y = x
        for now, then in itertools.pairwise(times):
            with training.autocast(bench.device, settings):
                velocity = net.guide(y, now.expand(n), *given, settings.guidance)
            y = y + (then - now) * velocity.float()

    def count() -> None:
        shape = count_tokens(bench), bench.config.tokenizer.d
        build_dit(bench)(torch.zeros(1, *shape), torch.rand(1), *invent_conditions(1))

    bench.until = time.monotonic()  # two calls are enough: each has all steps
    seconds = n_batches * time_calls(bench, sample)
    described = f"{n_batches * n} samples of {settings.n_steps} guided steps, batch {n}"
    bench.note("sampling", described, seconds, "s")
    if bench.peak_flops:
        floor = n_batches * n * 2 * settings.n_steps * count_flops(count) / bench.peak_flops
        bench.note("sampling", "share of the floor", 100 * floor / seconds, "%")
