"""The Slurm profile against a real Slurm: jobs run inside it, and the whole workflow goes through it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .cluster import Cluster, find_missing_programs, find_processes, start_cluster

ROOT = Path(__file__).parents[2]
MISSING = find_missing_programs()

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: no {', '.join(MISSING)}"),
]

TRIVIAL_SNAKEFILE = """\
rule all:
    input: "plain.txt", "gpu.txt"
    localrule: True

rule write_job_id:
    output: "plain.txt"
    shell: "echo $SLURM_JOB_ID > {output}"

rule train_mae:
    input: "plain.txt"
    output: "gpu.txt"
    shell: "echo $SLURM_JOB_ID > {output}"
"""


def run_snakemake(cluster: Cluster, working_dir: Path, *arguments: str, limit_s: int) -> str:
    """What Snakemake reported; fails with the end of it where Snakemake failed."""
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm", "all", *arguments]
    done = subprocess.run(
        command,
        cwd=working_dir,
        env=cluster.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
    )
    assert done.returncode == 0, f"snakemake ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


def test_stopped_cluster_leaves_nothing():
    with start_cluster() as cluster:
        cluster.ask("sbatch", "--output=/dev/null", "--wrap=sleep 600")
        for _ in range(150):
            states = [job["JobState"] for job in cluster.list_jobs()]
            if states != ["PENDING"]:
                break
            time.sleep(0.2)
        assert states == ["RUNNING"]
        assert find_processes(cluster.folder)
    assert find_processes(cluster.folder) == []
    assert not cluster.folder.exists()


def test_jobs_run_inside_slurm(tmp_path):
    (tmp_path / "Snakefile").write_text(TRIVIAL_SNAKEFILE)
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    with start_cluster() as cluster:
        run_snakemake(cluster, tmp_path, limit_s=300)
        jobs = {job["Comment"]: job for job in cluster.list_jobs()}
    assert set(jobs) == {"rule_write_job_id", "rule_train_mae"}
    assert (tmp_path / "plain.txt").read_text().strip() == jobs["rule_write_job_id"]["JobId"]
    assert (tmp_path / "gpu.txt").read_text().strip() == jobs["rule_train_mae"]["JobId"]
    # Only the profile says that training wants a GPU.
    assert jobs["rule_train_mae"]["TresPerJob"] == "gres:gpu:1"
    assert "TresPerJob" not in jobs["rule_write_job_id"]


def test_whole_workflow_on_slurm(tmp_path):
    copy_dir = copy_checkout(tmp_path / "checkout")
    with start_cluster(n_cpus=4) as cluster:
        run_snakemake(cluster, copy_dir, "--configfile", "config/smoke.yaml", limit_s=1500)
        jobs = cluster.list_jobs()
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert len(jobs) <= 25
    rules = {job["Comment"].removeprefix("rule_").split("_wildcards_")[0] for job in jobs}
    assert {"preprocess_shard", "train_mae", "train_diffusion", "tabulate_paper"} <= rules
    assert (copy_dir / "results/smoke/paper/index.html").stat().st_size > 0


def copy_checkout(target: Path) -> Path:
    """The checkout as it is, without what runs have written; fetched resources are shared, not copied."""
    written = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".snakemake", ".*_cache", "*.egg-info")
    runs = {"results", "resources", "logs", "benchmarks"}

    def ignore(folder: str, names: list[str]) -> set[str]:
        return written(folder, names) | (runs & set(names) if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, target, symlinks=True, ignore=ignore)
    (ROOT / "resources").mkdir(exist_ok=True)
    (target / "resources").symlink_to(ROOT / "resources")
    return target
