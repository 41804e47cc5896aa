"""One training step of ours and of a peer's, each in processes of its own, by turns: what it takes."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIDES = ("ours", "monai")


def build_parser(description: str) -> argparse.ArgumentParser:
    """The options that every comparison of two sides has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser


def compare_sides(
    script: str,
    options: argparse.Namespace,
    builders: dict[str, Callable[[], tuple]],
    max_time_ratio: float,
    max_memory_ratio: float,
) -> bool:
    """Run both sides by turns; print seconds and peak memory, and whether the ratios meet their targets.

    Seconds are the median of all steps. Processors' seconds stand beside them: on a machine that others
    use they say more. builders: for each side what makes (model, function to its loss); in a process that
    this function started, only that of the side is called.
    """
    if options.side:
        print(json.dumps(measure_steps(builders[options.side], options.steps, options.threads)))
        sys.exit(0)
    found: dict[str, list[dict]] = {side: [] for side in SIDES}
    for turn in range(options.rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            command = [sys.executable, script, "--side", side, "--steps", str(options.steps)]
            command += ["--threads", str(options.threads)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {turn + 1}, {side}: {found[side][-1]}", flush=True)
    middle = {side: _summarise(runs) for side, runs in found.items()}
    for side, (seconds, cpu_seconds, peak_mb) in middle.items():
        print(f"{side}: {seconds:.2f} s a step ({cpu_seconds:.2f} s of processors), peak {peak_mb:.0f} MB")
    time_ratio, cpu_ratio, memory_ratio = (a / b for a, b in zip(*middle.values(), strict=True))
    print(f"time: ratio {time_ratio:.3f} (at most {max_time_ratio}); of processors' seconds {cpu_ratio:.3f}")
    print(f"peak memory: ratio {memory_ratio:.3f} (at most {max_memory_ratio})")
    return time_ratio <= max_time_ratio and memory_ratio <= max_memory_ratio


def measure_steps(build: Callable[[], tuple], n_steps: int, n_threads: int) -> dict:
    """Seconds of each step but the first, and the peak memory in MB above that after the imports."""
    from braing3n.runtime import set_threads

    set_threads(n_threads)
    import monai.networks.nets  # noqa: F401  both sides carry it, so that only models are compared
    import torch

    before_mb = _read_memory_mb()
    torch.manual_seed(0)
    model, measure_loss = build()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    seconds, cpu_seconds = [], []
    for _ in range(n_steps + 1):
        start, cpu_start = time.monotonic(), time.process_time()
        measure_loss().backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds.append(round(time.monotonic() - start, 3))
        cpu_seconds.append(round(time.process_time() - cpu_start, 3))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n_parameters = sum(p.numel() for p in model.parameters())
    return {
        "seconds": seconds[1:],
        "cpu_seconds": cpu_seconds[1:],
        "peak_mb": round(peak_mb - before_mb),
        "n_parameters": n_parameters,
    }


def _read_memory_mb() -> float:
    """What this process has in memory now."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * resource.getpagesize() / 2**20


def _summarise(runs: list[dict]) -> tuple[float, float, float]:
    seconds, cpu_seconds = (
        statistics.median(s for run in runs for s in run[name]) for name in ("seconds", "cpu_seconds")
    )
    return seconds, cpu_seconds, statistics.median(run["peak_mb"] for run in runs)
