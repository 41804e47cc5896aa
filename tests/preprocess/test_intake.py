"""A scan as it is taken in: brains that nobody called stripped, bright voxels, and what is said of both."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from braing3n.preprocess.quality import list_warnings
from braing3n.preprocess.read.intake import is_brain_alone
from braing3n.preprocess.read.scan import Volume, read_scan
from braing3n.preprocess.visit import process_visit

from .brains import SEMI_AXES_MM, centred_affine, make_row, rotate, sample, write_brain

SHAPE, SPACING_MM = (56, 66, 56), 4.0
AFFINE = centred_affine(SHAPE, SPACING_MM)


def paint_head(scale):
    """The invented brain in a bright scalp with dark bone between; zero around it."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    points = index @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    to_brain = rotate(0, scale=scale)
    radius = np.sqrt((((points * scale) / SEMI_AXES_MM) ** 2).sum(axis=-1))
    head = np.where(radius < 1.3, np.where(radius < 1.14, 8.0, 160.0), 0.0)
    return Volume(np.maximum(head, sample(AFFINE, SHAPE, to_brain)).astype(np.float32), AFFINE)


@pytest.mark.parametrize("modality", ["T1", "T2"])
def test_a_brain_without_a_skull_is_known_and_a_head_is_not_taken_for_one(modality):
    assert is_brain_alone(Volume(sample(AFFINE, SHAPE, modality=modality), AFFINE))
    assert not is_brain_alone(paint_head(1.0))
    assert not is_brain_alone(paint_head(1.25))  # a child's, smaller than a grown-up's brain


def test_real_brains_are_known_and_a_real_head_on_zeros_is_not_taken_for_one(shared_data):
    stripped = (
        "stroke/sub-stroke01/anat/sub-stroke01_desc-brain_T1w.nii.gz",
        "open_ms/sub-ms07/ses-1/anat/sub-ms07_ses-1_space-MNI_desc-brain_T2w.nii.gz",
    )
    for path in stripped:
        assert is_brain_alone(read_scan(shared_data / path)), path
    head = read_scan(shared_data / "smoke" / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    assert not is_brain_alone(head)
    assert not is_brain_alone(
        head.with_data(np.where(head.data > np.percentile(head.data, 60), head.data, 0))
    )


def test_a_stripped_scan_that_nobody_called_so_keeps_its_brain(tmp_path, tools):
    path = write_brain(tmp_path / "a.nii.gz")
    said, unsaid = (
        process_visit([make_row(path, is_stripped=n)], tools) for n in (1, 0)
    )  # the extractor of `tools` refuses
    assert unsaid.cells[0]["steps"] == "mask:nonzero (no skull was found);affine"
    assert unsaid.cells[0]["native_brain_ml"] == said.cells[0]["native_brain_ml"]
    key = ("preproc", "", "T1")
    assert unsaid.files[key] == said.files[key]


@pytest.mark.parametrize("value", [32767, 1e6])
def test_one_bright_voxel_changes_neither_size_nor_the_values_that_are_stored(tmp_path, tools, value):
    good, bad = tmp_path / "good.nii.gz", tmp_path / "bad.nii.gz"
    image = nib.load(write_brain(good))
    data = image.get_fdata(dtype=np.float32).copy()
    data[18, 20, 17] = value
    nib.save(nib.Nifti1Image(data, image.affine), bad)
    one, other = (process_visit([make_row(path)], tools) for path in (good, bad))
    cells = one.cells[0], other.cells[0]
    assert cells[0]["clipped_share"] == 0
    assert cells[1]["clipped_share"] == pytest.approx(1 / data.size, abs=1e-9)
    sizes = [cell["native_brain_ml"] * cell["affine_determinant"] for cell in cells]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.005)
    n_values = []
    for result in (one, other):
        content = gzip.decompress(result.files["preproc", "", "T1"])
        n_values.append(len(np.unique(nib.Nifti1Image.from_bytes(content).get_fdata())))
    assert n_values[1] > 0.25 * n_values[0]


def test_a_saturated_scan_and_a_brain_of_a_wrong_size_are_warned_of(tmp_path, tools):
    path = tmp_path / "a.nii.gz"
    image = nib.load(write_brain(path))
    data = image.get_fdata(dtype=np.float32)
    nib.save(nib.Nifti1Image(np.minimum(data, np.percentile(data[data > 0], 85)), image.affine), path)
    cell = process_visit([make_row(path)], tools).cells[0]
    assert cell["saturated_share"] == pytest.approx(0.15, abs=0.04)
    assert any("saturated" in warning for warning in list_warnings(cell))
    good = cell | {"saturated_share": 0.0}
    assert list_warnings(good) == []
    for size_ml in (2229.0, 1735.0, 1242.0, 1224.0):  # seen in wrong runs
        wrong = good | {"native_brain_ml": size_ml, "affine_determinant": 1.0}
        wrong["size_mismatch"] = abs(np.log(size_ml / 1452))
        assert f"{size_ml:.0f} ml in SRI24" in list_warnings(wrong)[0]
    for size_ml in (1435.0, 1643.0):
        assert list_warnings(good | {"size_mismatch": abs(np.log(size_ml / 1452))}) == []


@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_brain_whose_lobe_was_erased_is_warned_of(tmp_path, tools, side):
    path = tmp_path / "a.nii.gz"
    image = nib.load(write_brain(path))
    whole = process_visit([make_row(path)], tools).cells[0]
    assert whole["missing_share"] < 0.002
    data = image.get_fdata(dtype=np.float32).copy()
    filled = np.flatnonzero(data.any(axis=tuple({0, 1, 2} - {side})))
    np.moveaxis(data, side, 0)[filled[int(0.75 * len(filled))] :] = 0
    nib.save(nib.Nifti1Image(data, image.affine), path)
    cell = process_visit([make_row(path)], tools).cells[0]
    assert cell["status"] == "kept", cell["reason"]
    assert any("of the atlas's brain" in warning for warning in list_warnings(cell)), cell


def test_a_brain_the_wrong_way_round_is_refused_with_the_axes(tmp_path, tools):
    """Its header gives front for back and top for bottom: registration from any start ends upside down."""
    path = tmp_path / "a.nii.gz"
    image = nib.load(write_brain(path))
    turned = np.diag([1.0, -1.0, 1.0, 1.0]) @ image.affine
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), turned), path)
    cell = process_visit([make_row(path)], tools).cells[0]
    assert cell["status"] == "excluded", cell
    assert "fits SRI24 better with" in cell["reason"]


def test_a_companion_has_a_number_of_its_own_fit(tmp_path, tools):
    t1 = write_brain(tmp_path / "t1.nii.gz", (60, 66, 50), 3.0)
    fits = []
    for degrees in (0, 30):
        name = tmp_path / f"t2-{degrees}.nii.gz"
        t2 = write_brain(name, (64, 70, 50), 3.0, rotate(degrees, axis=0), "T2")
        rows = [make_row(t1, raw_space="mni"), make_row(t2, modality="T2", raw_space="mni")]
        cells = {cell["modality"]: cell for cell in process_visit(rows, tools).cells}
        assert cells["T1"]["centre_mutual_information"] is None
        if cells["T2"]["status"] == "kept":
            fits.append(cells["T2"]["centre_mutual_information"])
    assert len(fits) == 2
    assert fits[1] < 0.5 * fits[0]


@pytest.mark.parametrize("padding", [300, -1024])
def test_a_constant_padding_is_found_and_changes_nothing(tmp_path, tools, padding):
    plain, padded = tmp_path / "plain.nii.gz", tmp_path / "padded.nii.gz"
    image = nib.load(write_brain(plain))
    data = image.get_fdata(dtype=np.float32)
    nib.save(nib.Nifti1Image(np.where(data == 0, padding, data).astype(np.float32), image.affine), padded)
    one, other = (process_visit([make_row(path)], tools) for path in (plain, padded))
    assert other.cells[0]["steps"] == f"unpad;{one.cells[0]['steps']}"
    assert other.files["preproc", "", "T1"] == one.files["preproc", "", "T1"]
