"""Volumes in SRI24 that a user names: whose they are, which are read, and which do not fit the model."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from braing3n.apply.trained.scans import Given, check_grid, check_mask, list_preprocessed, open_scans
from braing3n.config import PreprocessSettings
from braing3n.core.errors import BrainG3nError
from braing3n.preprocess.space.grid import Grid, encode_nifti

BOX = {1.0: (240, 240, 155), 2.0: (120, 120, 78), 3.0: (80, 80, 52), 4.0: (60, 60, 39), 8.0: (30, 30, 20)}


def make_grid(spacing_mm):
    """SRI24's box at a spacing, in LPS."""
    shape = BOX[spacing_mm]
    middle = np.array([119.5, -119.5, 77.0])
    first = middle - (np.array(shape) - 1) / 2 * spacing_mm
    return Grid(shape, spacing_mm, tuple(float(x) for x in first))


def write(path, spacing_mm=8.0, dtype=np.float32, affine=None):
    grid = make_grid(spacing_mm)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image.from_bytes(_decompress(encode_nifti(np.ones(grid.shape, np.float32), grid)))
    voxels = np.asarray(image.dataobj).astype(dtype)
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)
    return image.affine


def _decompress(data):
    import gzip

    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


@pytest.mark.parametrize(
    ("spacing_mm", "model_mm"), [(1.0, 1.0), (1.0, 2.0), (2.0, 8.0), (4.0, 4.0), (3.0, 3.0)]
)
def test_voxels_that_make_up_the_models_are_taken(tmp_path, spacing_mm, model_mm):
    write(tmp_path / "x.nii.gz", spacing_mm)
    assert check_grid(tmp_path / "x.nii.gz", model_mm) == pytest.approx(spacing_mm)


@pytest.mark.parametrize(("spacing_mm", "model_mm"), [(3.0, 4.0), (8.0, 4.0), (2.0, 1.0), (4.0, 6.0)])
def test_a_head_that_would_be_of_another_size_to_the_model_is_refused(tmp_path, spacing_mm, model_mm):
    write(tmp_path / "x.nii.gz", spacing_mm)
    with pytest.raises(BrainG3nError, match=f"voxels of {spacing_mm:g} mm, of which"):
        check_grid(tmp_path / "x.nii.gz", model_mm)


def test_a_box_elsewhere_or_turned_is_refused(tmp_path):
    path, affine = tmp_path / "x.nii.gz", write(tmp_path / "x.nii.gz")
    moved, turned = affine.copy(), np.eye(4)
    moved[:3, 3] += (40, -60, 30)
    turned[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    for wrong in (moved, turned @ affine):
        write(path, affine=wrong)
        with pytest.raises(BrainG3nError, match=r"its box lies up to \d+ mm from SRI24's"):
            check_grid(path, 8.0)
    near = affine.copy()
    near[:3, 3] += 0.5
    write(path, affine=near)
    check_grid(path, 8.0)


@pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_colours_and_complex_numbers_are_refused(tmp_path, dtype):
    path = tmp_path / "x.nii.gz"
    affine = write(path)
    nib.save(nib.Nifti1Image(np.zeros(BOX[8.0], np.dtype(dtype)), affine), path)
    with pytest.raises(BrainG3nError, match="no plain numbers"):
        check_grid(path, 8.0)


def test_a_mask_is_whole_and_on_the_grid_of_its_volume(tmp_path):
    volume, mask = tmp_path / "v.nii.gz", tmp_path / "m.nii.gz"
    write(volume)
    write(mask, dtype=np.uint8)
    check_mask(mask, volume)
    write(mask, 4.0, np.uint8)
    with pytest.raises(BrainG3nError, match=r"m\.nii\.gz: the brain mask has another grid"):
        check_mask(mask, volume)
    mask.write_bytes(mask.read_bytes()[:-40])
    with pytest.raises(BrainG3nError, match=r"m\.nii\.gz: the brain mask cannot be read"):
        check_mask(mask, volume)


def test_a_file_and_its_folder_give_the_same_volume_and_products_are_none(tmp_path):
    names = ["sub-1_space-SRI24_T1w", "sub-1_ses-2_ce-gadolinium_space-SRI24_desc-preproc_T1w"]
    others = ["sub-1_space-SRI24_desc-brain_mask", "sub-1_space-SRI24_desc-synthetic_T1w", "sub-1_T1w"]
    for name in (*names, *others):
        write(tmp_path / "study" / f"{name}.nii.gz")
    of_folder = list_preprocessed(tmp_path / "study", Given([]))
    assert {scan.path.name for scan in of_folder} == {f"{name}.nii.gz" for name in names}
    (of_file,), _ = open_scans(Given([of_folder[0].path]), PreprocessSettings(), tmp_path / "out")
    assert of_file == of_folder[0]


def test_raw_scans_beside_preprocessed_volumes_are_reported(tmp_path):
    write(tmp_path / "study" / "results" / "sub-1_space-SRI24_desc-preproc_T1w.nii.gz")
    found, warnings = open_scans(Given([tmp_path / "study"]), PreprocessSettings(), tmp_path / "out")
    assert (len(found), warnings) == (1, [])
    write(tmp_path / "study" / "raw" / "sub-2_T1w.nii.gz")
    found, (warning,) = open_scans(Given([tmp_path / "study"]), PreprocessSettings(), tmp_path / "out")
    assert [scan.subject for scan in found] == ["1"]
    assert "1 images such as sub-2_T1w.nii.gz are not read" in warning


def test_a_volume_that_is_named_by_its_contrast_is_not_preprocessed_again(tmp_path):
    path = tmp_path / "anna_space-SRI24.nii.gz"
    write(path)
    (scan,), _ = open_scans(Given([], {"FLAIR": path}), PreprocessSettings(), tmp_path / "out")
    assert (scan.path, scan.modality, scan.subject) == (path, "FLAIR", "anna")


def test_one_subject_is_not_given_to_two_people_and_is_a_label(tmp_path):
    for name in ("sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1"):
        write(tmp_path / "study" / f"{name}_space-SRI24_T1w.nii.gz")
    everyone = Given([tmp_path / "study"])
    for change, sentence in (
        ({"subject": "9"}, "--subject names one person, but there are 1, 2"),
        ({"session": "9"}, "--session names one visit, but there are 1, 2"),
    ):
        with pytest.raises(BrainG3nError, match=sentence):
            open_scans(replace(everyone, **change), PreprocessSettings(), tmp_path / "out")
    one = Given([tmp_path / "study" / "sub-1_ses-1_space-SRI24_T1w.nii.gz"])
    (scan,), _ = open_scans(replace(one, subject="sub-9"), PreprocessSettings(), tmp_path / "out")
    assert scan.subject == "9"
    with pytest.raises(BrainG3nError, match=r"--subject \.\./x: give letters and digits alone"):
        open_scans(replace(one, subject="../x"), PreprocessSettings(), tmp_path / "out")
