"""Which volumes make which batch, and batches that are read ahead."""

import threading

import numpy as np
import pytest

from braing3n import training
from braing3n.config import OptimiserSettings
from braing3n.core.errors import ConfigurationError


def test_plan_covers_every_epoch_in_another_order():
    options = OptimiserSettings(batch_size=4, n_epochs=3)
    rows = np.arange(10, 22)
    plan = training.plan_batches(rows, options, seed=0)
    epochs = [np.concatenate(plan[3 * i : 3 * i + 3]) for i in range(3)]
    assert all(sorted(epoch) == list(rows) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    longer = training.plan_batches(rows, options.model_copy(update={"n_epochs": 5}), seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(plan, longer, strict=False))
    with pytest.raises(ConfigurationError, match="training split is empty"):
        training.plan_batches(rows[:0], options, seed=0)


class Recording:
    """Volumes of one level each, that note what was read by whom; a row may be bad."""

    shape = (2, 3, 4)

    def __init__(self, bad_row=-1):
        self.bad_row, self.read, self.threads = bad_row, [], set()

    def load_levels(self, i, out):
        if i == self.bad_row:
            raise ValueError(f"row {i}")
        self.read.append(i)
        self.threads.add(threading.current_thread())
        out[...] = i - 5
        return np.array([1, 23]), np.array([100.5, -i], np.float32)


@pytest.mark.parametrize("n_workers", [1, 3])
def test_batches_come_in_order_whoever_reads_them(n_workers):
    rows = [np.array([4, 0, 9]), np.array([5]), np.array([6, 6]), np.array([7, 8, 1])]
    volumes = Recording()
    found = list(training.load_batches(volumes, rows, n_workers))
    assert [batch.shape for batch in found] == [(len(r), 1, 2, 3, 4) for r in rows]
    for batch, members in zip(found, rows, strict=True):
        for image, i in zip(batch.numpy()[:, 0], members, strict=True):
            level = i - 5
            assert image.flat[0] == np.float32((level + (level < 0)) / 512)
            assert (image.flat[1], image.flat[23]) == (100.5, -i)
    assert threading.current_thread() not in volumes.threads
    if n_workers == 1:
        assert volumes.read == [4, 0, 9, 5, 6, 6, 7, 8, 1]


def test_the_next_batch_is_read_while_one_is_used():
    volumes = Recording()
    batches = training.load_batches(volumes, [np.array([i]) for i in range(8)])
    next(batches)
    for thread in volumes.threads:
        thread.join(0.5)  # it idles once it is ahead
    assert volumes.read[:2] == [0, 1]
    assert len(volumes.read) <= 4  # and does not fill the memory
    batches.close()  # as a loop that ends early
    assert not any(thread.is_alive() for thread in volumes.threads)


def test_what_a_reader_meets_reaches_the_loop_in_its_turn():
    batches = training.load_batches(Recording(bad_row=2), [np.array([i]) for i in range(4)])
    assert [next(batches).shape[0] for _ in range(2)] == [1, 1]
    with pytest.raises(ValueError, match="row 2"):
        next(batches)
