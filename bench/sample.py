"""Guided sampling and one training step of both DiTs at the paper's size, on this machine.

A guided Euler step has two branches, in one batch; its rival is two plain evaluations, one after the other.
Both run by turns in one process, and the median of their ratios is the claim: at most 1.05, with velocities
equal to 1e-4; beside it the share of what the machine can do, the step's products alone. Then two sampling
steps, and one training step each of the DiT and the bridge, AdamW's included: seconds, and the peak memory of
all, at most 24 GB. Exits 1 short of a target.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from machine import describe_processor  # noqa: E402
from peers.products import ProductRecorder, time_products  # noqa: E402

from braing3n import training  # noqa: E402
from braing3n.config import Config  # noqa: E402
from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402
from braing3n.diffusion.conditions import Vocabularies, nullify  # noqa: E402
from braing3n.diffusion.model import DiT  # noqa: E402
from braing3n.diffusion.sample import Arm, list_samples, sample_tokens  # noqa: E402
from braing3n.diffusion.train import compute_loss  # noqa: E402
from braing3n.longitudinal.model import Bridge  # noqa: E402
from braing3n.longitudinal.train import compute_loss as compute_bridge_loss  # noqa: E402

MAX_RATIO, MAX_GAP, MAX_GB = 1.05, 1e-4, 24.0
GRID, D, GUIDANCE = (10, 12, 10), 32, 2.0
CONFIG = Config()


def build_dit() -> DiT:
    """The paper's DiT with random weights, zero-initialised layers included."""
    settings = CONFIG.diffusion
    sites = tuple(f"site {i}" for i in range(settings.n_sites))
    words = Vocabularies(
        settings.diseases, ("F", "M"), ("T1", "T1c", "T2", "FLAIR"), sites, ("wildtype", "mutant")
    )
    model = DiT(settings, words, D, GRID)
    for layer in (*(block.modulate for block in model.blocks), model.modulate, model.leave):
        torch.nn.init.normal_(layer.weight, std=0.02)
    return model


def clock(work) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.no_grad()
def compare_steps(model: DiT, batch: int, n_rounds: int) -> tuple[float, float, float]:
    """The median ratio of a guided step to two plain ones, the largest gap of their velocities, the share."""
    x, t = torch.randn(batch, model.n_tokens, D), torch.rand(batch)
    codes, age = torch.zeros(batch, 5, dtype=torch.int64), torch.full((batch,), 60.0)
    null = nullify(codes, age, model.nulls)

    def plain() -> torch.Tensor:
        unconditional = model(x, t, *null)
        return unconditional + GUIDANCE * (model(x, t, codes, age) - unconditional)

    def guided() -> torch.Tensor:
        return model.guide(x, t, codes, age, GUIDANCE)

    with ProductRecorder() as recorder:
        velocity = guided()
    gap = (velocity - plain()).abs().max().item() / plain().abs().max().item()
    ratios, spent = [], []
    for i in range(n_rounds):
        pair = [guided, plain] if i % 2 else [plain, guided]
        seconds = {work.__name__: clock(work) for work in pair}
        ratios.append(seconds["guided"] / seconds["plain"])
        spent.append(seconds["guided"])
        print(
            f"  guided {seconds['guided']:.2f} s, two plain {seconds['plain']:.2f} s, ratio {ratios[-1]:.3f}"
        )
    share = time_products(recorder.counts)[0] / statistics.median(spent)
    return statistics.median(ratios), gap, share


def time_sampling(model: DiT, batch: int) -> float:
    """Seconds of two guided sampling steps."""
    table = list_samples([Arm("any", "T1", disease="AD", age_years=60.0)], batch)
    settings = CONFIG.diffusion.sampling.model_copy(update={"n_steps": 2, "precision": "float32"})
    return clock(lambda: sample_tokens(model, table, settings, torch.device("cpu")))


def time_training(batch: int) -> dict[str, float]:
    """Seconds of one training step of each generator: forward, backward and AdamW's update."""
    tokens = torch.randn(batch, 1200, D), torch.randn(batch, 1200, D)
    t, codes, age = torch.rand(batch), torch.zeros(batch, 5, dtype=torch.int64), torch.full((batch,), 60.0)
    dit, bridge = build_dit(), Bridge(CONFIG.longitudinal, D, GRID)
    options = CONFIG.longitudinal

    def compute_dit() -> torch.Tensor:
        return compute_loss(dit, *tokens, t, codes, age, options=CONFIG.diffusion.optimiser)

    def compute_bridge() -> torch.Tensor:
        noise, zero = torch.randn(batch, 1200, D), torch.zeros(batch)
        known = codes[:, :2], age, zero, zero + 2
        named = {"settings": options, "scale": bridge.change_scale}
        return compute_bridge_loss(bridge, *tokens, noise, t, *known, **named)

    def step(model: torch.nn.Module, compute, settings) -> float:
        optimiser = training.build_optimiser(model, settings)

        def work() -> None:
            compute().backward()
            optimiser.step()

        return clock(work)

    return {
        "DiT": step(dit, compute_dit, CONFIG.diffusion.optimiser),
        "bridge": step(bridge, compute_bridge, options.optimiser),
    }


def main() -> int:
    """Print the figures; 1 where one falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    set_threads(count_cpus())
    print(describe_processor())
    torch.manual_seed(0)
    model = build_dit().eval()
    print(f"guided step, batch {options.batch}, float32:")
    ratio, gap, share = compare_steps(model, options.batch, options.rounds)
    print(f"ratio {ratio:.3f} (target {MAX_RATIO}), largest gap {gap:.1e} of the velocity (target {MAX_GAP})")
    print(f"share of what the machine can do: {share:.2f}")
    print(f"two guided sampling steps, batch {options.batch}: {time_sampling(model, options.batch):.1f} s")
    for name, seconds in time_training(options.batch).items():
        print(f"one training step of the {name}, batch {options.batch}: {seconds:.1f} s")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"peak memory {peak_gb:.1f} GB (at most {MAX_GB:g})")
    return 0 if ratio <= MAX_RATIO and gap <= MAX_GAP and peak_gb <= MAX_GB else 1


if __name__ == "__main__":
    sys.exit(main())
