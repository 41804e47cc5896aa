"""Killed within any batch, the features of an encoder of others go on and end with the same bytes."""

import multiprocessing
import random
import signal
import sys
from pathlib import Path

import pytest

from braing3n.core.runtime import digest_file
from braing3n.probe.plan import read_weights

sys.path.insert(0, str(Path(__file__).parent))
import extraction
from extraction import N_AT_ONCE, N_BATCHES, N_VOLUMES


@pytest.fixture(scope="module")
def run_child():
    """Extract in a process of its own; its exit code."""
    context = multiprocessing.get_context("forkserver")  # which has imported all and run nothing
    context.set_forkserver_preload(["braing3n.latents.cache", "braing3n.latents.command", "braing3n.cli"])

    def run(*arguments, **options):
        child = context.Process(target=extraction.extract, args=arguments, kwargs=options)
        child.start()
        child.join(300)
        return child.exitcode

    return run


@pytest.fixture
def killed(run_child, tmp_path):
    """A folder in which a job was killed, and the batches that it had done; at least one."""
    n_done = random.SystemRandom().randrange(1, N_BATCHES)
    print(f"killed after {n_done} batches")
    assert run_child(tmp_path, n_done) == -signal.SIGKILL
    assert extraction.read_rows(tmp_path) == (list(range(N_AT_ONCE * n_done + 2)), "")
    return tmp_path, n_done


def test_a_killed_job_loses_a_batch_and_ends_with_the_same_bytes(run_child, killed, tmp_path_factory):
    folder, n_done = killed
    assert run_child(folder) == 0
    whole = tmp_path_factory.mktemp("whole")
    assert run_child(whole) == 0
    (rest, found), (rows, expected) = map(extraction.read_rows, (folder, whole))
    assert rest == list(range(N_AT_ONCE * n_done, N_VOLUMES))
    assert rows == list(range(N_VOLUMES))
    assert found == expected
    assert read_weights(folder / "features.npz") == digest_file(folder / "weights")
    assert not list(folder.glob(".latents-*"))


@pytest.mark.parametrize("changed", [{"weights": "others"}, {"fill": "slot"}])
def test_other_weights_and_inputs_start_afresh(changed, run_child, killed):
    assert run_child(killed[0], **changed) == 0
    assert extraction.read_rows(killed[0])[0] == list(range(N_VOLUMES))
