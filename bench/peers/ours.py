"""One head on this package's own route, with the given mask."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from braing3n.preprocess.fit import Tools
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.preprocess.space.grid import load_atlas
from braing3n.preprocess.visit import process_visit

head, mask, atlas, out = map(Path, sys.argv[1:])
settings = PreprocessSettings()
given = np.asarray(nib.load(mask).dataobj) > 0
state = {"is_bias_corrected": 0, "is_defaced": 0, "is_stripped": 0, "raw_space": "native"}
row = {"subject_id": "01", "session_id": "", "run": "", "modality": "T1", "path": str(head), **state}
result = process_visit([row], Tools(settings, load_atlas(atlas, settings.spacing_mm), lambda scan: given))
if result.cells[0]["status"] != "kept":
    sys.exit(result.cells[0]["reason"])
for (kind, _, _), content in result.files.items():
    (out / {"preproc": "volume.nii.gz", "xfm": "to_atlas.mat"}.get(kind, kind)).write_bytes(content)
