"""Plan an invented corpus of 35,309 volumes in 18 cohorts: our shards against one rule a volume and step.

Prints seconds, memory, jobs and the ratio; exits 1 short of the target.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import yaml
from machine import describe_processor

ROOT = Path(__file__).parents[1]
MAX_SECONDS, MAX_MB, MAX_JOBS, MIN_RATIO = 8, 300, 1500, 20
SUBJECTS_A_SHARD = 50
# Volumes and subjects of each cohort: Table 3 of the paper.
COHORTS = {
    "adni": (10910, 2592),
    "ppmi": (3908, 1484),
    "nki_rs": (2455, 1326),
    "upenn_gbm": (2444, 611),
    "hcp_ya": (2226, 1113),
    "hbn": (2135, 2135),
    "ucsf_pdgm": (1980, 495),
    "bgsp": (1636, 1568),
    "abide2": (1430, 1082),
    "fcon1000": (1197, 1197),
    "ixi": (1159, 582),
    "abide1": (984, 947),
    "schizo": (670, 335),
    "adhd200": (598, 598),
    "corr": (546, 546),
    "oasis1": (436, 416),
    "oasis2": (373, 150),
    "nki_rs2": (222, 222),
}
PEER = """\
VOLUMES = open("volumes.txt").read().split()

rule all:
    input: expand("register/{volume}.nii.gz", volume=VOLUMES)

rule correct_bias:
    input: "raw/{volume}.nii.gz"
    output: "n4/{volume}.nii.gz"
    shell: "touch {output}"

rule extract_brain:
    input: "n4/{volume}.nii.gz"
    output: "brain/{volume}.nii.gz"
    shell: "touch {output}"

rule register:
    input: "brain/{volume}.nii.gz"
    output: "register/{volume}.nii.gz"
    shell: "touch {output}"
"""


def write_corpus(folder: Path) -> Path:
    """Empty scans of every cohort as BIDS; the path of the configuration that names them."""
    cohorts = {}
    for key, (n_volumes, n_subjects) in COHORTS.items():
        visits = [n_volumes // n_subjects + (i < n_volumes % n_subjects) for i in range(n_subjects)]
        for subject, n_visits in enumerate(visits):
            for visit in range(n_visits):
                anat = folder / "raw" / key / f"sub-{subject:05d}" / f"ses-{visit}" / "anat"
                anat.mkdir(parents=True)
                (anat / f"sub-{subject:05d}_ses-{visit}_T1w.nii.gz").touch()
        n_shards = -(-n_subjects // SUBJECTS_A_SHARD)
        cohorts[key] = {"kind": "bids", "raw_dir": f"raw/{key}", "n_shards": n_shards}
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump({"run": "corpus", "cohorts": cohorts}))
    return path


def write_peer(folder: Path) -> None:
    """A workflow of three rules a volume over the same number of volumes."""
    (folder / "raw").mkdir(parents=True)
    names = [f"{key}-{i:05d}" for key, (n_volumes, _) in COHORTS.items() for i in range(n_volumes)]
    for name in names:
        (folder / "raw" / f"{name}.nii.gz").touch()
    (folder / "volumes.txt").write_text("\n".join(names))
    (folder / "Snakefile").write_text(PEER)


def plan(arguments: list[str], folder: Path) -> tuple[float, float, int]:
    """Seconds, peak MB and jobs of one dry run."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--cores", "2"]
    log = folder / "plan.log"
    start = time.monotonic()
    with open(log, "w") as out:
        pid = os.posix_spawn(
            command[0],
            [*command, "--directory", str(folder)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)],
        )
        _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    text = log.read_text()
    total = re.search(r"^total\s+(\d+)", text, re.MULTILINE)
    if status or not total:
        raise SystemExit(f"the dry run failed:\n{text[-2000:]}")
    return seconds, usage.ru_maxrss / 1024, int(total[1])


def main() -> int:
    """Plan both and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="our plans; the median counts")
    repeats = parser.parse_args().repeats
    print(describe_processor(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        ours_dir, peer_dir = Path(name) / "ours", Path(name) / "peer"
        ours_dir.mkdir()
        config = write_corpus(ours_dir)
        snakefile = ["all", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
        first, _, _ = plan(snakefile, ours_dir)
        runs = [plan(snakefile, ours_dir) for _ in range(repeats)]
        seconds, mb, n_jobs = (
            statistics.median(run[0] for run in runs),
            max(run[1] for run in runs),
            runs[0][2],
        )
        print(f"ours: {seconds:.1f} s (first walk {first:.1f} s), {mb:.0f} MB, {n_jobs} jobs", flush=True)
        write_peer(peer_dir)
        peer_seconds, peer_mb, peer_jobs = plan(["all", "--snakefile", str(peer_dir / "Snakefile")], peer_dir)
    ratio = peer_seconds / seconds
    print(f"one rule a volume and step: {peer_seconds:.1f} s, {peer_mb:.0f} MB, {peer_jobs} jobs")
    print(f"ratio {ratio:.1f} (target {MIN_RATIO}); at most {MAX_SECONDS} s, {MAX_MB} MB, {MAX_JOBS} jobs")
    is_good = seconds <= MAX_SECONDS and mb <= MAX_MB and n_jobs <= MAX_JOBS and ratio >= MIN_RATIO
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
