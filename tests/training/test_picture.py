"""The picture of volumes: which plane of which volume lies where, and as bright as it is."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from braing3n.training.picture import cut_planes, draw_volumes, find_brightest


def find_panels(path):
    """The median grey level of every panel on the white page, by rows; the page's height and width."""
    page = np.asarray(Image.open(path).convert("L"), dtype=float)
    labels, n = ndimage.label(page < 250)
    slices = [s for s in ndimage.find_objects(labels, n) if min(p.stop - p.start for p in s) > 30]
    slices.sort(key=lambda s: (round(s[0].start / 40), s[1].start))
    rows = {}
    for one in slices:
        rows.setdefault(round(one[0].start / 40), []).append(np.median(page[one]))
    return list(rows.values()), page.shape


def test_each_volume_is_a_column_of_its_three_planes(tmp_path):
    """Axial, coronal and sagittal planes of three volumes in bands of two, each plane of its own level."""
    levels = np.array([[-2.5, -1.5, -0.5], [0.5, 1.0, 1.5], [2.0, -2.0, 0.0]])
    volumes = {}
    for k, (axial, coronal, sagittal) in enumerate(levels):
        volume = np.zeros((20, 20, 20))
        volume[:, :, 10], volume[:, 4, :], volume[15, :, :] = axial, coronal, sagittal
        volumes[f"v{k}"] = volume
    draw_volumes(volumes, tmp_path / "page.png", 2, dict.fromkeys(volumes, (15, 4, 10)))
    rows, (height, width) = find_panels(tmp_path / "page.png")
    assert [len(row) for row in rows] == [2, 2, 2, 1, 1, 1]
    found = np.array([[rows[0][k], rows[1][k], rows[2][k]] for k in (0, 1)] + [[row[0] for row in rows[3:]]])
    assert np.abs(found - 255 * (levels + 3) / 6).max() < 3
    assert 2.5 < height / width < 4  # of two columns and six rows of squares, with titles


def test_planes_go_through_the_brightest_place():
    volume = np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32)
    volume[6, 2, 7] = 5  # one voxel alone
    volume[3:6, 4:7, 2:5] = 4
    assert find_brightest(volume) == (4, 5, 3)
    axial, coronal, sagittal = cut_planes(volume, (6, 2, 7))
    assert axial[2, 6] == coronal[10 - 7, 6] == sagittal[10 - 7, 2] == 5
    assert [plane.shape for plane in cut_planes(volume)] == [(10, 9), (11, 9), (11, 10)]


def test_without_volumes_the_picture_is_empty(tmp_path):
    draw_volumes({}, tmp_path / "page.png")
    assert np.asarray(Image.open(tmp_path / "page.png").convert("L")).min() == pytest.approx(255)
