"""One training step of ours and of a peer's, each in processes of its own, by turns: what it takes."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from machine import describe_processor, measure_copy

from braing3n.core.runtime import count_cpus, set_threads

SIDES = ("ours", "monai")
UPDATE_BYTES = 28  # a parameter's: AdamW reads value, gradient and two moments, and writes three of them


class Targets(NamedTuple):
    """The most that ours takes of the peer's time and memory, and the least share of what the machine can."""

    time_ratio: float
    memory_ratio: float
    share: float


def build_parser(description: str) -> argparse.ArgumentParser:
    """The options that every comparison of two sides has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one")
    parser.add_argument("--threads", type=int, default=count_cpus())
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser


def compare_sides(
    script: str, options: argparse.Namespace, builders: dict[str, Callable[[], tuple]], targets: Targets
) -> bool:
    """Run both sides by turns; print seconds and peak memory, and whether ours meets its targets.

    Seconds are the median of all steps. Processors' seconds stand beside them: on a machine that others
    use they say more. The share is that of a step in which the machine, in the same process and by turns with
    the steps, multiplies the step's matrices alone and reads and writes what AdamW does. builders: for
    each side what makes (model, function to its loss); in a process that this function started, only that of
    the side is called.
    """
    if options.side:
        print(
            json.dumps(
                measure_steps(builders[options.side], options.steps, options.threads, options.precision)
            )
        )
        sys.exit(0)
    print(f"{describe_processor()}; {options.precision}, {options.threads} threads", flush=True)
    found: dict[str, list[dict]] = {side: [] for side in SIDES}
    for turn in range(options.rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            command = [sys.executable, script, "--side", side, "--steps", str(options.steps)]
            command += ["--threads", str(options.threads), "--precision", options.precision]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {turn + 1}, {side}: {found[side][-1]}", flush=True)
    return _judge({side: summarise(runs) for side, runs in found.items()}, targets)


def _judge(middle: dict[str, dict[str, float]], targets: Targets) -> bool:
    """Print the sides' medians, their ratios and shares; whether the targets are met."""
    for side, found in middle.items():
        text = f"{found['seconds']:.2f} s a step ({found['cpu_seconds']:.2f} s of processors)"
        share = f"{found['share']:.3f} ({found['cpu_share']:.3f} of processors' seconds)"
        print(f"{side}: {text}, peak {found['peak_mb']:.0f} MB; share of the machine {share}")
    ours, peer = middle.values()
    ratio = {name: ours[name] / peer[name] for name in ("seconds", "cpu_seconds", "peak_mb")}
    text = f"of processors' seconds {ratio['cpu_seconds']:.3f}"
    print(f"time: ratio {ratio['seconds']:.3f} (at most {targets.time_ratio}); {text}")
    print(f"peak memory: ratio {ratio['peak_mb']:.3f} (at most {targets.memory_ratio})")
    print(f"share of what the machine can do: {ours['share']:.3f} (at least {targets.share})")
    is_fast = ratio["seconds"] <= targets.time_ratio and ours["share"] >= targets.share
    return is_fast and ratio["peak_mb"] <= targets.memory_ratio


def measure_steps(
    build: Callable[[], tuple], n_steps: int, n_threads: int, precision: str = "float32"
) -> dict[str, list[float] | float]:
    """Seconds of each step but the first and of its least, and the peak memory in MB above the imports."""
    set_threads(n_threads)
    import monai.networks.nets  # noqa: F401  both sides carry it, so that only models are compared
    import torch
    from peers.products import ProductRecorder, time_products

    before_mb = _read_memory_mb()
    torch.manual_seed(0)
    model, measure_loss = build()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    n_parameters = sum(p.numel() for p in model.parameters())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = measure_loss()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    with ProductRecorder() as recorder:
        step()
    found: dict[str, list[float]] = {"seconds": [], "cpu_seconds": [], "least": [], "cpu_least": []}
    for i in range(n_steps):
        start, cpu_start = time.monotonic(), time.process_time()
        step()
        spent = time.monotonic() - start, time.process_time() - cpu_start
        if i == 0:
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        update_s = UPDATE_BYTES * n_parameters / 1e9 / measure_copy(n_threads)
        products_s, products_cpu_s = time_products(recorder.counts)
        least = products_s + update_s, products_cpu_s + n_threads * update_s
        for name, value in zip(found, (*spent, *least), strict=True):
            found[name].append(round(value, 3))
    return {**found, "peak_mb": round(peak_mb - before_mb), "n_parameters": n_parameters}


def _read_memory_mb() -> float:
    """What this process has in memory now."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * resource.getpagesize() / 2**20


def summarise(runs: list[dict]) -> dict[str, float]:
    """Medians over all steps of all processes of a side."""
    middle = {
        name: statistics.median(value for run in runs for value in run[name])
        for name in ("seconds", "cpu_seconds", "least", "cpu_least")
    }
    shares = {
        "share": middle["least"] / middle["seconds"],
        "cpu_share": middle["cpu_least"] / middle["cpu_seconds"],
    }
    return middle | shares | {"peak_mb": statistics.median(run["peak_mb"] for run in runs)}
