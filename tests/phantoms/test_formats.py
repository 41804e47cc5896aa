"""The raw files that phantoms are written to, looked at byte by byte and with other readers."""

import struct

import nibabel as nib
import numpy as np
import pydicom
import pytest

from braing3n.phantoms import formats

SHAPE, SPACING_MM = (9, 10, 12), np.array([1.5, 2.0, 3.0])
AFFINE = np.diag([*SPACING_MM, 1.0])
AFFINE[:3, 3] = -10, -20, -30
IMAGE = np.random.default_rng(0).permutation(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
# The same voxels as other scanners would store them, spelled out with numpy alone.
STORED = {
    "RAS": IMAGE,
    "LAS": IMAGE[::-1],
    "LPS": IMAGE[::-1, ::-1],
    "ASL": IMAGE.transpose(1, 2, 0)[:, :, ::-1],
    "SRP": IMAGE.transpose(2, 0, 1)[:, :, ::-1],
    "PIR": IMAGE.transpose(1, 2, 0)[::-1, ::-1],
}


def place(index, affine=AFFINE):
    return (affine @ [*index, 1])[:3]


@pytest.mark.parametrize("name", ["a.nii", "b.nii.gz", "pair.hdr"])
@pytest.mark.parametrize("axes", STORED)
def test_nifti_keeps_each_voxel_where_it_is(tmp_path, name, axes):
    write = formats.write_pair if name.endswith(".hdr") else formats.write_nifti
    write(tmp_path / name, IMAGE, AFFINE, axes)
    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), STORED[axes])
    assert nib.aff2axcodes(image.affine) == tuple(axes)
    for index in ((0, 0, 0), (8, 0, 3), (2, 9, 11)):
        found = np.argwhere(np.asarray(image.dataobj) == IMAGE[index])[0]
        np.testing.assert_allclose(place(found, image.affine), place(index), atol=1e-4)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)


@pytest.mark.parametrize("axes", ["LAS", "ASL"])
def test_analyze_is_big_endian_and_tells_no_orientation(tmp_path, axes):
    formats.write_analyze(tmp_path / "scan.hdr", IMAGE, AFFINE, axes)
    header = (tmp_path / "scan.hdr").read_bytes()
    stored = STORED[axes]
    assert struct.unpack_from(">i", header) == (348,)
    assert struct.unpack_from(">5h", header, 40) == (4, *stored.shape, 1)
    assert struct.unpack_from(">2h", header, 70) == (4, 16), "16-bit integers"
    edges = {"LAS": SPACING_MM, "ASL": SPACING_MM[[1, 2, 0]]}[axes]
    np.testing.assert_allclose(struct.unpack_from(">3f", header, 80), edges)
    assert header[253:] == bytes(len(header) - 253), "neither an origin nor a direction"
    voxels = np.fromfile(tmp_path / "scan.img", ">i2").reshape(stored.shape, order="F")
    np.testing.assert_array_equal(voxels, stored)


@pytest.mark.parametrize("plane", formats.PLANES)
def test_dicom_slices_lie_where_the_standard_says(tmp_path, plane):
    paths = formats.write_dicom(tmp_path, "{:03d}.dcm", IMAGE, AFFINE, plane)
    thick_axis = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    assert len(paths) == SHAPE[thick_axis]
    seen = set()
    for path in paths:
        header = pydicom.dcmread(path)
        along_columns, along_rows = np.reshape(header.ImageOrientationPatient, (2, 3))
        row_mm, column_mm = header.PixelSpacing
        assert header.SliceThickness == SPACING_MM[thick_axis]
        assert np.ptp([place(i)[thick_axis] for i in np.argwhere(np.isin(IMAGE, header.pixel_array))]) == 0
        for row, column in ((0, 0), (1, 4), (header.Rows - 1, header.Columns - 1)):
            lps = header.ImagePositionPatient + along_columns * column * column_mm + along_rows * row * row_mm
            index = np.argwhere(np.equal(IMAGE, header.pixel_array[row, column]))[0]
            np.testing.assert_allclose(lps * [-1, -1, 1], place(index), atol=1e-3)
        seen.add(header.SOPInstanceUID)
    assert len(seen) == len(paths)


def test_dual_echo_is_a_weak_contrast_and_the_image(tmp_path):
    classic = [
        pydicom.dcmread(p) for p in formats.write_dicom(tmp_path / "a", "{}", IMAGE, AFFINE, n_echoes=2)
    ]
    assert [h.EchoTime for h in classic] == [12] * 9 + [96] * 9
    assert len({h.SeriesInstanceUID for h in classic}) == 1
    np.testing.assert_array_equal(classic[9].pixel_array, IMAGE[-1, ::-1, ::-1].T)
    first, second = classic[0].pixel_array.ravel(), classic[9].pixel_array.ravel()
    order = np.argsort(second)
    assert (np.diff(first[order]) >= 0).all()
    assert (first != second).mean() > 0.9
    one = formats.write_dicom(tmp_path / "b", "all.dcm", IMAGE, AFFINE, is_one_file=True, n_echoes=2)
    assert len(one) == 1
    enhanced = pydicom.dcmread(one[0])
    times = [g.MREchoSequence[0].EffectiveEchoTime for g in enhanced.PerFrameFunctionalGroupsSequence]
    assert times == [12, 96] * 9
    np.testing.assert_array_equal(enhanced.pixel_array[1], enhanced.pixel_array[1::2][0])
    assert {frame.tobytes() for frame in enhanced.pixel_array} == {h.pixel_array.tobytes() for h in classic}


def test_every_series_carries_what_must_not_leak(tmp_path):
    (one,) = formats.write_dicom(tmp_path, "one.dcm", IMAGE, AFFINE, is_one_file=True)
    paths = formats.write_dicom(tmp_path, "{}.dcm", IMAGE, AFFINE)
    assert {"PLANTED^NAME", "PLANTED-ID", "PLANTED STREET 7", "19030917"} <= set(formats.PLANTED)
    for path in (one, *paths):
        assert [text for text in formats.PLANTED if text.encode() not in path.read_bytes()] == []


def test_names_are_a_list_or_numbered(tmp_path):
    names = [f"deep/slice {letter}.dcm" for letter in "abcdefghi"]
    paths = formats.write_dicom(tmp_path, names, IMAGE, AFFINE)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == names
    with pytest.raises(ValueError, match="9 files need as many names"):
        formats.write_dicom(tmp_path, "same.dcm", IMAGE, AFFINE)


def write_all(folder):
    formats.write_nifti(folder / "a.nii", IMAGE, AFFINE, "LPS")
    formats.write_nifti(folder / "b.nii.gz", IMAGE / 600, AFFINE, "PSR")
    formats.write_pair(folder / "c.hdr", IMAGE, AFFINE)
    formats.write_analyze(folder / "d.hdr", IMAGE, AFFINE, "ASL")
    formats.write_dicom(folder / "e", "{}.dcm", IMAGE, AFFINE, n_echoes=2)
    formats.write_dicom(folder / "f", "one.dcm", IMAGE, AFFINE, is_one_file=True)
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_arguments_give_the_same_bytes(tmp_path):
    first = write_all(tmp_path / "first")
    assert len(first) == 6 + 18 + 1
    assert write_all(tmp_path / "second") == first


def test_another_image_is_another_series(tmp_path):
    (one,) = formats.write_dicom(tmp_path, "a.dcm", IMAGE, AFFINE, is_one_file=True)
    (other,) = formats.write_dicom(tmp_path, "b.dcm", IMAGE + 1, AFFINE, is_one_file=True)
    assert pydicom.dcmread(one).SeriesInstanceUID != pydicom.dcmread(other).SeriesInstanceUID


def test_floats_are_units_of_white_matter(tmp_path):
    formats.write_nifti(tmp_path / "a.nii", np.full(SHAPE, 0.5, np.float32), AFFINE)
    assert set(np.unique(nib.load(tmp_path / "a.nii").dataobj)) == {formats.GREY_LEVELS // 2}
