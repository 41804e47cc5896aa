"""Reading packed volumes: in any order, from any worker, and never a damaged one."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import blosc2
import numpy as np
import pandas as pd
import pytest

from braing3n.contracts import write_table
from braing3n.errors import ContractError
from braing3n.training import load_batches
from braing3n.volumes.dataset import PackedShard, PackedVolumes
from braing3n.volumes.pack import crop_or_pad

from .conftest import Shard, invent_brain


def flip_byte(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_volumes_come_in_the_order_of_the_list_and_any_order_gives_the_same(tmp_path):
    shard = Shard(tmp_path, {name: invent_brain(seed) for seed, name in enumerate("dbeac")}).pack()
    volumes = PackedVolumes(shard.list_path, tmp_path / "volumes")
    assert list(volumes.table["volume_id"]) == list("dbeac")
    images = [volumes.load(i)[0] for i in range(5)]
    for i in (3, 0, 4, 4, 2, 1, 0):
        image, mask = volumes.load(i)
        assert np.array_equal(image, images[i])
        raw = crop_or_pad(shard.read_nifti("dbeac"[i])[0], image.shape)
        assert np.corrcoef(raw[mask], image[mask])[0, 1] > 0.999


def test_a_list_of_one_volume_and_of_none(tmp_path):
    shard = Shard(tmp_path, {"only": invent_brain(0)}).pack()
    volumes = PackedVolumes(shard.list_path, tmp_path / "volumes")
    assert (len(volumes), volumes.shape) == (1, (40, 48, 40))
    write_table(pd.read_parquet(shard.list_path).iloc[:0], shard.list_path, "volume_list")
    empty = PackedVolumes(shard.list_path, tmp_path / "volumes")
    assert (len(empty), empty.index_paths()) == (0, [])
    assert "row" in empty.table


def test_workers_and_threads_read_what_one_process_reads(packed):
    volumes = PackedVolumes(packed.list_path, packed.folder / "volumes")
    images = [volumes.load(i)[0] for i in range(2)]  # loaded before it is forked or sent
    rows = [0, 1, 1, 0, 1, 0]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda i: volumes.load(i)[0], rows * 4))
    batches = load_batches(volumes, [np.array([i]) for i in rows], n_workers=2)
    for i, batch in zip(rows, batches, strict=True):
        assert np.array_equal(batch.numpy()[0, 0], images[i])
    for i, image in zip(rows * 4, threaded, strict=True):
        assert np.array_equal(image, images[i])
    assert np.array_equal(pickle.loads(pickle.dumps(volumes)).load(1)[0], images[1])


def test_a_flipped_byte_is_found_and_its_volume_named(packed):
    shard = PackedShard(packed.index_path)
    array = blosc2.open(str(packed.array_path), mode="r")
    chunk = array.schunk.get_chunk(1)
    intact, _ = shard.load(0)
    flip_byte(packed.array_path, packed.array_path.read_bytes().index(chunk) + len(chunk) // 2)
    with pytest.raises(ContractError, match=r"shard-000\.b2nd: b is .*damaged on disk .*; delete this file"):
        shard.load(1)
    assert np.array_equal(shard.load(0)[0], intact)


@pytest.mark.parametrize("spoil", ["remove", "cut", "empty", "shape"])
def test_a_spoilt_file_is_one_sentence(packed, spoil):
    content = packed.array_path.read_bytes()
    if spoil == "remove":
        packed.array_path.unlink()
    elif spoil == "shape":
        packed.array_path.write_bytes(content.replace((48).to_bytes(8, "big"), (49).to_bytes(8, "big")))
    else:
        packed.array_path.write_bytes(content[: len(content) // 2 if spoil == "cut" else 0])
    with pytest.raises(ContractError, match="a is missing or damaged"):
        PackedShard(packed.index_path).load(0)


def test_an_array_of_another_run_is_not_taken_for_this_indexs(packed, tmp_path):
    (tmp_path / "other").mkdir()
    other = Shard(tmp_path / "other", {"b": invent_brain(5), "a": invent_brain(6)}).pack()
    packed.array_path.write_bytes(other.array_path.read_bytes())
    with pytest.raises(ContractError, match="a is missing or damaged"):
        PackedShard(packed.index_path).load(0)


def test_a_listed_volume_that_is_not_packed_is_named(packed):
    listed = pd.read_parquet(packed.list_path)
    listed.loc[0, "volume_id"] = "c"
    write_table(listed, packed.folder / "other.parquet", "volume_list")
    with pytest.raises(ContractError, match="c is on the volume list but not packed"):
        PackedVolumes(packed.folder / "other.parquet", packed.folder / "volumes")
