"""A view of a volume differs from it by what the settings allow, and by no more."""

import itertools

import numpy as np
import pytest
import torch

from braing3n.memorization.contrastive.views import draw_view
from braing3n.memorization.settings import ContrastiveSettings

NONE = {"max_shift_voxels": 0, "max_blur": 0.0, "max_gain": 0.0, "max_noise": 0.0}


@pytest.fixture
def volume():
    """24 volumes with a margin of 3 zeros."""
    inner = torch.rand(24, 1, 5, 6, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    return torch.nn.functional.pad(inner, (3,) * 6)


def draw(volume, seed=1, **given):
    generator = torch.Generator().manual_seed(seed)
    return draw_view(volume, ContrastiveSettings(**(NONE | given)), generator).numpy()


def list_turned(volume, shift=(0, 0, 0)):
    """The volume, as it is and mirrored, after a shift."""
    return [np.roll(v, shift, (0, 1, 2)) for v in (volume, volume[::-1])]


def is_near(view, other):
    return np.allclose(view, other, atol=1e-6)


def test_about_half_of_the_views_are_mirrored_and_the_others_are_as_they_were(volume):
    n_mirrored = 0
    for view, one in zip(draw(volume)[:, 0], volume.numpy()[:, 0], strict=True):
        straight, mirrored = list_turned(one)
        assert is_near(view, straight) != is_near(view, mirrored)
        n_mirrored += is_near(view, mirrored)
    assert 5 <= n_mirrored <= 19


def test_shifts_are_whole_voxels_up_to_the_most_and_differ_between_volumes(volume):
    found = set()
    for view, one in zip(draw(volume, max_shift_voxels=2)[:, 0], volume.numpy()[:, 0], strict=True):
        shifts = itertools.product(range(-2, 3), repeat=3)
        own = [shift for shift in shifts if any(is_near(view, v) for v in list_turned(one, shift))]
        assert len(own) == 1
        found.add(own[0])
    assert len(found) > 15
    assert {min(shift[axis] for shift in found) for axis in range(3)} == {-2}
    assert {max(shift[axis] for shift in found) for axis in range(3)} == {2}


def test_a_blurred_point_is_spread_over_its_neighbours_and_nothing_is_lost():
    point = torch.zeros(16, 1, 7, 7, 7)
    point[:, :, 3, 3, 3] = 1
    for view in draw(point, max_blur=0.3)[:, 0]:
        assert view.sum() == pytest.approx(1, abs=1e-5)
        sums = [view.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
        expected = sums[0][:, None, None] * sums[1][None, :, None] * sums[2][None, None, :]
        np.testing.assert_allclose(view, expected, atol=1e-6)
        for one in sums:
            assert (one[[2, 4]] <= 0.3).all()
            assert one[[2, 4]].min() > 0
            assert (one[[0, 1, 5, 6]] == 0).all()


def test_gain_and_offset_are_of_the_brain_alone(volume):
    views, gains = draw(volume, max_gain=0.3)[:, 0], []
    for view, one in zip(views, volume.numpy()[:, 0], strict=True):
        one = max(list_turned(one), key=lambda v: np.corrcoef(v[v != 0], view[v != 0])[0, 1])
        gain, offset = np.polyfit(one[one != 0], view[one != 0], 1)
        np.testing.assert_allclose(view[one != 0], gain * one[one != 0] + offset, atol=1e-5)
        assert (view[one == 0] == 0).all()
        assert 0.7 <= gain <= 1.3
        assert abs(offset) <= 0.3 + 1e-5
        gains.append(gain)
    assert min(gains) < 0.85 < 1.15 < max(gains)


def test_noise_is_everywhere_and_of_its_own_size_in_each_view():
    deviations = draw(torch.zeros(24, 1, 8, 8, 8), max_noise=0.3).std(axis=(1, 2, 3, 4))
    assert deviations.max() < 0.33
    assert deviations.min() < 0.1
    assert deviations.max() > 0.2


def test_the_generator_alone_decides(volume):
    given = {"max_shift_voxels": 2, "max_noise": 0.2}
    np.testing.assert_array_equal(draw(volume, 3, **given), draw(volume, 3, **given))
    assert not np.array_equal(draw(volume, 3, **given), draw(volume, 4, **given))
