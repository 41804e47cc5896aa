"""The same bytes from the same bytes: again, in parallel, in another order and from another folder."""

import json

from braing3n.config import ResourceSettings
from braing3n.preprocess.shard import preprocess_shard

from .brains import make_row
from .test_shard import make_people, read_tree, write_inventory
from .test_visit import delineate


def test_every_file_and_the_table_are_the_same_bytes(tmp_path, atlas_path, settings, monkeypatch):
    rows = make_people(tmp_path / "raw", 1)
    lesion, _ = delineate(tmp_path / "raw" / "lesion.nii.gz", rows[0]["path"])
    rows[0]["segmentations"] = json.dumps({"lesion": lesion})
    (tmp_path / "raw" / "bad.nii").write_bytes(b"")
    rows.append(make_row(tmp_path / "raw" / "bad.nii", "02"))
    resources = ResourceSettings(paths={"sri24": str(atlas_path)})
    trees = []
    for name, order, n_workers in (("once", rows, 1), ("otherwise", rows[::-1], 2)):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        inventory = write_inventory(folder / "shard-000.tsv", order)
        preprocess_shard(inventory, "store", "table.parquet", settings, resources, n_workers)
        inventory.unlink()
        trees.append(read_tree(folder))
    assert trees[0] == trees[1]
    kinds = (
        "preproc_T1w.nii.gz",
        "preproc_T2w.nii.gz",
        "brain_mask.nii.gz",
        "xfm.mat",
        "preproc.json",
        "dseg.nii.gz",
    )
    for kind in (*kinds, "table.parquet"):
        assert [name for name in trees[0] if name.endswith(kind)], kind
