"""The demo's training step beside one busy process a core: threads that yield against threads that spin.

Each side runs in processes of its own, by turns: steps of the demo's masked autoencoder alone, then beside
the busy processes, and again. Ours waits as the package sets it; the peer is the same step with the spinning
that is OpenMP's default. Prints seconds a step (median), how many times slower each side becomes, and the
ratios of the two; exits 1 where ours becomes slower than the target.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus  # noqa: E402

MAX_SLOWDOWN = 2.5  # two threads and two busy processes on two cores: 2 would be a fair share
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# What libgomp and libomp do where nothing is set: 300,000 turns, 200 ms.
SIDES = {"yielding": {}, "spinning": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}}
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


def build_step(**changes: str) -> Callable[[], None]:
    """One step of the demo's masked autoencoder on noise; changes: of its optimiser's settings."""
    from types import SimpleNamespace

    import torch

    from braing3n import training
    from braing3n.config import load_config
    from braing3n.pretrain.model import MaskedAutoencoder

    config = load_config(ROOT / "config" / "demo.yaml")
    options = config.pretrain.optimiser.model_copy(update=changes)
    net = MaskedAutoencoder(config.pretrain, config.volumes.shape)
    optimiser = training.build_optimiser(net, options)
    volume = torch.randn(options.batch_size, 1, *config.volumes.shape)
    run = SimpleNamespace(options=options, plan=range(10**6))  # what `update` reads of a run

    def step() -> None:
        with training.autocast(volume.device, options):
            loss = net(volume, torch.rand(options.batch_size, net.n_tokens))
        loss.backward()
        training.update(run, optimiser, net, 0)

    return step


@contextmanager
def keep_busy(n_processes: int) -> Iterator[list[int]]:
    """Within, so many processes (their ids) compute without a pause; they end with this one at the latest."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_processes)]
    try:
        time.sleep(0.5)  # they start
        yield [process.pid for process in busy]
    finally:
        for process in busy:
            process.kill()
            process.wait()


def measure_side(n_rounds: int, phase_s: float) -> dict[str, list[float]]:
    """Seconds of every step, alone and beside one busy process a core."""
    from braing3n.core.runtime import set_threads

    set_threads(count_cpus())
    step, seconds = build_step(), {"alone": [], "beside": []}
    for _ in range(2):
        step()
    for _ in range(n_rounds):
        seconds["alone"] += time_steps(step, phase_s)
        with keep_busy(count_cpus()):
            seconds["beside"] += time_steps(step, phase_s)
    return seconds


def time_steps(step: Callable[[], None], phase_s: float) -> list[float]:
    """Seconds of each step until phase_s are over, at least one."""
    seconds, until = [], time.monotonic() + phase_s
    while not seconds or time.monotonic() < until:
        start = time.monotonic()
        step()
        seconds.append(time.monotonic() - start)
    return seconds


def main() -> int:
    """Run both sides by turns and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of a phase; each process has two of each kind"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure_side(2, options.seconds)))
        return 0
    print(describe_processor(), flush=True)
    clean = {name: value for name, value in os.environ.items() if name not in WAITING}
    found = {side: {"alone": [], "beside": []} for side in SIDES}
    for turn in range(options.rounds):
        for side in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:
            command = [sys.executable, __file__, "--side", side, "--seconds", str(options.seconds)]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=clean | SIDES[side]
            )
            for phase, seconds in json.loads(done.stdout.splitlines()[-1]).items():
                found[side][phase] += seconds
    middle = {
        side: {phase: statistics.median(seconds) for phase, seconds in phases.items()}
        for side, phases in found.items()
    }
    slowdown = {side: phases["beside"] / phases["alone"] for side, phases in middle.items()}
    for side, phases in middle.items():
        described = (
            f"{phases['alone']:.3f} s a step alone, {phases['beside']:.3f} s beside {count_cpus()} others"
        )
        print(f"{side}: {described}: {slowdown[side]:.2f} times slower")
    for phase in ("alone", "beside"):
        ratio = middle["yielding"][phase] / middle["spinning"][phase]
        print(f"{phase}: ratio {ratio:.3f} (yielding to spinning)")
    print(f"yielding: {slowdown['yielding']:.2f} times slower (at most {MAX_SLOWDOWN}; a fair share is 2)")
    return 0 if slowdown["yielding"] <= MAX_SLOWDOWN else 1


if __name__ == "__main__":
    sys.exit(main())
