"""A killed run, unlocked and started again, ends in the same bytes as an undisturbed one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from braing3n.core.runtime import digest_file

from .conftest import ROOT, SMOKE, finish_smoke, link_wheels, snakemake

pytestmark = pytest.mark.workflow
# The log whose first line a job writes -> seconds after it; those of the last job are fewer than it takes.
MOMENTS = {"preprocess/*.log": 8.0, "volumes/*.log": 4.0, "pretrain/*.log": 3.0}


def digest_results(directory):
    """Digests of preprocessed volumes, packed arrays and the encoder's weights."""
    results = directory / "results" / "smoke"
    paths = [*results.glob("preprocess/**/*.nii.gz"), *results.glob("volumes/**/*.b2nd")]
    paths += [results / "pretrain" / "mae.safetensors"]
    return {path.relative_to(results).as_posix(): digest_file(path) for path in paths}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, fetch_resource):
    """The folder of a smoke run that ends with its encoder, and that nothing stopped."""
    return finish_smoke(tmp_path_factory.mktemp("undisturbed"), fetch_resource, "pretrain")


def test_kill_9_unlock_and_rerun_give_the_same_bytes(undisturbed, tmp_path, fetch_resource):
    link_wheels(tmp_path, fetch_resource)
    shutil.copytree(undisturbed / "resources" / "miniatures", tmp_path / "resources" / "miniatures")
    command = [sys.executable, "-m", "snakemake", "pretrain", "--cores", "2", "--directory", str(tmp_path)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(SMOKE)]
    draw = random.SystemRandom()
    log, most = draw.choice(list(MOMENTS.items()))
    seconds = draw.uniform(0, most)
    print(f"killed {seconds:.1f} s after {log}")
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not list((tmp_path / "logs" / "smoke").glob(log)) and process.poll() is None:
        time.sleep(0.05)
    time.sleep(seconds)
    was_running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert snakemake(tmp_path, "pretrain", "--unlock").returncode == 0
    done = snakemake(tmp_path, "pretrain")
    assert done.returncode == 0, done.stderr[-5000:]
    assert was_running, "the run ended before it was killed: the test proves nothing"
    assert digest_results(tmp_path) == digest_results(undisturbed)
