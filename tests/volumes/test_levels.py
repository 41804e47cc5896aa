"""Levels: the bound of the error, the mask in level 0, voxels beyond 16 bits."""

import numpy as np
import pytest

from braing3n.volumes.levels import MAX_LEVEL, dequantise, quantise, read_far_voxels

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
