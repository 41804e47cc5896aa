"""A scan whose contrast the user gives may be named by its folder."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braing3n.apply.gather import Facts, gather_scans
from braing3n.core.errors import BrainG3nError


def write_scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.zeros((40, 40, 40), np.uint8), np.diag([5, 5, 5, 1])).to_filename(path)
    return path


def gather(tmp_path, **by_modality):
    return gather_scans([], by_modality, [], Facts(), tmp_path / "links").scans


@pytest.mark.parametrize(
    ("name", "subject_id"), [("scan.nii.gz", "01"), ("x_t2.nii", "x"), ("anat/sub-07_T2w.nii.gz", "07")]
)
def test_a_folder_of_one_image_is_that_image_with_the_contrast_that_is_given(tmp_path, name, subject_id):
    path = write_scan(tmp_path / "in" / name)
    (scan,) = gather(tmp_path, T1=tmp_path / "in")
    assert (scan.path, scan.modality, scan.subject_id) == (path.as_posix(), "T1", subject_id)


def test_the_visit_of_a_folder_is_that_of_the_scan_beside_it(tmp_path):
    write_scan(tmp_path / "in/sub-07/anat/sub-07_T1w.nii.gz")
    other = write_scan(tmp_path / "other.nii.gz")
    scans = gather(tmp_path, T1=other, FLAIR=tmp_path / "in")
    assert [(scan.subject_id, scan.modality) for scan in scans] == [("07", "FLAIR"), ("07", "T1")]


@pytest.mark.parametrize(
    ("names", "held"),
    [
        (["sub-1_T1w.nii.gz", "sub-1_T2w.nii.gz"], "sub-1_T1w.nii.gz, sub-1_T2w.nii.gz"),
        (["a.nii", "b.nii"], "a.nii, b.nii"),
        ([], "no image"),
    ],
)
def test_a_folder_of_several_images_or_none_is_refused_with_what_it_holds(tmp_path, names, held):
    (tmp_path / "in").mkdir()
    for name in names:
        write_scan(tmp_path / "in" / name)
    with pytest.raises(BrainG3nError, match=f"in: holds {held}; give one file or one series as --t1."):
        gather(tmp_path, T1=tmp_path / "in")


def test_what_is_left_in_the_folder_is_reported(tmp_path):
    write_scan(tmp_path / "in/sub-07/anat/sub-07_T1w.nii.gz")
    write_scan(tmp_path / "in/sub-07/func/sub-07_task-rest_bold.nii.gz")
    found = gather_scans([], {"T1": tmp_path / "in"}, [], Facts(), tmp_path / "links")
    assert [Path(name).name for name in found.left_out] == ["sub-07_task-rest_bold.nii.gz"]
