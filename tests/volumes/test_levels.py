"""Levels: the bound of the error, the mask in level 0, voxels beyond 16 bits."""

import numpy as np
import pytest

from braing3n.nets.levels import MAX_LEVEL, dequantise, quantise, read_far_voxels

SHAPE = (16, 20, 12)


def draw_mask(seed=0):
    return np.random.default_rng(seed).random(SHAPE) < 0.4


def test_z_scores_and_mask_come_back():
    mask = draw_mask()
    z = np.random.default_rng(1).normal(size=mask.sum())
    z[:5] = 0, -0.0, 1 / 1024, -1 / 1024, 1e-9
    levels, far_voxels = quantise(z, mask)
    image, inside = dequantise(levels, far_voxels)
    assert (levels.dtype, far_voxels, image.dtype) == (np.int16, "", np.float32)
    assert np.array_equal(inside, mask)
    assert np.abs(image[mask] - z).max() <= 1 / 1024
    assert not image[~mask].any()


@pytest.mark.parametrize("bright", [63.9, 64.0, 64.1, 1100.0, -900.0])
def test_a_bright_voxel_keeps_the_bound_of_all(bright):
    mask = draw_mask()
    z = np.random.default_rng(1).normal(size=mask.sum())
    z[7] = bright
    levels, far_voxels = quantise(z, mask)
    image, inside = dequantise(levels, far_voxels)
    assert bool(far_voxels) == (round(abs(bright) * 512) > MAX_LEVEL)
    assert np.array_equal(inside, mask)
    assert np.abs(image[mask] - z).max() < 1e-3


def test_far_voxels_are_read_as_models_take_them():
    for text, index, z in (("", [], []), ('{"index": [7, 9], "z": [64.5, -70.25]}', [7, 9], [64.5, -70.25])):
        found = read_far_voxels(text)
        assert [array.dtype for array in found] == [np.int64, np.float32]
        assert [array.tolist() for array in found] == [index, z]


def test_no_brain_at_all_is_all_outside():
    image, inside = dequantise(*quantise(np.empty(0), np.zeros(SHAPE, bool)))
    assert not image.any()
    assert not inside.any()


def test_levels_are_512_a_deviation_and_those_from_the_mean_down_stand_one_lower():
    z = np.array([1.0, 0.5, 1 / 512, 0.0, -1 / 512, -1.0, 0.0005, -0.0005])
    mask = np.zeros((3, 3, 1), bool)
    mask.ravel()[1:] = True
    levels, _ = quantise(z, mask)
    assert levels.ravel().tolist() == [0, 512, 256, 1, -1, -2, -513, -1, -1]
    image, inside = dequantise(levels, "")
    assert np.array_equal(inside, mask)
    assert image.ravel()[1:].tolist() == [1.0, 0.5, 1 / 512, 0.0, -1 / 512, -1.0, 0.0, 0.0]


def test_the_ends_of_the_range_do_not_wrap_around():
    mask = np.ones((1, 1, 6), bool)
    z = np.array([32767, 32768, -32767, -32768, 1e5, -1e5]) / 512
    levels, far_voxels = quantise(z, mask)
    index, kept = read_far_voxels(far_voxels)
    assert index.tolist() == [1, 3, 4, 5]
    np.testing.assert_array_equal(kept, z[[1, 3, 4, 5]].astype(np.float32))
    assert levels.ravel().tolist() == [32767, 32767, -32768, -32768, 32767, -32768]
    np.testing.assert_allclose(dequantise(levels, far_voxels)[0].ravel(), z, rtol=1e-7)


def test_far_voxels_lie_at_their_place_in_the_whole_volume():
    mask = draw_mask()
    z = np.zeros(mask.sum())
    z[-3] = 100.0
    place = np.flatnonzero(mask)[-3]
    index, kept = read_far_voxels(quantise(z, mask)[1])
    assert (index.tolist(), kept.tolist()) == ([place], [100.0])
    assert (index.dtype, kept.dtype) == (np.int64, np.float32)
    assert [part.size for part in read_far_voxels("")] == [0, 0]
