"""Tissue volumes of phantoms, which are known; volumes that show no brain are not relied on."""

import numpy as np
import pytest
from scipy import ndimage

from braing3n.atlas.measure import VOLUMES, measure_brain, measure_volumes
from braing3n.atlas.segment import segment


@pytest.fixture(scope="module")
def measured(phantoms, maps):
    """Volumes of each phantom as found and as planted, ml (8, 13) each, and the segmentations."""
    found = [measure_brain(image, mask, maps) for image, mask, _ in phantoms]
    planted = [measure_volumes(shares, mask, maps) for _, mask, shares in phantoms]
    return np.array([ml for ml, _ in found]), np.array(planted), [one for _, one in found]


def test_tissue_volumes_of_phantoms_are_found(measured):
    """Half of the people: grey and white matter to 5 %, CSF, a tenth of the brain, to 2 % of the brain."""
    found, planted, segmentations = measured
    off = np.abs(found - planted)[:, :3]
    brain = planted[:, :3].sum(axis=1)
    assert (np.median(off[:, 1:] / planted[:, 1:3], axis=0) < 0.05).all()
    assert (off[:, 1:] < 0.1 * planted[:, 1:3]).all()
    assert np.median(off[:, 0] / brain) < 0.02
    assert (off[:, 0] < 0.05 * brain).all()
    assert all(one.is_reliable for one in segmentations)


def test_volumes_follow_people(measured):
    found, planted, _ = measured
    for name in ("csf", "grey", "ventricles_left", "cortex_left", "medial_temporal_right"):
        column = VOLUMES.index(name)
        assert np.corrcoef(found[:, column], planted[:, column])[0, 1] > 0.8, name


def test_parts_sum_to_the_whole(measured, phantoms, maps):
    found, _, _ = measured
    for ml, (_, mask, _) in zip(found, phantoms, strict=True):
        assert ml[:3].sum() == pytest.approx(mask.sum() * 0.064, rel=1e-4)
        assert ml[5:].sum() == pytest.approx(ml[1], rel=1e-4)
        assert ml[3:5].sum() < 0.6 * ml[0]


def test_gain_and_offset_do_not_matter_and_sides_do(phantoms, maps):
    image, mask, _ = phantoms[0]
    ml, _ = measure_brain(image, mask, maps)
    again, _ = measure_brain(np.where(mask, 300 * image + 20, 0), mask, maps)
    assert again == pytest.approx(ml, rel=1e-3)
    hollow = image.copy()
    left = maps.is_left & maps.is_ventricle & mask
    hollow[ndimage.binary_dilation(left, iterations=1) & maps.is_left] = np.percentile(image[mask], 2)
    larger, _ = measure_brain(hollow, mask, maps)
    names = [VOLUMES.index(f"ventricles_{side}") for side in ("left", "right")]
    gain = larger[names] / ml[names]
    assert gain[0] > 1.3
    assert gain[1] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("spoil", ["noise", "upside_down", "blurred", "flat"])
def test_what_shows_no_tissue_is_not_relied_on(spoil, phantoms, maps):
    image, mask, _ = phantoms[0]
    shown = {
        "noise": np.random.default_rng(0).normal(size=image.shape),
        "upside_down": image[:, :, ::-1],
        "blurred": ndimage.gaussian_filter(image, 2),
        "flat": np.ones_like(image),
    }[spoil]
    inside = mask[:, :, ::-1] if spoil == "upside_down" else mask
    found = segment(shown, inside, maps)
    assert not found.is_reliable
    assert np.isfinite(found.shares).all()
    assert found.shares.sum(axis=0) == pytest.approx(1, abs=1e-4)
