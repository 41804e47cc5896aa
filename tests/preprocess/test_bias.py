"""Shading: N4 takes a known field away, and thin volumes do not break it."""

import numpy as np
import pytest

from braing3n.preprocess.brain.bias import correct_bias, find_head, find_otsu_threshold
from braing3n.preprocess.read.masks import fill_largest
from braing3n.preprocess.read.scan import Volume

from .brains import centred_affine, sample


@pytest.mark.parametrize(("shape", "spacing_mm"), [((44, 52, 42), 4.0), ((52, 60, 14), (3.4, 3.4, 12.0))])
def test_n4_takes_a_field_away(shape, spacing_mm):
    affine = centred_affine(shape, spacing_mm)
    truth = sample(affine, shape)
    x = np.linspace(-1, 1, shape[0])[:, None, None]
    y = np.linspace(-1, 1, shape[1])[None, :, None]
    shaded = Volume((truth * np.exp(0.35 * x - 0.25 * y**2)).astype(np.float32), affine)
    corrected = correct_bias(shaded, 16.0, (20, 20), 1e-3)
    inside = truth > 60
    before = np.std(np.log(shaded.data[inside] / truth[inside]))
    after = np.std(np.log(corrected.data[inside] / truth[inside]))
    assert after < 0.6 * before
    assert corrected.data.shape == shape


def test_head_mask_holds_the_brain_and_leaves_noise_out():
    shape = (60, 66, 50)
    affine = centred_affine(shape, 3.6)
    truth = sample(affine, shape)
    noisy = truth + np.random.default_rng(0).rayleigh(5, shape)
    head = find_head(Volume(noisy.astype(np.float32), affine))
    assert head[truth > 60].mean() > 0.98
    assert head[truth == 0].mean() < 0.08


def test_otsu_agrees_with_scikit_image():
    filters = pytest.importorskip("skimage.filters")
    random = np.random.default_rng(0)
    data = np.concatenate([random.normal(10, 3, 9000), random.normal(60, 8, 6000)])
    assert abs(find_otsu_threshold(data) - filters.threshold_otsu(data)) < 1.5


def test_fill_largest_keeps_one_filled_piece():
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = True
    mask[6, 6, 6] = False
    mask[15:18, 15:18, 15:18] = True
    filled = fill_largest(mask)
    assert filled.sum() == 1000
    assert fill_largest(np.zeros((3, 3, 3), bool)).sum() == 0
