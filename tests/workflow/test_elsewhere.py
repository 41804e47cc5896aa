"""From another folder, with a home that cannot be written, a dry run plans and leaves what it says."""

import os
import subprocess
import sys

import pytest
import yaml

from .conftest import ROOT, snakemake, touch_scans


@pytest.fixture
def config(tmp_path):
    touch_scans(tmp_path / "raw")
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"run": "x", "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}}}))
    return path


def test_the_clusters_profile_is_found_by_its_path_and_no_home_is_needed(tmp_path, config):
    """As the README writes it."""
    command = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "slurm"), "all", "--dry-run"]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", config.name]
    environment = os.environ | {"HOME": "/proc", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned = done.stdout + done.stderr
    assert "preprocess_shard" in planned
    assert "gpu=1" in planned, "what the profile alone says of a training"


def test_a_dry_run_writes_inventories_and_settings_alone(tmp_path, config):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = snakemake(tmp_path, "all", "--dry-run", config=config)
    assert done.returncode == 0, done.stderr
    after = {path for path in tmp_path.rglob("*") if path.is_file() and ".snakemake" not in path.parts}
    assert {path: path.read_bytes() for path in before} == before
    new = {path.relative_to(tmp_path / "results" / "x").parts for path in after - set(before)}
    others = {"/".join(parts) for parts in new if parts[0] not in ("inventory", "settings")}
    assert others == {"preprocess/mine/participants.tsv", "manifest/review.tsv"}, "leaves of the DAG, too"
