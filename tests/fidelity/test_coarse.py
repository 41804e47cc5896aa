"""What is kept of decoded volumes: their rows, averaged to about 4 mm."""

import numpy as np
from skimage.measure import block_reduce

from braing3n.fidelity.coarse import CoarseVolumes, write_coarse


def test_the_wanted_rows_are_kept_and_averaged(tmp_path):
    volumes = np.random.default_rng(0).normal(size=(5, 80, 96, 80)).astype(np.float16)
    whole, some = CoarseVolumes(), CoarseVolumes(np.array([8, 3]))
    for kept in (whole, some):
        kept(np.array([3, 4]), volumes[:2].astype(np.float32))
        kept(np.array([5, 8, 9]), volumes[2:].astype(np.float32))
    write_coarse({"all": whole, "some": some}, tmp_path / "coarse.npz")
    with np.load(tmp_path / "coarse.npz") as written:
        assert written["all_rows"].tolist() == [3, 4, 5, 8, 9]
        assert written["some_rows"].tolist() == [3, 8]
        assert np.array_equal(written["some"], written["all"][[0, 3]])
        expected = block_reduce(volumes[3].astype(np.float64), (2, 2, 2), np.mean)
        assert np.abs(written["some"][1] - expected).max() < 1e-3
