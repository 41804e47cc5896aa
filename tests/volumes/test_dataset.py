"""Reading packed volumes: in any order, from any worker, and never a damaged one."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import blosc2
import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import write_table
from braing3n.core.errors import BrainG3nError, ContractError
from braing3n.training import load_batches
from braing3n.volumes.contracts import VOLUME_LIST
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


def test_parts_hold_each_volume_once_and_in_order(tmp_path):
    shard = Shard(tmp_path, {name: invent_brain(seed) for seed, name in enumerate("dbeac")}).pack()
    volumes = PackedVolumes(shard.list_path, tmp_path / "volumes")
    parts = [volumes.of_part(part, 3) for part in range(3)]
    assert ["".join(part.table["volume_id"]) for part in parts] == ["db", "ea", "c"]
    assert np.array_equal(parts[1].load(1)[0], volumes.load(3)[0])
    assert len({volumes.digest(), *(part.digest() for part in parts)}) == 4
    assert len(volumes) == 5
    for part, n_parts in ((3, 3), (-1, 3), (0, 6)):
        with pytest.raises(BrainG3nError, match=f"part {part} of {n_parts}: .*5 volumes"):
            volumes.of_part(part, n_parts)


def test_a_list_of_one_volume_and_of_none(tmp_path):
    shard = Shard(tmp_path, {"only": invent_brain(0)}).pack()
    volumes = PackedVolumes(shard.list_path, tmp_path / "volumes")
    assert (len(volumes), volumes.shape) == (1, (40, 48, 40))
    write_table(pd.read_parquet(shard.list_path).iloc[:0], shard.list_path, VOLUME_LIST)
    empty = PackedVolumes(shard.list_path, tmp_path / "volumes")
    assert len(empty) == 0
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
    write_table(listed, packed.folder / "other.parquet", VOLUME_LIST)
    with pytest.raises(ContractError, match="c is on the volume list but not packed"):
        PackedVolumes(packed.folder / "other.parquet", packed.folder / "volumes")


def test_each_volume_comes_from_its_own_cohort_and_shard(tmp_path):
    """Three shards of two cohorts whose packed rows all begin at 0."""
    whole, lists = tmp_path / "volumes", []
    for seed, (cohort, shard) in enumerate([("one", 0), ("one", 1), ("two", 0)]):
        folder = tmp_path / f"{cohort}{shard}"
        folder.mkdir()
        names = [f"{cohort}{shard}{k}" for k in "ba"]
        made = Shard(folder, {name: invent_brain(10 * seed + k) for k, name in enumerate(names)}).pack()
        listed = pd.read_parquet(made.list_path).assign(cohort=cohort, shard=shard)
        lists.append((listed, made))
        (whole / cohort).mkdir(parents=True, exist_ok=True)
        for path in (made.index_path, made.array_path):
            path.rename(whole / cohort / f"shard-{shard:03d}{path.suffix}")
    table = pd.concat([listed for listed, _ in lists], ignore_index=True).iloc[[3, 0, 5, 1, 4, 2]]
    write_table(table, tmp_path / "list.parquet", VOLUME_LIST)
    volumes = PackedVolumes(tmp_path / "list.parquet", whole)
    assert (len(volumes), volumes.shape) == (6, (40, 48, 40))
    made = {name: shard for listed, shard in lists for name in listed["volume_id"]}
    for i, name in enumerate(table["volume_id"]):
        image, mask = volumes.load(i)
        raw = crop_or_pad(made[name].read_nifti(name)[0], image.shape)
        np.testing.assert_allclose(image[mask], (raw[mask] - raw[mask].mean()) / raw[mask].std(), atol=1e-3)
        assert volumes.table["volume_id"].iloc[i] == name


def test_the_digest_is_of_what_is_trained_on_and_not_of_where_it_lies(tmp_path):
    def pack(name, brains, **columns):
        (tmp_path / name).mkdir()
        shard = Shard(tmp_path / name, brains).pack()
        table = pd.read_parquet(shard.list_path).assign(**columns)
        write_table(table, shard.list_path, VOLUME_LIST)
        return PackedVolumes(shard.list_path, tmp_path / name / "volumes").digest()

    brains = {"a": invent_brain(0), "b": invent_brain(1)}
    first = pack("run1", brains)
    assert pack("run2", brains, path="elsewhere", mask_path="elsewhere") == first
    assert pack("split", brains, split="test") != first
    assert pack("fewer", {"a": brains["a"]}) != first
    assert pack("other", {"a": brains["a"], "b": invent_brain(2)}) != first
    halves = PackedVolumes(tmp_path / "run1" / "list.parquet", tmp_path / "run1" / "volumes")
    halves.table = halves.table.assign(shard=[0, 1], row=0)
    assert halves.digest() == first, "two shards in place of one"


def test_levels_and_far_voxels_are_those_of_the_image(tmp_path):
    """What is sent to a device and z-scored there is what `load` gives."""
    image, mask = invent_brain(0)
    image[30, 30, 20] = 1e6
    shard = Shard(tmp_path, {"a": invent_brain(1), "bright": (image, mask)}).pack()
    volumes = PackedVolumes(shard.list_path, tmp_path / "volumes")
    for i, n_far in enumerate((0, 1)):
        levels = np.full(volumes.shape, 7, np.int16)
        index, z = volumes.load_levels(i, levels)
        assert len(index) == len(z) == n_far
        values = (levels.astype(np.float64) + (levels < 0)) / 512
        values.flat[index] = z
        loaded, inside = volumes.load(i)
        np.testing.assert_array_equal(values.astype(np.float32), loaded)
        np.testing.assert_array_equal(levels != 0, inside)
        assert PackedShard(shard.index_path).load_levels(i, levels)[1].tolist() == z.tolist()


def test_an_empty_list_is_no_volume(packed):
    write_table(pd.read_parquet(packed.list_path)[:0], packed.folder / "none.parquet", VOLUME_LIST)
    volumes = PackedVolumes(packed.folder / "none.parquet", packed.folder / "volumes")
    assert len(volumes) == 0
