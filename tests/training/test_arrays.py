"""Arrays that grow on disk: two jobs at the same ones do not meet, and a full disk is one sentence."""

import errno
import os
import time
from threading import Event, Thread

import numpy as np
import pytest
import torch

from braing3n.core.errors import StorageError
from braing3n.training import cut_batches, grow_arrays


def test_a_rerun_waits_for_the_orphan_of_a_killed_workflow(tmp_path):
    """Else the first to end moves the arrays away from under the other."""
    turns, is_half = [], Event()

    def grow(name):
        def compute(left):
            turns.append(name)
            for rows in left:
                yield {"tokens": torch.from_numpy(rows)[:, None].float()}
                is_half.set()
                time.sleep(0.1)
            turns.append(name)

        batches = cut_batches(np.arange(12), 4)
        with grow_arrays(
            tmp_path / ".latents-0123", {"tokens": ((1,), np.float32)}, batches, compute
        ) as paths:
            os.replace(paths["tokens"], tmp_path / "tokens.npy")

    orphan = Thread(target=grow, args=("orphan",))
    orphan.start()
    is_half.wait()
    grow("rerun")
    orphan.join()
    assert turns == ["orphan", "orphan", "rerun", "rerun"]
    np.testing.assert_array_equal(np.load(tmp_path / "tokens.npy")[:, 0], np.arange(12))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.npy"]


def fill_one(folder):
    """Sizes on disk of the arrays when all is there: (as it says, as it takes)."""
    batches = cut_batches(np.arange(64), 64)

    def compute(left):
        sizes.append(path.stat())
        yield {"tokens": torch.zeros(64, 1024)}

    sizes, path = [], folder / ".latents-0123" / "tokens.npy"
    with grow_arrays(path.parent, {"tokens": ((1024,), np.float32)}, batches, compute):
        return sizes[0].st_size, 512 * sizes[0].st_blocks


def test_the_disk_is_asked_for_all_of_an_array_before_the_work(tmp_path):
    """Written by way of a map, a page for which there is no space would end the process by SIGBUS."""
    size, taken = fill_one(tmp_path)
    assert taken >= size > 64 * 1024 * 4


def test_a_disk_without_that_space_is_one_sentence_and_nothing_stays(tmp_path, monkeypatch):
    def fail(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(StorageError, match=r"tokens\.npy: cannot be written .*No space left on device"):
        fill_one(tmp_path)
    assert list((tmp_path / ".latents-0123").iterdir()) == []
