"""What bfloat16 gains on this processor and what it costs: the demo's encoder in float32 and in bfloat16.

The volumes of a finished run are encoded in both, by turns, and both features are probed on the same people
and folds. Beside them, on noise: a step of the demo's training, and the paper's encoder on one volume. Prints
seconds and ratios, and how far each probe's r or AUC moves, with its interval. Exits 1 where one moves by
more than the target, or where a processor with units for bfloat16 gains less than the target at the paper's
size.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import ROOT, describe_processor

from braing3n.core.runtime import count_cpus, has_bfloat16, set_threads
from braing3n.manifest.contracts import LABELS

set_threads(count_cpus())  # before torch is loaded

import numpy as np  # noqa: E402
import torch  # noqa: E402
from shared_machine import build_step  # noqa: E402

from braing3n import training  # noqa: E402
from braing3n.core.contracts import read_table  # noqa: E402
from braing3n.latents.settings import LatentsSettings  # noqa: E402
from braing3n.nets.weights import load_model  # noqa: E402
from braing3n.pretrain.model import MaskedAutoencoder  # noqa: E402
from braing3n.pretrain.settings import PretrainSettings  # noqa: E402
from braing3n.probe.compare import score_reading  # noqa: E402
from braing3n.probe.halves import read_probe  # noqa: E402
from braing3n.probe.plan import plan_probes  # noqa: E402
from braing3n.probe.scores import find_interval  # noqa: E402
from braing3n.probe.settings import ProbeSettings  # noqa: E402
from braing3n.volumes.dataset import PackedVolumes  # noqa: E402
from braing3n.volumes.settings import VolumesSettings  # noqa: E402

PRECISIONS = ("float32", "bfloat16")
MAX_DIFFERENCE, MIN_PEOPLE = 0.02, 50  # of a probe's r or AUC; one of fewer people moves by a pair's order
MAX_TIME_RATIO = 0.6  # bfloat16 to float32, of the paper's encoder where there are units for it
CPU = torch.device("cpu")


def compare_times(what: str, calls: dict[str, Callable[[], object]], n_rounds: int) -> float:
    """Print the median seconds of each precision's call, by turns; their ratio."""
    seconds = {precision: [] for precision in calls}
    for turn in range(n_rounds + 1):  # the first does not count
        for precision in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            start = time.perf_counter()
            calls[precision]()
            if turn:
                seconds[precision].append(time.perf_counter() - start)
    exact, rounded = (statistics.median(seconds[precision]) for precision in PRECISIONS)
    described = f"{exact:.3f} s in float32, {rounded:.3f} s in bfloat16"
    print(f"{what}: {described}: ratio {rounded / exact:.3f}", flush=True)
    return rounded / exact


@torch.no_grad()
def encode(encoder: MaskedAutoencoder, volumes: list[torch.Tensor], precision: str) -> np.ndarray:
    """Mean tokens (N, width) of batches of volumes, as `latents` caches them."""
    with training.autocast(CPU, LatentsSettings(precision=precision)):
        return np.concatenate([encoder.encode(volume).float().mean(dim=1).numpy() for volume in volumes])


def compare_encoding(n_rounds: int) -> float:
    """The time ratio of the paper's encoder on one volume of noise."""
    encoder = MaskedAutoencoder(PretrainSettings(), VolumesSettings().shape).eval().requires_grad_(False)
    volume = [torch.randn(1, 1, *encoder.shape)]
    calls = {precision: lambda p=precision: encode(encoder, volume, p) for precision in PRECISIONS}
    return compare_times("the paper's encoder, one volume", calls, n_rounds)


def compare_probes(run_dir: Path, n_rounds: int) -> float:
    """Encode a run's volumes in both precisions and probe them; the largest difference of a value."""
    volume_list, labels = (run_dir / "manifest" / f"{name}.parquet" for name in ("volume_list", "labels"))
    volumes = PackedVolumes(volume_list, run_dir / "volumes")
    encoder = load_model(MaskedAutoencoder, run_dir / "pretrain" / "mae.safetensors")
    loaded = list(training.load_batches(volumes, training.cut_batches(np.arange(len(volumes)), 16)))
    features: dict[str, np.ndarray] = {}

    def keep(precision: str) -> None:
        features[precision] = encode(encoder, loaded, precision)

    calls = {precision: lambda p=precision: keep(p) for precision in PRECISIONS}
    compare_times(f"the run's encoder, {len(volumes)} volumes", calls, n_rounds)
    exact, rounded = (features[precision] for precision in PRECISIONS)
    error = np.sqrt(np.mean((rounded - exact) ** 2, axis=0) / exact.var(axis=0))
    print(f"features: error {np.median(error):.4f} of their deviation over volumes (median of {len(error)})")
    return max(abs(difference) for difference in probe_both(exact, rounded, read_table(labels, LABELS)))


def probe_both(exact: np.ndarray, rounded: np.ndarray, labels) -> list[float]:
    """Print each task's value in float32 and how far bfloat16 moves it; the differences of large tasks."""
    settings, differences = ProbeSettings(), []
    for plan in plan_probes(labels, settings):
        if plan.reason:
            continue
        measure = "r" if plan.task.kind == "regression" else "auc"
        found = [
            score_reading(plan, read_probe(features, plan, settings), settings)[1][measure]
            for features in (exact, rounded)
        ]
        (value, halves), (other, other_halves) = found
        low, high = find_interval(other - value, other_halves - halves)
        interval = "n/a" if np.isnan(low) else f"{low:+.4f}, {high:+.4f}"  # too few people
        described = f"{value:.3f} in float32, bfloat16 {other - value:+.4f} [{interval}]"
        n_people = plan.units["person_id"].nunique()
        print(f"{plan.task.key}, {plan.slice}, {n_people} people: {measure} {described}", flush=True)
        if n_people >= MIN_PEOPLE:
            differences.append(other - value)
    return differences


def main() -> int:
    """Time both precisions, then probe both."""
    parser = argparse.ArgumentParser(description=__doc__)
    run_dir = ROOT / "results" / "demo"
    parser.add_argument("--run", type=Path, default=run_dir, help="folder of a finished run")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each precision")
    parser.add_argument("--threads", type=int, default=count_cpus())
    options = parser.parse_args()
    set_threads(options.threads)
    print(describe_processor(), flush=True)
    steps = {precision: build_step(precision=precision) for precision in PRECISIONS}
    compare_times("a step of the demo's MAE", steps, 3 * options.rounds)
    ratio = compare_encoding(options.rounds)
    has_units = has_bfloat16()
    described = (
        f"at most {MAX_TIME_RATIO}" if has_units else "no target: this processor has no units for bfloat16"
    )
    print(f"time: ratio {ratio:.3f} ({described})")
    if not (options.run / "pretrain" / "mae.safetensors").exists():
        print(f"{options.run} is no finished run: the probes are n/a; `make demo` makes one.")
        return 1
    largest = compare_probes(options.run, options.rounds)
    print(f"probes: largest difference {largest:.4f} (at most {MAX_DIFFERENCE})")
    return 0 if largest <= MAX_DIFFERENCE and (ratio <= MAX_TIME_RATIO or not has_units) else 1


if __name__ == "__main__":
    sys.exit(main())
