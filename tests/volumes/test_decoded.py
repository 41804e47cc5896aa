"""The rule that finds the brain in what a decoder makes, against masks that are known."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from braing3n.phantoms.miniature import render_preprocessed
from braing3n.volumes.decoded import (
    BrainRule,
    average_masks,
    describe_voxels,
    fit_brain_rule,
    judge_by_place,
)

PATCH = 4
N_NUMBERS = 32  # a patch of 64 voxels, as a tokenizer of about this size keeps
N_TRAIN, N_TEST = 16, 4


def test_features_are_the_place_and_intensities_at_four_scales():
    rng = np.random.default_rng(0)
    volume, prior = rng.normal(size=(9, 10, 11)), rng.uniform(0.1, 0.9, (9, 10, 11))
    found = describe_voxels(volume, prior)
    odds = np.log(prior) - np.log(1 - prior)
    expected = [odds, ndimage.gaussian_filter(odds, 3)]
    expected += [volume, abs(volume), volume.clip(max=0), abs(volume).clip(max=0.5)]
    for scale in (1, 2, 4):
        smooth = ndimage.gaussian_filter(volume, scale)
        expected += [smooth, abs(smooth), smooth.clip(max=0), ndimage.gaussian_filter(abs(volume), scale)]
    slopes = [ndimage.gaussian_filter(volume, 1.5, order=np.eye(3, dtype=int)[axis]) for axis in range(3)]
    expected.append(np.sqrt(sum(slope**2 for slope in slopes)))
    assert found.dtype == np.float32
    assert np.allclose(found, np.stack(expected, axis=-1), atol=1e-5)


def test_the_prior_is_a_smoothed_share_that_is_never_0_or_1():
    masks = [np.zeros((20, 20, 20), bool) for _ in range(3)]
    for n, mask in enumerate(masks):
        mask[4 - n : 16 + n, 4:16, 4:16] = True
    prior = average_masks(masks)
    share = ndimage.gaussian_filter(sum(mask.astype(float) for mask in masks) / 3, 2)
    assert prior.dtype == np.float32
    assert np.allclose(prior, (3 * share + 0.5) / 4, atol=1e-6)
    assert 0 < prior.min() < prior.max() < 1


@pytest.mark.parametrize("n_pieces", [2, 3])
def test_the_largest_piece_is_the_brain_with_its_holes_filled(n_pieces):
    """A rule that asks nothing but the voxel's own intensity, of bright blocks on a dark ground."""
    weights = np.zeros(19, np.float32)
    weights[2] = 1
    prior = np.full((24, 24, 24), 0.5, np.float32)
    prior[0, 0, 0], prior[14, 14, 14] = 0.01, 0.99  # places that say for themselves
    rule = BrainRule(prior, weights, -3.0)
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8:20, 8:20, 8:20] = 5
    volume[13, 13, 13] = 0  # a hole
    for corner in ((1, 1, 1), (1, 20, 1))[: n_pieces - 1]:
        volume[tuple(slice(n, n + 3) for n in corner)] = 5
    expected = np.zeros(volume.shape, bool)
    expected[8:20, 8:20, 8:20] = True
    assert np.array_equal(rule.find_brain(volume), expected)


def measure_dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def cut(volume):
    d, h, w = (n // PATCH for n in volume.shape)
    blocks = volume.reshape(d, PATCH, h, PATCH, w, PATCH).transpose(0, 2, 4, 1, 3, 5)
    return blocks.reshape(-1, PATCH**3)


def join(patches, shape):
    d, h, w = (n // PATCH for n in shape)
    return patches.reshape(d, h, w, PATCH, PATCH, PATCH).transpose(0, 3, 1, 4, 2, 5).reshape(shape)


def vary(volume, mask, generator):
    """Another size and place of the head along each axis, as affine registration leaves them."""
    scale, shift = generator.normal(1, 0.04, 3), generator.normal(0, 0.5, 3)
    centre = (np.array(volume.shape) - 1) / 2
    options = {"matrix": np.diag(scale), "offset": centre - scale * centre + shift, "order": 1}
    inside = ndimage.affine_transform(mask.astype(np.float32), **options) > 0.5
    return np.where(inside, ndimage.affine_transform(volume, **options), 0).astype(np.float32), inside


@pytest.fixture(scope="module")
def brains(fetch_resource):
    """(volumes, masks) of people of different sizes, and a decoder that never saw the last four."""
    wheels = fetch_resource("brain-templates"), fetch_resource("head-template")
    volumes, masks, _ = render_preprocessed(N_TRAIN + N_TEST, 7, *wheels)
    generator = np.random.default_rng(7)
    pairs = [vary(*pair, generator) for pair in zip(volumes, masks, strict=True)]
    volumes, masks = zip(*pairs, strict=True)
    patches = np.concatenate([cut(volume) for volume in volumes[:N_TRAIN]])
    patches = patches[(patches != 0).any(axis=1)]
    mean = patches.mean(axis=0)
    components = np.linalg.svd(patches - mean, full_matrices=False)[2][:N_NUMBERS]

    def decode(volume):
        """The nearest volume that a few numbers a patch can tell, with noise everywhere."""
        kept = join((cut(volume) - mean) @ components.T @ components + mean, volume.shape)
        return (kept + generator.normal(0, 0.1, volume.shape)).astype(np.float32)

    return volumes, masks, decode


@pytest.mark.slow
def test_the_brain_is_found_in_reconstructions_that_were_not_fitted_on(brains):
    volumes, masks, decode = brains
    rule = fit_brain_rule(
        (decode(volume), mask) for volume, mask in zip(volumes[:N_TRAIN], masks, strict=False)
    )
    for volume, mask in zip(volumes[N_TRAIN:], masks[N_TRAIN:], strict=True):
        decoded = decode(volume)
        assert (decoded[~mask] != 0).all(), "a decoded volume has no zero background"
        found = rule.find_brain(decoded)
        assert measure_dice(found, mask) >= 0.98
        assert measure_dice(found, mask) > measure_dice(rule.prior > 0.5, mask)
        assert ndimage.label(found)[1] == 1
        assert not (ndimage.binary_fill_holes(found) & ~found).any()


@pytest.mark.slow
def test_the_same_reconstructions_give_the_same_rule(brains):
    volumes, masks, _ = brains
    rules = [fit_brain_rule(zip(volumes[:6], masks[:6], strict=True)) for _ in range(2)]
    np.testing.assert_array_equal(rules[0].weights, rules[1].weights)
    assert rules[0].bias == rules[1].bias


def test_the_prior_is_the_smoothed_share_of_masks_and_never_sure():
    mask = np.zeros((30, 30, 30), bool)
    mask[:15] = True
    other = np.zeros_like(mask)
    prior = average_masks([mask, mask, mask, other])
    assert prior.dtype == np.float32
    # Deep inside three of four masks and far outside all: the share with half a mask added on either side.
    assert prior[1, 15, 15] == pytest.approx((3 + 0.5) / 5, abs=1e-3)
    assert prior[29, 15, 15] == pytest.approx(0.5 / 5, abs=1e-3)
    # 2.5 voxels beyond the edge, which lies between 14 and 15, a Gaussian of two voxels has left its tail.
    tail = norm.sf((17 - 14.5) / 2)
    assert prior[17, 15, 15] == pytest.approx((3 * tail + 0.5) / 5, abs=0.01)


def test_where_all_masks_agree_the_place_decides():
    prior = np.full((4, 4, 4), 0.5, np.float32)
    prior[0], prior[1], prior[2, 0], prior[2, 1] = 0.001, 0.999, 0.006, 0.994
    sure, band = judge_by_place(prior)
    assert np.array_equal(sure, prior > 0.995)
    assert np.array_equal(band, (prior > 0.005) & (prior < 0.995))
    few = np.full((4, 4, 4), 0.5, np.float32)  # of four masks the share stays within .1 and .9
    few[0], few[1] = 0.1, 0.9
    sure, band = judge_by_place(few)
    assert np.array_equal(sure, few == np.float32(0.9))
    assert np.array_equal(band, few == 0.5)


def test_the_brain_is_the_largest_piece_without_its_holes():
    """A rule that takes what is bright (weight on the intensity itself, none on the place)."""
    volume = np.full((20, 20, 20), -1.0, np.float32)
    volume[3:12, 3:12, 3:12] = 1.0
    volume[7, 7, 7] = -1.0  # a hole
    volume[15:18, 15:18, 15:18] = 1.0  # another piece, smaller and later
    volume[0, 0, 0] = 1.0  # one before it
    weights = np.zeros(19, np.float32)
    weights[2] = 1.0
    prior = np.full(volume.shape, 0.5, np.float32)
    prior[0, 0, 19], prior[19, 19, 0] = 0.0001, 0.9999  # so that the place is sure there alone
    expected = np.zeros(volume.shape, bool)
    expected[3:12, 3:12, 3:12] = True
    assert np.array_equal(BrainRule(prior, weights, 0.0).find_brain(volume), expected)
    assert not BrainRule(prior, weights, -1.5).find_brain(volume)[expected].any()


def test_the_rule_is_a_logistic_regression_on_the_voxels_between():
    """Two intensities, brain bright: another fit on all voxels finds what the rule finds."""
    generator = np.random.default_rng(1)
    pairs = []
    for _ in range(6):
        mask = np.zeros((16, 16, 16), bool)
        mask[
            tuple(slice(*sorted((generator.integers(1, 5), generator.integers(10, 15)))) for _ in range(3))
        ] = 1
        pairs.append((np.where(mask, 2.0, -2.0) + generator.normal(0, 1, mask.shape), mask))
    rule = fit_brain_rule(pairs, seed=3)
    prior = average_masks([mask for _, mask in pairs])
    np.testing.assert_array_equal(rule.prior, prior)
    band = judge_by_place(prior)[1]
    table = np.concatenate([describe_voxels(v.astype(np.float32), prior)[band] for v, _ in pairs])
    labels = np.concatenate([mask[band] for _, mask in pairs])
    model = LogisticRegression(max_iter=1000).fit(
        StandardScaler(with_mean=False).fit_transform(table), labels
    )
    ours = table @ rule.weights + rule.bias
    theirs = model.decision_function(table / table.std(axis=0))
    assert np.abs(ours - theirs).mean() < 0.1 * theirs.std()
    assert ((ours > 0) == labels).mean() > 0.95
