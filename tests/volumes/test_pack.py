"""Packed volumes: the crop, the levels, the z-score, the order of the list."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.config import VolumesSettings
from braing3n.contracts import CONTRACTS, write_table
from braing3n.errors import ContractError
from braing3n.volumes.dataset import PackedVolumes
from braing3n.volumes.pack import average_blocks, crop_or_pad, pack_shard

SETTINGS = VolumesSettings(spacing_mm=4.0, shape=(40, 48, 40))


@pytest.fixture
def packed(tmp_path):
    """Two volumes at 4 mm, packed, with their list."""
    rng = np.random.default_rng(0)
    rows = []
    for name in ("b", "a"):
        image = np.zeros((60, 60, 39), np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[15:45, 10:50, 5:35] = 1
        image[mask > 0] = rng.gamma(4, 50, int(mask.sum()))
        for kind, array in (("image", image), ("mask", mask)):
            nib.save(nib.Nifti1Image(array, np.diag([-4, -4, 4, 1])), tmp_path / f"{name}_{kind}.nii.gz")
        rows.append(
            dict.fromkeys(CONTRACTS["preprocess"], "")
            | {"volume_id": name, "cohort": "mine", "modality": "T1", "status": "kept"}
            | {
                "path": str(tmp_path / f"{name}_image.nii.gz"),
                "mask_path": str(tmp_path / f"{name}_mask.nii.gz"),
            }
            | {"native_brain_ml": 1400.0, "affine_determinant": 1.1, "atlas_dice": 0.95}
            | {"person_id": name, "group_id": name, "split": "train", "shard": 0}
        )
    table = pd.DataFrame(rows)
    write_table(table, tmp_path / "table.parquet", "preprocess")
    write_table(table, tmp_path / "list.parquet", "volume_list")
    base = tmp_path / "volumes" / "mine" / "shard-000"
    paths = base.with_suffix(".b2nd"), base.with_name("shard-000_mask.b2nd"), base.with_suffix(".parquet")
    pack_shard(tmp_path / "table.parquet", *paths, SETTINGS)
    return tmp_path


def test_a_volume_comes_back_z_scored_inside_its_mask(packed):
    volumes = PackedVolumes(packed / "list.parquet", packed / "volumes")
    assert list(volumes.table["volume_id"]) == ["b", "a"]
    for i, name in enumerate(("b", "a")):
        image, mask = volumes.load(i)
        raw = np.asarray(nib.load(packed / f"{name}_image.nii.gz").dataobj)
        brain = crop_or_pad(raw, (40, 48, 40))
        expected = np.where(mask, (brain - brain[mask].mean()) / brain[mask].std(), 0)
        assert image.shape == (40, 48, 40)
        assert mask.any()
        assert np.abs(image - expected).max() < 1e-3
        assert not image[~mask].any()


def test_the_same_volumes_give_the_same_bytes(packed, tmp_path):
    base = packed / "volumes" / "mine" / "shard-000"
    before = base.with_suffix(".b2nd").read_bytes()
    again = packed / "again"
    pack_shard(
        packed / "table.parquet", again / "x.b2nd", again / "x_mask.b2nd", again / "x.parquet", SETTINGS
    )
    assert (again / "x.b2nd").read_bytes() == before


def test_a_listed_volume_that_is_not_packed_is_named(packed):
    listed = pd.read_parquet(packed / "list.parquet")
    listed.loc[0, "volume_id"] = "c"
    write_table(listed, packed / "other.parquet", "volume_list")
    with pytest.raises(ContractError, match="c is on the volume list but not packed"):
        PackedVolumes(packed / "other.parquet", packed / "volumes")


def test_an_empty_shard_packs_to_nothing(packed):
    table = pd.read_parquet(packed / "table.parquet").iloc[:0]
    write_table(table, packed / "none.parquet", "preprocess")
    out = packed / "none"
    pack_shard(packed / "none.parquet", out / "x.b2nd", out / "x_mask.b2nd", out / "x.parquet", SETTINGS)
    assert len(pd.read_parquet(out / "x.parquet")) == 0


def test_crop_and_pad_are_centred_and_blocks_are_means():
    array = np.arange(7 * 4 * 5, dtype=np.float32).reshape(7, 4, 5)
    out = crop_or_pad(array, (3, 8, 5))
    assert np.array_equal(out[:, 2:6], array[2:5])
    assert not out[:, :2].any()
    blocks = average_blocks(np.arange(8, dtype=np.float32).reshape(2, 2, 2), 2)
    assert blocks.item() == 3.5
