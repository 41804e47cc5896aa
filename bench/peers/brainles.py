"""One head with brainles-preprocessing: its SimpleITK N4, the given mask, its ANTs affine."""

import sys
from pathlib import Path

import nibabel as nib
import SimpleITK as sitk  # noqa: N813
from brainles_preprocessing.n4_bias_correction import SitkN4BiasCorrector
from brainles_preprocessing.registration import ANTsRegistrator

head, mask, atlas, out = map(Path, sys.argv[1:])
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
SitkN4BiasCorrector().correct(head, out / "n4.nii.gz")
corrected = nib.load(out / "n4.nii.gz")
brain = corrected.get_fdata(dtype="float32") * (nib.load(mask).get_fdata(dtype="float32") > 0)
nib.save(nib.Nifti1Image(brain, corrected.affine), out / "brain.nii.gz")
ANTsRegistrator({"type_of_transform": "Affine"}).register(
    atlas, out / "brain.nii.gz", out / "volume.nii.gz", out / "to_atlas.mat", out / "log.txt"
)
