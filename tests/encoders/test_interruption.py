"""Killed within any batch, the features of an encoder of others go on and end with the same bytes."""

import random
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from braing3n.core.runtime import digest_file
from braing3n.probe.plan import read_weights

sys.path.insert(0, str(Path(__file__).parent))
import extraction
from extraction import N_AT_ONCE, N_BATCHES, N_VOLUMES


@pytest.fixture
def extract(run_child):
    """Extract in a process of its own; its exit code."""
    return partial(run_child, extraction.extract)


@pytest.fixture
def killed(extract, tmp_path):
    """A folder in which a job was killed, and the batches that it had done; at least one."""
    n_done = random.SystemRandom().randrange(1, N_BATCHES)
    print(f"killed after {n_done} batches")
    assert extract(tmp_path, n_done) == -signal.SIGKILL
    assert extraction.read_rows(tmp_path) == (list(range(N_AT_ONCE * n_done + 2)), "")
    return tmp_path, n_done


def test_a_killed_job_loses_a_batch_and_ends_with_the_same_bytes(extract, killed, tmp_path_factory):
    folder, n_done = killed
    assert extract(folder) == 0
    whole = tmp_path_factory.mktemp("whole")
    assert extract(whole) == 0
    (rest, found), (rows, expected) = map(extraction.read_rows, (folder, whole))
    assert rest == list(range(N_AT_ONCE * n_done, N_VOLUMES))
    assert rows == list(range(N_VOLUMES))
    assert found == expected
    assert read_weights(folder / "features.npz") == digest_file(folder / "weights")
    assert not list(folder.glob(".latents-*"))


@pytest.mark.parametrize("changed", [{"weights": "others"}, {"fill": "slot"}])
def test_other_weights_and_inputs_start_afresh(changed, extract, killed):
    assert extract(killed[0], **changed) == 0
    assert extraction.read_rows(killed[0])[0] == list(range(N_VOLUMES))
