"""Features of many numbers in fewer coordinates."""

import numpy as np

from braing3n.probe.solve import span
from braing3n.probe.solve.span import span_features, span_leading, span_rows


def test_spanning_rows_keeps_distances():
    x = np.random.default_rng(0).normal(size=(12, 500))
    z = span_rows(x)
    assert z.shape == (12, 12)
    np.testing.assert_allclose(z @ z.T, (x - x.mean(0)) @ (x - x.mean(0)).T, atol=1e-9)


def test_a_memory_map_is_spanned_in_blocks(tmp_path, monkeypatch):
    x = (np.random.default_rng(0).normal(size=(9, 5, 7)) + 4).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(span, "BLOCK_NUMBERS", 9 * 4)  # blocks of four columns; the last one is smaller
    z = span_rows(np.load(tmp_path / "x.npy", mmap_mode="r").reshape(9, -1))
    flat = x.reshape(9, -1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    assert z.shape == (9, 9)
    np.testing.assert_allclose(z @ z.T, centred @ centred.T, atol=1e-9)


def test_more_points_than_components_keep_the_leading_ones(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 60)) / np.arange(1, 61) @ np.linalg.qr(rng.normal(size=(200, 60)))[0].T + 4
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(span, "BLOCK_NUMBERS", 200 * 7)  # blocks of seven rows; the last one is smaller
    found = span_leading(np.load(tmp_path / "x.npy", mmap_mode="r"), 30, seed=0)
    assert found.shape == (90, 30)
    expected = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[:10]
    np.testing.assert_allclose(np.linalg.svd(found, compute_uv=False)[:10], expected, rtol=0.01)
    again = span_leading(np.load(tmp_path / "x.npy", mmap_mode="r"), 30, seed=0)
    np.testing.assert_array_equal(found, again)


def test_large_features_are_reduced_to_the_leading_components_before_the_probes(monkeypatch):
    """At the paper's size the voxels are 35,309 x 9,600: a PCA in each fold of each probe would take days."""
    x = np.random.default_rng(0).normal(size=(90, 60)) / np.arange(1, 61)
    assert span_features(x, seed=0).shape == (90, 60)
    monkeypatch.setattr(span, "MOST_EXACT", 50)
    monkeypatch.setattr(span, "MOST_COMPONENTS", 20)
    found = span_features(x, seed=0)
    assert found.shape == (90, 20)
    expected = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[:8]
    np.testing.assert_allclose(np.linalg.svd(found, compute_uv=False)[:8], expected, rtol=0.01)
    few = x[:40]  # no more than that many points: nothing is left out, whatever their numbers
    assert span_features(np.tile(few, 3), seed=0).shape == (40, 40)
