"""Walk and ingest an invented raw corpus of 35,309 volumes in the 18 cohorts' own layouts; then walk again.

The tree is each cohort's own miniature with its people copied, under new ids, as often as the paper has
volumes: images with valid headers of true shape and next to no voxels, DICOM series of as many files as real
ones (the first and the last can be read), tables as long and as wide as real ones. Prints seconds, files a
second, memory and the ratio of the two walks; exits 1 short of a target. Writing the tree is not timed.
With --ppmi: PPMI alone, each visit with all series of its protocol, also those that are none of ours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ingest_parts.corpus import COHORTS, DICOM, write_corpus  # noqa: E402
from machine import describe_processor, time_walk_alone  # noqa: E402

from braing3n.cohort import load_cohort  # noqa: E402
from braing3n.config import load_config  # noqa: E402

MAX_MINUTES, MAX_MB, MIN_RATIO, N_CORES = 5, 2048, 10, 2
MAX_PPMI_SECONDS = 60
MAX_VOLUMES_OFF = 0.01  # a share of what the paper has


def run(arguments: list[str], folder: Path, log: Path) -> tuple[float, float, float]:
    """Seconds, peak MB and CPU seconds of a child process in `folder`."""
    start = time.monotonic()
    with open(log, "w") as out:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(arguments[:6])} failed:\n{log.read_text()[-2000:]}")
    return time.monotonic() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def time_walk(folder: Path, name: str) -> tuple[float, float, float, dict[str, float]]:
    """`run` of writing all inventories, and the seconds of each cohort that was walked."""
    start = time.time()
    command = ["-m", "braing3n", "inventory", "build", "--config", "corpus.yaml"]
    spent = run(command, folder, folder / f"{name}.log")
    # One cohort is walked after the other, and its record is the last file that is written.
    inventories = (folder / "results" / "corpus" / "inventory").iterdir()
    ends = {path.name: (path / ".walk.json").stat().st_mtime for path in inventories}
    keys = sorted((key for key, end in ends.items() if end > start), key=ends.get)
    starts = dict(zip(keys, [start, *(ends[key] for key in keys)], strict=False))
    return *spent, {key: ends[key] - starts[key] for key in keys}


def time_records(folder: Path, keys: list[str]) -> tuple[float, float, dict[str, float]]:
    """Wall seconds and peak MB of cohorts' ingest, two at a time, and each cohort's seconds."""
    results = Path("results/corpus")
    cohorts = load_config(folder / "corpus.yaml").cohorts
    (folder / results / "ingest").mkdir(parents=True, exist_ok=True)

    def ingest(key: str) -> tuple[float, float, float]:
        command = ["-m", "braing3n", "ingest", "cohort", "--key", key, "--run", "corpus"]
        for name in ("scans", "left_out", "tables"):
            command += [f"--{name.replace('_', '-')}", str(results / "inventory" / key / f"{name}.tsv")]
        command += ["--records", str(results / "ingest" / f"{key}.parquet")]
        command += ["--exclusions", str(results / "ingest" / f"{key}_exclusions.parquet")]
        return run([*command, "--settings", cohorts[key].as_json()], folder, folder / f"{key}.log")

    start = time.monotonic()
    with ThreadPoolExecutor(N_CORES) as pool:
        done = dict(zip(keys, pool.map(ingest, keys), strict=True))
    seconds = time.monotonic() - start
    return seconds, max(run[1] for run in done.values()), {key: run[0] for key, run in done.items()}


def measure(folder: Path, n_repeats: int) -> bool:
    """Walk, ingest, walk again; whether every target is met."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    first, walk_mb, first_cpu, walked = time_walk(folder, "first")
    nifti = [key for key in COHORTS if key not in DICOM]
    nifti_seconds, nifti_mb, recorded = time_records(folder, nifti)
    _, dicom_mb, spent = time_records(folder, list(DICOM))
    recorded |= spent
    repeats = [time_walk(folder, "again") for _ in range(n_repeats)]
    second, again_mb, second_cpu = map(statistics.median, list(zip(*repeats, strict=True))[:3])
    is_good, total = not any(run[3] for run in repeats), 0
    print("cohort      volumes (paper)    files   walk s  records s")
    for key in COHORTS:
        scans = folder / "results" / "corpus" / "inventory" / key / "scans.tsv"
        n_found, n_paper = len(scans.read_text().splitlines()) - 1, load_cohort(key).n_volumes
        n_files = sum(len(names) for _, _, names in os.walk(folder / "raw" / key))
        is_good &= abs(n_found - n_paper) <= MAX_VOLUMES_OFF * n_paper
        total += n_found
        rate = f"  {n_files / (walked[key] + recorded[key]):.0f} files/s" if key in DICOM else ""
        times = f"{walked[key]:8.1f} {recorded[key]:10.1f}"
        print(f"{key:10s} {n_found:8d} {n_paper:8d} {n_files:8d} {times}{rate}")
    minutes = (sum(walked[key] for key in nifti) + nifti_seconds) / 60
    mb, ratio = max(walk_mb, nifti_mb, dicom_mb, again_mb), first / second
    print(f"{total} volumes; the 16 NIfTI cohorts to records: {minutes:.2f} min (at most {MAX_MINUTES})")
    print(f"peak: walk {walk_mb:.0f} MB, records {max(nifti_mb, dicom_mb):.0f} MB (at most {MAX_MB})")
    print(f"walk of everything {first:.1f} s ({first_cpu:.1f} s of CPU)")
    print(f"again, nothing changed: {second:.1f} s ({second_cpu:.1f} s of CPU)")
    share = time_walk_alone(folder / "raw") / second
    print(f"ratio {ratio:.1f} (target {MIN_RATIO}); {share:.2f} of what the machine can do, one stat a file")
    return is_good and minutes <= MAX_MINUTES and mb <= MAX_MB and ratio >= MIN_RATIO


def measure_ppmi(folder: Path) -> bool:
    """Walk and ingest PPMI; whether both take no longer than the target."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    walk_s, walk_mb, walk_cpu, _ = time_walk(folder, "first")
    records_s, records_mb, _ = time_records(folder, ["ppmi"])
    counts = [(bool(names), len(names)) for _, _, names in os.walk(folder / "raw" / "ppmi" / "PPMI")]
    n_series, n_files = map(sum, zip(*counts, strict=True))
    print(f"PPMI: {n_series} folders with files, {n_files} files")
    print(f"walk {walk_s:.1f} s ({walk_cpu:.1f} s of CPU, {walk_mb:.0f} MB)")
    print(f"records {records_s:.1f} s ({records_mb:.0f} MB)")
    print(f"ratio {MAX_PPMI_SECONDS / (walk_s + records_s):.2f} of at most {MAX_PPMI_SECONDS} s (target 1)")
    return walk_s + records_s <= MAX_PPMI_SECONDS


def main() -> int:
    """Write the tree, where it is not kept from before, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="folder of a tree that stays, written where it is missing")
    parser.add_argument("--repeats", type=int, default=3, help="further walks; the median counts")
    parser.add_argument("--ppmi", action="store_true", help="PPMI alone, with all series of its visits")
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "corpus.yaml").exists():
            write_corpus(folder, ["ppmi"] if options.ppmi else list(COHORTS), options.ppmi)
        is_good = measure_ppmi(folder) if options.ppmi else measure(folder, options.repeats)
        return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
