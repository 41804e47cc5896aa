"""The rule that finds the brain in what a decoder makes, against masks that are known."""

import numpy as np
import pytest
from scipy import ndimage

from braing3n.phantoms.miniature import render_preprocessed
from braing3n.volumes.decoded import fit_brain_rule

PATCH = 4
N_NUMBERS = 32  # a patch of 64 voxels, as a tokenizer of about this size keeps
N_TRAIN, N_TEST = 16, 4


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


def test_the_same_reconstructions_give_the_same_rule(brains):
    volumes, masks, _ = brains
    rules = [fit_brain_rule(zip(volumes[:6], masks[:6], strict=True)) for _ in range(2)]
    np.testing.assert_array_equal(rules[0].weights, rules[1].weights)
    assert rules[0].bias == rules[1].bias
