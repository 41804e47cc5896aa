"""One training step of the masked autoencoder at the paper's size: ours against MONAI's MaskedAutoEncoderViT.

Batch 4, float32, AdamW, on the CPU, equal layers; MONAI's module computes no loss, so it gets the same masked
mean squared error. Each side runs in processes of its own, by turns. Prints seconds a step (median) and peak
memory above the imports, and their ratios; exits 1 short of a target.
"""

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

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

MAX_TIME_RATIO, MAX_MEMORY_RATIO = 0.65, 0.72
BATCH_SIZE, SHAPE, PATCH_SIZE = 4, (160, 192, 160), 16


def build_ours() -> tuple:
    """Our module, and a function of volumes to its loss."""
    import torch

    from braing3n.config import PretrainSettings
    from braing3n.pretrain.model import MaskedAutoencoder

    model = MaskedAutoencoder(PretrainSettings(), SHAPE)
    return model, lambda volume: model(volume, torch.rand(len(volume), model.n_tokens))


def build_peer() -> tuple:
    """MONAI's module of the same layers, and a function of volumes to its loss."""
    from monai.networks.nets import MaskedAutoEncoderViT

    sizes = {"hidden_size": 1152, "mlp_dim": 4608, "num_layers": 12, "num_heads": 16}
    decoder = {f"decoder_{name}": n for name, n in (sizes | {"num_layers": 8}).items()}
    model = MaskedAutoEncoderViT(1, SHAPE, PATCH_SIZE, masking_ratio=0.7, qkv_bias=True, **sizes, **decoder)

    def measure_loss(volume):
        predicted, is_hidden = model(volume)
        b, (d, h, w), p = len(volume), (n // PATCH_SIZE for n in SHAPE), PATCH_SIZE
        patches = volume.reshape(b, d, p, h, p, w, p).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, d * h * w, p**3)
        errors = (predicted - patches).square().mean(dim=-1)
        return (errors * is_hidden).sum() / is_hidden.sum()

    return model, measure_loss


def measure(side: str, n_steps: int, n_threads: int) -> dict:
    """Seconds of each step but the first, and the peak memory in MB above that after the imports."""
    from braing3n.runtime import set_threads

    set_threads(n_threads)
    import monai.networks.nets  # noqa: F401  both sides carry it, so that only models are compared
    import torch

    before = read_memory_mb()
    torch.manual_seed(0)
    build: dict[str, Callable[[], tuple]] = {"ours": build_ours, "monai": build_peer}
    model, measure_loss = build[side]()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    volume, seconds = torch.randn(BATCH_SIZE, 1, *SHAPE), []
    for _ in range(n_steps + 1):
        start = time.monotonic()
        measure_loss(volume).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds.append(time.monotonic() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n_parameters = sum(p.numel() for p in model.parameters())
    return {"seconds": seconds[1:], "peak_mb": peak - before, "n_parameters": n_parameters}


def read_memory_mb() -> float:
    """What this process has in memory now."""
    n_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return n_pages * resource.getpagesize() / 2**20


def main() -> int:
    """Run both sides by turns and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=2, help="timed steps of a process, after one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=("ours", "monai"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.steps, options.threads)))
        return 0
    found: dict[str, list[dict]] = {"ours": [], "monai": []}
    for turn in range(options.rounds):
        for side in sorted(found, reverse=turn % 2 == 0):
            command = [sys.executable, __file__, "--side", side, "--steps", str(options.steps)]
            command += ["--threads", str(options.threads)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {turn + 1}, {side}: {found[side][-1]}", flush=True)
    seconds, peaks = {}, {}
    for side, runs in found.items():
        seconds[side] = statistics.median(s for run in runs for s in run["seconds"])
        peaks[side] = statistics.median(run["peak_mb"] for run in runs)
        print(f"{side}: {seconds[side]:.1f} s a step of {BATCH_SIZE}, peak {peaks[side]:.0f} MB")
    time_ratio, memory_ratio = seconds["ours"] / seconds["monai"], peaks["ours"] / peaks["monai"]
    print(f"time: ratio {time_ratio:.3f} (at most {MAX_TIME_RATIO})")
    print(f"peak memory: ratio {memory_ratio:.3f} (at most {MAX_MEMORY_RATIO})")
    return 0 if time_ratio <= MAX_TIME_RATIO and memory_ratio <= MAX_MEMORY_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
