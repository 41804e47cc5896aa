"""Exact nearest neighbours of latents on disk against scikit-learn's brute force, and the search's memory.

Both look for each row's nearest other row among the same half-precision rows, by turns in one process. The
median of their ratios of time is the claim: at least 2, with equal neighbours; beside it the share of what
the machine can do, the least product that the search needs alone. The size is the largest at which
scikit-learn's float32 rows fit into --budget-mb. Ours then searches --rows rows of 38,400 numbers by
memory map in a process of its own (35,309 in the paper; fewer by default): at most 2 GB beside the mapped
file. Exits 1 short of a target.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402
from braing3n.memorization.neighbours import find_nearest  # noqa: E402

WIDTH, MIN_RATIO, MAX_GB = 38_400, 2.0, 2.0


def write_latents(path: Path, n: int) -> np.ndarray:
    """Half-precision rows (n, 38,400) on disk, block by block."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n, WIDTH))
    rng = np.random.default_rng(0)
    for start in range(0, n, 256):
        rows[start : start + 256] = rng.standard_normal((min(256, n - start), WIDTH), dtype=np.float32)
    rows.flush()
    return np.load(path, mmap_mode="r")


def search_ours(rows: np.ndarray) -> np.ndarray:
    """Each row's nearest other row."""
    owner = np.arange(len(rows))
    return find_nearest(rows, rows, owner, owner, "ours")[0]


def search_theirs(rows: np.ndarray) -> np.ndarray:
    """The same by scikit-learn, on which float16 is cast as a user would."""
    from sklearn.neighbors import NearestNeighbors

    whole = np.asarray(rows, dtype=np.float32)
    found = NearestNeighbors(n_neighbors=1, algorithm="brute", n_jobs=-1).fit(whole)
    return found.kneighbors(return_distance=False)[:, 0]


def time_product(n: int) -> float:
    """Seconds of half the products of n rows with one another: each pair of rows is compared once."""
    import torch

    rows, half = torch.randn(n, WIDTH), n // 2
    rows[:half] @ rows.T
    start = time.perf_counter()
    rows[:half] @ rows.T
    return time.perf_counter() - start


def compare(rows: np.ndarray, n_rounds: int) -> tuple[float, float, bool]:
    """The median ratio of scikit-learn's seconds to ours, the share, and whether the neighbours are equal."""
    ratios, shares, is_equal = [], [], True
    for i in range(n_rounds):
        seconds, found = {}, {}
        for search in (search_ours, search_theirs) if i % 2 else (search_theirs, search_ours):
            start = time.perf_counter()
            found[search.__name__] = search(rows)
            seconds[search.__name__] = time.perf_counter() - start
        ratios.append(seconds["search_theirs"] / seconds["search_ours"])
        shares.append(time_product(len(rows)) / seconds["search_ours"])
        is_equal &= bool((found["search_ours"] == found["search_theirs"]).all())
        print(
            f"  ours {seconds['search_ours']:.1f} s, scikit-learn {seconds['search_theirs']:.1f} s, "
            f"ratio {ratios[-1]:.2f}"
        )
    return statistics.median(ratios), statistics.median(shares), is_equal


def read_own_mb() -> float:
    """Peak memory of this process without mapped files' pages, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return found["RssAnon"] / 1024


def search_alone(path: Path) -> None:
    """Search a file's rows and print the seconds and the most memory that was seen at a block's end."""
    import threading

    peak, is_done = [0.0], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.05):
            peak[0] = max(peak[0], read_own_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    search_ours(np.load(path, mmap_mode="r"))
    seconds = time.perf_counter() - start
    is_done.set()
    thread.join()
    print(f"{seconds} {peak[0]}")


def main() -> int:
    """Print the figures; 1 where one falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budget-mb", type=int, default=400, help="scikit-learn's float32 rows")
    parser.add_argument("--rows", type=int, default=4096, help="of the search by memory map")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    set_threads(count_cpus())
    if options.alone:
        search_alone(options.alone)
        return 0
    print(describe_processor())
    import torch  # noqa: F401  # not in the first search's time

    n = options.budget_mb * 2**20 // (4 * WIDTH)
    with tempfile.TemporaryDirectory() as folder:
        rows = write_latents(Path(folder) / "few.npy", n)
        print(f"{n} rows of {WIDTH} numbers, float16 on disk:")
        ratio, share, is_equal = compare(rows, options.rounds)
        path = Path(folder) / "many.npy"
        write_latents(path, options.rows)
        command = [sys.executable, __file__, "--alone", str(path)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    print(f"ratio {ratio:.2f} (target {MIN_RATIO}), neighbours {'equal' if is_equal else 'differ'}")
    print(f"share of what the machine can do: {share:.2f}")
    seconds, peak_gb = float(printed[-2]), float(printed[-1]) / 1024
    print(
        f"{options.rows} rows by memory map: {seconds:.0f} s, {peak_gb:.2f} GB beside the mapped file "
        f"(target {MAX_GB}); time grows with the square of the rows"
    )
    return 0 if ratio >= MIN_RATIO and is_equal and peak_gb <= MAX_GB else 1


if __name__ == "__main__":
    sys.exit(main())
