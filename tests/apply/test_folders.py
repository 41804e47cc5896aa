"""Whose the volumes of a folder are, where the folder itself lies below a name like a person's."""

import nibabel as nib
import numpy as np
import pytest

from braing3n.apply.judges.folders import list_volumes


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("a.nii.gz", "b.nii.gz"), ["a", "b"]),
        (("sub-07/anat/x.nii", "sub-07/anat/y.nii", "sub-08/x.nii"), ["07", "07", "08"]),
        (("anna/t1.nii", "ben/t1.nii.gz"), ["anna/t1", "ben/t1"]),
        (("sub-07/sub-09_T1w.nii", "z.nii"), ["09", "z"]),
    ],
)
def test_a_folder_above_the_one_that_is_judged_names_nobody(tmp_path, names, people):
    """Else all volumes of a project that is called `sub-cortex`, or all named `t1`, would be one person's."""
    folder = tmp_path / "sub-cortex" / "sub-01"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4)), folder / name)
    assert list_volumes("real", folder).people.tolist() == people
