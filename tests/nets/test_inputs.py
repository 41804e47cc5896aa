"""What networks of others are fed: by definition, and where there is nothing to measure."""

import pytest
import torch

from braing3n.nets.foreign import inputs

CUBE = torch.arange(27.0).reshape(3, 3, 3)


def test_a_z_score_divides_by_the_deviation_of_n_voxels():
    where = CUBE < 3  # 0, 1 and 2
    scaled = inputs.standardise(CUBE, where, outside=9.0)
    assert scaled[0, 0].tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5])
    assert (scaled[~where] == 9).all()


def test_the_darkest_brain_voxel_becomes_the_background():
    restored = inputs.restore_intensities(CUBE - 20, CUBE > 20)
    assert restored.flatten().tolist() == [0.0] * 22 + [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_volume_of_the_wanted_shape_stays_as_it_is():
    assert inputs.resize(CUBE, (3, 3, 3)) is CUBE
    assert inputs.resize(CUBE, (6, 6, 6)).mean() == pytest.approx(float(CUBE.mean()))


def test_an_empty_or_even_volume_gives_no_nan():
    empty = torch.zeros(3, 3, 3)
    nowhere = empty > 0
    for found in (
        inputs.restore_intensities(CUBE, nowhere),
        inputs.standardise(empty, nowhere),
        inputs.scale_to_one(empty),
        inputs.scale_by(empty, empty),
        empty[inputs.find_box(nowhere)],
    ):
        assert torch.equal(found, empty)
