"""What is read from a raw file, and what is said of a bad one."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from braing3n.core.errors import ScanError
from braing3n.preprocess.read.scan import coarsen, find_box, read_scan

from .brains import centred_affine, sample

SHAPE, SPACING_MM = (30, 36, 28), 6.0
AFFINE = centred_affine(SHAPE, SPACING_MM)


def save(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def truncate(folder):
    noise = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)
    path = save(folder / "cut.nii.gz", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def touch(folder):
    path = folder / "none.nii.gz"
    path.write_bytes(b"")
    return path


def fill(folder, value, shape=SHAPE):
    return save(folder / "bad.nii.gz", np.full(shape, value, np.float32))


def spoil(folder):
    data = np.ones(SHAPE, np.float32)
    data[3, 4, 5] = np.nan
    return save(folder / "nan.nii.gz", data)


def shear(folder):
    affine = AFFINE.copy()
    affine[0, 1] = 2.0
    return save(folder / "sheared.nii.gz", sample(AFFINE, SHAPE), affine)


def mirror(folder):
    image = nib.Nifti1Image(sample(AFFINE, SHAPE), AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ AFFINE, code=1)
    nib.save(image, folder / "mirrored.nii.gz")
    return folder / "mirrored.nii.gz"


def write_text(folder):
    path = folder / "text.nii.gz"
    path.write_bytes(gzip.compress(b"not an image"))
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (truncate, "truncated"),
        (touch, "empty (0 bytes)"),
        (lambda folder: folder / "gone.nii.gz", "missing"),
        (lambda folder: fill(folder, 1, (*SHAPE, 3)), "4-D (30 x 36 x 28 x 3)"),
        (lambda folder: fill(folder, 1, (30, 36)), "2-D"),
        (spoil, "1 of 30240 voxels are not finite"),
        (lambda folder: fill(folder, 0), "every voxel is 0"),
        (lambda folder: fill(folder, 7), "every voxel is 7"),
        (lambda folder: fill(folder, 1, (30, 36, 3)), "only 3 slices"),
        (shear, "shears"),
        (mirror, "sform and qform disagree about left and right"),
        (write_text, "cannot be read as an image"),
    ],
)
def test_bad_file_is_one_sentence(tmp_path, make, reason):
    path = make(tmp_path)
    with pytest.raises(ScanError) as caught:
        read_scan(path)
    message = str(caught.value)
    assert reason in message
    assert message.startswith(path.name)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "RPI", "ASL", "SRP"])
def test_every_orientation_reads_the_same(tmp_path, codes):
    data = sample(AFFINE, SHAPE)
    wanted = nib.orientations.axcodes2ornt(tuple(codes))
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), wanted)
    stored = nib.Nifti1Image(data, AFFINE).as_reoriented(turn)
    assert nib.aff2axcodes(stored.affine) == tuple(codes)
    nib.save(stored, tmp_path / "a.nii.gz")
    scan = read_scan(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(scan.data, data)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)
    brightest = np.unravel_index(scan.data.argmax(), scan.data.shape)
    assert (scan.affine @ [*brightest, 1])[0] < -25, "the marker is on the left"


def test_forms_that_differ_in_place_alone_are_read(tmp_path):
    image = nib.Nifti1Image(sample(AFFINE, SHAPE), AFFINE)
    moved = AFFINE.copy()
    moved[:3, 3] += 40
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "moved.nii.gz")
    np.testing.assert_allclose(read_scan(tmp_path / "moved.nii.gz").affine, AFFINE, atol=1e-4)


def test_trailing_axis_of_one_is_dropped_and_scaling_is_applied(tmp_path):
    image = nib.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10, 1), np.diag([2.0, 2, 2, 1]))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "scaled.nii")
    expected = nib.load(tmp_path / "scaled.nii").get_fdata()[..., 0]
    np.testing.assert_allclose(read_scan(tmp_path / "scaled.nii").data, expected, atol=1e-4)


def test_crop_and_coarsen_keep_positions(tmp_path):
    scan = read_scan(save(tmp_path / "a.nii.gz", sample(AFFINE, SHAPE)))
    for other in (scan.crop(find_box(scan.data > 0, (1, 2, 0))), coarsen(scan, 12.0)):
        assert other.data.shape != scan.data.shape
        centres = []
        for image in (scan, other):
            index = ndimage.center_of_mass(image.data.astype(float))
            centres.append((image.affine @ [*index, 1])[:3])
        np.testing.assert_allclose(*centres, atol=0.05)
