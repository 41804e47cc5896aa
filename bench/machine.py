"""What this machine can do, to hold a time against: its processor, copies of memory, a walk over files."""

from __future__ import annotations

import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from braing3n.core.runtime import count_cpus  # noqa: E402

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # those on which the figures hang
NUMBERS = {"family": "cpu family", "model": "model"}  # a virtual machine may give no better name
COPIED_MB, N_COPIES = 256, 8


def describe_processor() -> str:
    """One line: the processor, the CPUs that this process may use, and the instruction sets that matter."""
    facts = read_processor()
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = ", ".join(f"{word} {facts[key]}" for word, key in NUMBERS.items() if key in facts)
    sets = [name for name in INSTRUCTION_SETS if name in facts.get("flags", "").split()]
    text = f"{name} ({numbers})" if numbers else name
    return f"processor: {text}, {count_cpus()} CPUs, {' '.join(sets) or 'none of the known instruction sets'}"


def read_processor() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def measure_copy(n_threads: int = 1) -> float:
    """GB a second, read and written, of the fastest of some copies of memory by so many threads."""
    import numpy as np

    sources = np.array_split(np.ones(COPIED_MB * 2**20 // 8), n_threads)
    targets, seconds = [np.ones_like(source) for source in sources], []
    with ThreadPoolExecutor(n_threads) as pool:
        for _ in range(N_COPIES):
            start = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            seconds.append(time.perf_counter() - start)
    return 2 * COPIED_MB * 2**20 / min(seconds) / 1e9


def time_walk_alone(folder: Path) -> float:
    """Seconds of the least that a walk must do: list every folder of a tree, one stat a file."""
    start = time.perf_counter()
    for parent, _, names in os.walk(folder):
        for name in names:
            os.stat(f"{parent}/{name}")
    return time.perf_counter() - start


if __name__ == "__main__":
    print(describe_processor())
    for n_threads in sorted({1, count_cpus()}):
        print(f"memory: {measure_copy(n_threads):.1f} GB/s copied by {n_threads} threads")
