"""Every raw format reads as the same head: left, front and top where they are, and nobody's name printed."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from braing3n.core.errors import ScanError
from braing3n.phantoms.formats import (
    IDENTITY,
    PLANES,
    PLANTED,
    write_analyze,
    write_dicom,
    write_nifti,
    write_pair,
)
from braing3n.preprocess.read.formats import centre_affine, digest_scan, load_image
from braing3n.preprocess.read.scan import read_scan
from braing3n.preprocess.shard import run_visit
from braing3n.preprocess.store import compute_key, digest_raw

from .brains import centred_affine, make_row, sample

SHAPE, SPACING_MM = (10, 12, 14), np.array([1.5, 2.0, 3.0])
AFFINE = np.diag([*SPACING_MM, 1.0])
AFFINE[:3, 3] = -7, -20, -30
IMAGE = np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.int16)
LEFT, FRONT, TOP = (0, 5, 6), (4, 11, 6), (4, 5, 13)  # three voxels brighter than all else, on three sides
for level, marker in enumerate((LEFT, FRONT, TOP), start=1):
    IMAGE[marker] = 1000 * level


def check(scan, has_origin=True):
    """Voxels in RAS, edges in mm, and each marker on its side."""
    np.testing.assert_array_equal(scan.data, IMAGE)
    np.testing.assert_allclose(scan.spacing_mm, SPACING_MM, atol=1e-4)
    if has_origin:
        np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-3)
    middle = scan.affine @ [*(np.array(SHAPE) - 1) / 2, 1]
    offsets = [(scan.affine @ [*np.argwhere(scan.data == 1000 * n)[0], 1] - middle)[:3] for n in (1, 2, 3)]
    assert offsets[0][0] < -6
    assert offsets[1][1] > 10
    assert offsets[2][2] > 19


def read_message(error):
    """The message, after the rules of a sentence were checked."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert [text for text in PLANTED if text in message] == []
    return message


@pytest.mark.parametrize("axes", ["RAS", "LAS", "LPS", "RPI", "ASL", "SRP"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
def test_nifti_in_six_orientations(tmp_path, name, axes):
    (write_pair if name == "a.hdr" else write_nifti)(tmp_path / name, IMAGE, AFFINE, axes)
    check(read_scan(tmp_path / name, "NIfTI pair" if name == "a.hdr" else "NIfTI"))


@pytest.mark.parametrize("axes", ["LAS", "ASL", "RAS", "PIR"])
def test_analyze_is_what_its_axes_say(tmp_path, axes):
    write_analyze(tmp_path / "a.hdr", IMAGE, AFFINE, axes)
    scan = read_scan(tmp_path / "a.hdr", "Analyze", axes)
    check(scan, has_origin=False)
    np.testing.assert_allclose(scan.affine @ [*(np.array(SHAPE) - 1) / 2, 1], [0, 0, 0, 1], atol=1e-6)
    check(read_scan(tmp_path / "a.img", "Analyze", axes), has_origin=False)
    mirrored = read_scan(tmp_path / "a.hdr", "Analyze", axes.translate(str.maketrans("LR", "RL")))
    np.testing.assert_array_equal(mirrored.data, IMAGE[::-1])


def test_asl_is_the_orientation_that_others_give_oasis():
    clinica = np.array([[0, 0, -1, 80], [1, 0, 0, -128], [0, 1, 0, -128], [0, 0, 0, 1.0]])
    ours = centre_affine((256, 256, 160), (1, 1, 1), "ASL")
    np.testing.assert_allclose(ours[:3, :3], clinica[:3, :3])
    assert np.abs(ours[:3, 3] - clinica[:3, 3]).max() <= 0.5, "the centre of the voxel, not its edge"


@pytest.mark.parametrize("source_format", ["Analyze", "NIfTI pair"])
def test_analyze_without_axes_is_refused(tmp_path, source_format):
    write_analyze(tmp_path / "a.hdr", IMAGE, AFFINE, "LAS")
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "a.hdr", source_format)
    assert "does not store left and right" in read_message(caught)


def test_axes_overrule_a_header_that_is_wrong(tmp_path):
    write_pair(tmp_path / "a.hdr", IMAGE, AFFINE, "ASL")
    image = nib.load(tmp_path / "a.hdr")
    np.testing.assert_allclose(image.affine[:3, :3] @ [0, 0, 1], [-1.5, 0, 0], atol=1e-6)
    nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), np.diag([2.0, 3.0, 1.5, 1.0])), tmp_path / "b.hdr")
    check(read_scan(tmp_path / "b.hdr", "NIfTI pair", "ASL"), has_origin=False)


@pytest.mark.parametrize("missing", ["a.img", "a.hdr"])
def test_half_a_pair_is_one_sentence(tmp_path, missing):
    write_pair(tmp_path / "a.hdr", IMAGE, AFFINE)
    (tmp_path / missing).unlink()
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "a.hdr", "NIfTI pair")
    assert read_message(caught) == f"{missing}: the file is missing."


@pytest.mark.parametrize("is_one_file", [False, True])
@pytest.mark.parametrize("plane", PLANES)
def test_dicom_in_three_planes(tmp_path, capfd, plane, is_one_file):
    write_dicom(tmp_path / "series", "{}.dcm", IMAGE, AFFINE, plane, is_one_file)
    check(read_scan(tmp_path / "series", "DICOM"))
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("series/*.nii"))


def test_oblique_dicom_is_where_it_was(tmp_path):
    angle = np.deg2rad(12)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = AFFINE.copy()
    affine[:3, :3] = turn @ AFFINE[:3, :3]
    write_dicom(tmp_path, "{}.dcm", IMAGE, affine, "axial")
    scan = read_scan(tmp_path, "DICOM")
    np.testing.assert_array_equal(scan.data, IMAGE)
    np.testing.assert_allclose(scan.affine, affine, atol=2e-3)


@pytest.mark.parametrize("vendor", ["SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems"])
@pytest.mark.parametrize("plane", PLANES)
def test_dual_echo_gives_the_echo_that_the_modality_asks_for(tmp_path, plane, vendor):
    write_dicom(tmp_path, "{}.dcm", IMAGE, AFFINE, plane, n_echoes=2, vendor=vendor)
    check(read_scan(tmp_path, "DICOM", modality="T2"))
    for modality in ("T1", "FLAIR"):
        weak = read_scan(tmp_path, "DICOM", modality=modality)
        np.testing.assert_array_equal(weak.data, np.round(20 * np.sqrt(IMAGE.astype(float))))
        np.testing.assert_allclose(weak.affine, AFFINE, atol=1e-3)


def test_dual_echo_in_one_file_is_separated_or_refused(tmp_path):
    for name, vendor in (("good", "Philips Medical Systems"), ("stacked", "SIEMENS")):
        write_dicom(tmp_path / name, "one.dcm", IMAGE, AFFINE, "axial", True, 2, vendor=vendor)
    check(read_scan(tmp_path / "good", "DICOM", modality="T2"))
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "stacked", "DICOM", modality="T2")
    assert read_message(caught).startswith("stacked: dcm2niix makes one stack of 28 frames at 14 places;")


def test_two_series_in_a_folder_are_refused(tmp_path, capfd):
    write_dicom(tmp_path / "I1", "a{}.dcm", IMAGE, AFFINE, "axial")
    write_dicom(tmp_path / "I1", "b{}.dcm", IMAGE[2:], AFFINE, "axial", series_number=4)
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM")
    assert read_message(caught) == "I1: holds 2 series (sizes 8x12x14 and 10x12x14); keep one a folder."
    assert capfd.readouterr() == ("", "")


def test_two_series_of_one_size_are_no_echoes(tmp_path):
    write_dicom(tmp_path / "I1", "a{}.dcm", IMAGE, AFFINE)
    for path in write_dicom(tmp_path / "I1", "b{}.dcm", IMAGE + 1, AFFINE, series_number=4):
        dataset = pydicom.dcmread(path)
        dataset.EchoTime = 80
        dataset.save_as(path)
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM", modality="T2")
    assert "holds 2 series" in read_message(caught)


def cut(paths):
    paths[4].write_bytes(paths[4].read_bytes()[:-100])


def empty(paths):
    for path in paths:
        path.unlink()


def garble(paths):
    for path in paths:
        path.write_bytes(IDENTITY["PatientName"].encode() * 50)


@pytest.mark.parametrize("harm", [cut, empty, garble])
def test_damaged_series_is_one_sentence(tmp_path, capfd, harm):
    harm(write_dicom(tmp_path / "I1", "{}.dcm", IMAGE, AFFINE))
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM")
    assert read_message(caught) == "I1: dcm2niix finds no image in it, or a damaged one; download it again."
    assert capfd.readouterr() == ("", "")


def test_missing_series_is_one_sentence(tmp_path):
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM")
    assert read_message(caught) == "I1: the folder is missing."


def test_a_copy_at_equal_distances_is_not_taken(tmp_path):
    paths = write_dicom(tmp_path, "{}.dcm", IMAGE, AFFINE, "axial")
    for path in paths[7:]:  # all further slices lie a little higher: dcm2niix also writes a resampled volume
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient[2] += 1.2
        dataset.save_as(path)
    assert load_image(tmp_path, "DICOM").shape == IMAGE.shape


def test_a_missing_slice_is_refused_and_reported(tmp_path):
    paths = write_dicom(tmp_path / "I1", "{}.dcm", IMAGE, AFFINE, "axial")
    paths[6].unlink()
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM")
    assert read_message(caught).startswith("I1: 1 of 14 slices is missing (between images 6 and 8);")


def test_a_missing_slice_of_one_echo_is_refused(tmp_path):
    paths = write_dicom(tmp_path / "I1", "{}.dcm", IMAGE, AFFINE, "axial", n_echoes=2)
    paths[20].unlink()
    with pytest.raises(ScanError):
        read_scan(tmp_path / "I1", "DICOM", modality="T2")


def test_missing_frames_are_refused(tmp_path):
    (path,) = write_dicom(tmp_path / "I1", "one.dcm", IMAGE, AFFINE, "axial", True)
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    keep = [k for k in range(14) if k not in (4, 5)]
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = [groups[k] for k in keep]
    dataset.NumberOfFrames, dataset.PixelData = len(keep), frames[keep].tobytes()
    dataset.save_as(path)
    with pytest.raises(ScanError) as caught:
        read_scan(tmp_path / "I1", "DICOM")
    assert read_message(caught).startswith("I1: 2 of 14 slices are missing (between images 4 and 5);")


def test_other_files_and_folders_in_a_series_folder_do_no_harm(tmp_path):
    write_dicom(tmp_path / "I1", "{}.dcm", IMAGE, AFFINE)
    write_dicom(tmp_path / "I1" / "below", "{}.dcm", IMAGE[1:], AFFINE)
    (tmp_path / "I1" / "series.xml").write_text("<series/>")
    (tmp_path / "I1" / ".DS_Store").write_bytes(b"\0" * 300)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    check(read_scan(tmp_path / "I1", "DICOM"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_digest_is_that_of_all_files_and_of_no_name(tmp_path):
    write_dicom(tmp_path / "a", "{}.dcm", IMAGE, AFFINE)
    write_dicom(tmp_path / "b", "other_{:04d}.dcm", IMAGE, AFFINE)
    (tmp_path / "b" / ".DS_Store").write_bytes(b"1")
    write_pair(tmp_path / "c.hdr", IMAGE, AFFINE)
    shutil.copy(tmp_path / "c.hdr", tmp_path / "d.hdr")
    shutil.copy(tmp_path / "c.img", tmp_path / "d.img")
    names = ("a", "b", "c.hdr", "d.hdr", "d.img", "gone.hdr", "gone")
    rows = [make_row(tmp_path / name) for name in names]
    a, b, c, d, image, *gone = digest_raw(rows)
    assert a == b != c == d == image
    assert gone == [("",), ("",)]
    (tmp_path / "b" / "other_0003.dcm").unlink()
    (tmp_path / "d.img").write_bytes((tmp_path / "d.img").read_bytes()[:-2] + b"xx")
    assert digest_scan(tmp_path / "b") != a
    assert digest_scan(tmp_path / "d.hdr") != c


def test_format_and_axes_are_part_of_the_key(tmp_path, settings):
    rows = [make_row(tmp_path / "a.hdr"), make_row(tmp_path / "a.hdr", source_format="Analyze", axes="LAS")]
    rows.append({**rows[1], "axes": "RAS"})
    assert len({compute_key([row], ["0"], settings, "1") for row in rows}) == 3


def test_no_identity_is_in_anything_that_preprocessing_writes(tmp_path, job, capfd, caplog):
    shape, affine = (36, 42, 34), centred_affine((36, 42, 34), 5.0)
    brain = np.round(sample(affine, shape)).astype(np.int16)
    write_dicom(tmp_path / "raw" / "good", "{}.dcm", brain, affine)
    write_dicom(tmp_path / "raw" / "two", "a{}.dcm", brain, affine)
    write_dicom(tmp_path / "raw" / "two", "b{}.dcm", brain[1:], affine)
    cut(write_dicom(tmp_path / "raw" / "cut", "{}.dcm", brain, affine))
    reasons = {}
    for name in ("good", "two", "cut"):
        visit = [make_row(tmp_path / "raw" / name, name, source_format="DICOM")]
        (cell,) = run_visit(visit, job)
        reasons[name] = cell["reason"]
        assert [text for text in PLANTED if text in str(cell)] == []
    assert reasons["good"] == ""
    assert reasons["two"].startswith("two: holds 2 series")
    assert reasons["cut"].startswith("cut: dcm2niix")
    written = [path for path in job.store_dir.rglob("*") if path.is_file()]
    assert {"".join(path.suffixes) for path in written} >= {".nii.gz", ".json"}
    for path in written:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert [text for text in PLANTED if text.encode() in content or text in path.name] == []
    printed = " ".join([*capfd.readouterr(), caplog.text])
    assert [text for text in PLANTED if text in printed] == []


@pytest.fixture(scope="module")
def head(fetch_resource):
    """(spacing -> image, affine, voxel of that grid -> SRI24 mm) of one phantom."""
    from braing3n.atlas.templates import SRI24_TO_MNI
    from braing3n.phantoms.anatomy import HEAD_TO_MNI
    from braing3n.phantoms.miniature import load_world
    from braing3n.phantoms.people import draw_people
    from braing3n.phantoms.scanner import _draw_pose, scan_head

    world = load_world(fetch_resource("brain-templates"), fetch_resource("head-template"))
    person = draw_people(4, 1)[0]
    to_sri24 = np.linalg.inv(SRI24_TO_MNI) @ HEAD_TO_MNI @ np.linalg.inv(_draw_pose(person, 0, "T1"))

    def scan(spacing_mm):
        image, affine, _ = scan_head(world, person, 0, "T1", spacing_mm)
        return image, affine, to_sri24 @ affine

    return scan


WRITERS = {
    "NIfTI": lambda path, *head: write_nifti(path / "a.nii.gz", *head, "PSR") or path / "a.nii.gz",
    "NIfTI pair": lambda path, *head: write_pair(path / "a.hdr", *head, "LPS") or path / "a.hdr",
    "Analyze LAS": lambda path, *head: write_analyze(path / "a.hdr", *head, "LAS") or path / "a.hdr",
    "Analyze ASL": lambda path, *head: write_analyze(path / "a.hdr", *head, "ASL") or path / "a.hdr",
    "DICOM sagittal": lambda path, *head: write_dicom(path, "{}.dcm", *head, "sagittal") and path,
    "DICOM coronal": lambda path, *head: write_dicom(path, "{}.dcm", *head, "coronal") and path,
    "DICOM axial, one file": lambda path, *head: write_dicom(path, "a", *head, "axial", True) and path,
    "DICOM axial, dual echo": lambda path, *head: (
        write_dicom(path, "{}", *head, "axial", n_echoes=2) and path
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_phantom_head_has_its_marker_on_the_left(tmp_path, head, kind):
    from braing3n.phantoms.picture import find_left_marker

    image, affine, to_sri24 = head(3.0 if kind.startswith("DICOM") else 4.0)
    path = WRITERS[kind](tmp_path, image, affine)
    source_format, axes = kind.split(" ") if kind.startswith("Analyze") else (kind, "")
    source_format = "DICOM" if kind.startswith("DICOM") else source_format
    scan = read_scan(path, source_format, axes, "T2" if "echo" in kind else "T1")
    assert scan.data.shape == image.shape
    assert find_left_marker(scan.data, to_sri24) == "left"
    assert find_left_marker(scan.data[::-1], to_sri24) == "right", "a flip would be seen"
    np.testing.assert_allclose(scan.data, image * 600, atol=0.51)


def test_an_orientation_that_the_header_does_not_give_is_refused(tmp_path):
    """NIfTI with both codes 0, MGH without its flag, DICOM without a place: readers guess and mirror."""
    image = nib.Nifti1Image(IMAGE, AFFINE)
    image.set_sform(AFFINE, code=0)
    image.set_qform(AFFINE, code=0)
    nib.save(image, tmp_path / "a.nii.gz")
    content = bytearray(nib.MGHImage(IMAGE.astype(np.float32), AFFINE).to_bytes())
    content[28:30] = b"\0\0"
    (tmp_path / "a.mgz").write_bytes(gzip.compress(bytes(content)))
    for name in ("a.nii.gz", "a.mgz"):
        with pytest.raises(ScanError) as caught:
            read_scan(tmp_path / name)
        assert read_message(caught).startswith(f"{name}: its header does not give the orientation")
    check(read_scan(tmp_path / "a.nii.gz", axes="RAS"), has_origin=False)
    for tag in ("ImageOrientationPatient", "ImagePositionPatient"):
        for path in write_dicom(tmp_path / tag, "{}.dcm", IMAGE, AFFINE, "sagittal"):
            header = pydicom.dcmread(path)
            delattr(header, tag)
            header.save_as(path)
        with pytest.raises(ScanError) as caught:
            read_scan(tmp_path / tag, "DICOM")
        assert read_message(caught).startswith(f"{tag}: ")


def test_a_broken_quaternion_or_a_size_of_zero_beside_a_good_sform_costs_nothing(tmp_path):
    image = nib.Nifti1Image(IMAGE, AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    for name, where, values in (("nan.nii", 256, [np.nan] * 3), ("zero.nii", 80, [0] * 3)):
        content = bytearray(image.to_bytes())
        content[where : where + 12] = np.array(values, np.float32).tobytes()
        (tmp_path / name).write_bytes(bytes(content))
        check(read_scan(tmp_path / name))


def test_an_overlay_is_no_second_series(tmp_path):
    for path in write_dicom(tmp_path / "I1", "{}.dcm", IMAGE, AFFINE, "axial"):
        dataset = pydicom.dcmread(path)
        n_bytes = -(-dataset.Rows * dataset.Columns // 8)
        for element, kind, value in (
            (0x0010, "US", dataset.Rows),
            (0x0011, "US", dataset.Columns),
            (0x0040, "CS", "R"),
            (0x0050, "SS", [1, 1]),
            (0x0100, "US", 1),
            (0x0102, "US", 0),
            (0x3000, "OW", b"\xff" * (n_bytes + n_bytes % 2)),
        ):
            dataset.add_new((0x6000, element), kind, value)
        dataset.save_as(path)
    scan = read_scan(tmp_path / "I1", "DICOM")
    np.testing.assert_array_equal(scan.data, IMAGE)
