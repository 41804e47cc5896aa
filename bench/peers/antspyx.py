"""One head with a plain antspyx script: N4, the given mask and the affine, each with its default settings."""

import shutil
import sys
from pathlib import Path

import ants

head, mask, atlas, out = map(Path, sys.argv[1:])
corrected = ants.n4_bias_field_correction(ants.image_read(str(head)))
ants.image_write(corrected, str(out / "n4.nii.gz"))
brain = corrected * ants.image_read(str(mask))
fixed = ants.image_read(str(atlas))
done = ants.registration(fixed, brain, type_of_transform="Affine")
shutil.copy(done["fwdtransforms"][0], out / "to_atlas.mat")
volume = ants.apply_transforms(fixed, brain, done["fwdtransforms"])
ants.image_write(volume, str(out / "volume.nii.gz"))
