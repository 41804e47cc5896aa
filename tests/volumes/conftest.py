"""Invented shards: a folder of NIfTI files, their preprocess table, and both packed."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.config import VolumesSettings
from braing3n.core.contracts import write_table
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.contracts import VOLUME_LIST
from braing3n.volumes.pack import pack_shard

SETTINGS = VolumesSettings(spacing_mm=4.0, shape=(40, 48, 40))
UNKNOWN = (
    "bias_field_range",
    "noise",
    "centre_mutual_information",
    "size_mismatch",
    "missing_share",
    "saturated_share",
)


class Shard:
    """Volumes as `preprocess` leaves them, packed below `volumes/`, with their volume list."""

    def __init__(self, folder, images, settings=SETTINGS):
        self.folder, self.settings = folder, settings
        self.table_path, self.list_path = folder / "table.parquet", folder / "list.parquet"
        self.index_path = folder / "volumes" / "mine" / "shard-000.parquet"
        self.array_path = self.index_path.with_suffix(".b2nd")
        rows = []
        for name, (image, mask) in images.items():
            paths = {"path": folder / f"{name}_image.nii.gz", "mask_path": folder / f"{name}_mask.nii.gz"}
            for path, array in zip(paths.values(), (image, mask.astype(np.uint8)), strict=True):
                nib.save(nib.Nifti1Image(array, np.diag([-4, -4, 4, 1])), path)
            rows.append(
                dict.fromkeys(PREPROCESS, "")
                | {key: str(path) for key, path in paths.items()}
                | {"volume_id": name, "cohort": "mine", "modality": "T1", "status": "kept"}
                | {"n_refused": 0}
                | {
                    "native_brain_ml": 1400.0,
                    "affine_determinant": 1.1,
                    "atlas_dice": 0.95,
                    "negative_share": 0.0,
                    "clipped_share": 0.0,
                }
                | dict.fromkeys(("atlas_mutual_information", "coverage", "atlas_coverage"), 0.9)
                | dict.fromkeys(UNKNOWN, float("nan"))
                | {"person_id": name, "group_id": name, "split": "train", "shard": 0}
            )
        table = pd.DataFrame(rows)
        write_table(table, self.table_path, PREPROCESS)
        write_table(table, self.list_path, VOLUME_LIST)

    def pack(self):
        pack_shard(self.table_path, self.array_path, self.index_path, self.settings)
        return self

    def read_nifti(self, name):
        """Voxels (float64) and mask (bool) of a volume's NIfTI files."""
        image, mask = (nib.load(self.folder / f"{name}_{kind}.nii.gz") for kind in ("image", "mask"))
        return image.get_fdata(), np.asarray(mask.dataobj) > 0


def invent_brain(seed, shape=(60, 60, 39)):
    """A block of skewed noise, float32, and its mask."""
    mask = np.zeros(shape, bool)
    mask[15:45, 10:50, 5:35] = True
    image = np.zeros(shape, np.float32)
    image[mask] = np.random.default_rng(seed).gamma(4, 50, int(mask.sum()))
    return image, mask


@pytest.fixture
def packed(tmp_path):
    """Two volumes at 4 mm, packed, with their list, which is not in the packed order."""
    return Shard(tmp_path, {"b": invent_brain(0), "a": invent_brain(1)}).pack()
