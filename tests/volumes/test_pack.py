"""Packing: the crop, the z-score against the NIfTI, the size, the bytes."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from skimage.measure import block_reduce

from braing3n.config import VolumesSettings
from braing3n.contracts import write_table
from braing3n.errors import ContractError
from braing3n.volumes.dataset import PackedShard, PackedVolumes
from braing3n.volumes.pack import average_blocks, crop_or_pad, to_model_grid

from .conftest import Shard, invent_brain

ONE_MM = VolumesSettings(spacing_mm=1.0, shape=(160, 192, 160))


def measure_error(shard, row, name):
    """Largest difference between a packed volume and its NIfTI, in deviations of the brain."""
    image, mask = PackedShard(shard.index_path).load(row)
    raw, inside = (crop_or_pad(array, shard.settings.shape) for array in shard.read_nifti(name))
    assert np.array_equal(mask, inside)
    assert image.shape == shard.settings.shape
    assert image.dtype == np.float32
    return np.abs(image - np.where(mask, (raw - raw[mask].mean()) / raw[mask].std(), 0)).max()


def test_a_volume_comes_back_z_scored_inside_its_mask(packed):
    for row, name in enumerate(("a", "b")):
        assert measure_error(packed, row, name) < 1e-3


def test_one_very_bright_voxel_costs_no_precision(tmp_path):
    image, mask = invent_brain(0)
    image[30, 30, 20] = 1e6
    shard = Shard(tmp_path, {"bright": (image, mask)}).pack()
    assert PackedShard(shard.index_path).load(0)[0].max() > 100
    assert measure_error(shard, 0, "bright") < 1e-3


def test_a_noisy_brain_of_full_size_is_small_and_exact(tmp_path):
    rng = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in ONE_MM.shape], indexing="ij", sparse=True)
    mask = sum((axis / radius) ** 2 for axis, radius in zip(axes, (0.84, 0.89, 0.79), strict=True)) < 1
    assert 1.45e6 < mask.sum() < 1.55e6, "the brain of SRI24"
    folds = np.sin(20 * axes[0] + 5 * np.sin(15 * axes[1])) * np.cos(18 * axes[2])
    image = 1000 + 300 * np.tanh(3 * folds) + rng.normal(0, 75, mask.shape)
    shard = Shard(tmp_path, {"noisy": (np.where(mask, image, 0).astype(np.float32), mask)}, ONE_MM).pack()
    assert shard.array_path.stat().st_size < 2.5e6
    assert measure_error(shard, 0, "noisy") < 1e-3


def test_real_brains_keep_the_bounds(shared_data, tmp_path):
    images = {}
    for path in sorted((shared_data / "stroke").rglob("sub-*_desc-brain_*.nii.gz")):
        image = nib.load(path).get_fdata(dtype=np.float32)
        images[path.name.removesuffix(".nii.gz")] = image, image > 0
    shard = Shard(tmp_path, images, ONE_MM).pack()
    for row, name in enumerate(sorted(images)):
        assert measure_error(shard, row, name) < 1e-3
    assert shard.array_path.stat().st_size < 2.5e6 * len(images)


def test_the_same_volumes_give_the_same_bytes(packed):
    array, index = packed.array_path.read_bytes(), packed.index_path.read_bytes()
    packed.pack()
    assert packed.array_path.read_bytes() == array
    assert packed.index_path.read_bytes() == index


def test_an_empty_shard_packs_to_nothing(packed):
    table = pd.read_parquet(packed.table_path).iloc[:0]
    write_table(table, packed.table_path, "preprocess")
    packed.pack()
    assert len(PackedShard(packed.index_path).table) == 0


@pytest.mark.parametrize("fault", ["cropped away", "flat", "not finite"])
def test_a_brain_without_contrast_is_named(tmp_path, fault):
    image, mask = np.zeros((60, 60, 39), np.float32), np.zeros((60, 60, 39), bool)
    image[:3, :3, :3], mask[:3, :3, :3] = np.arange(27).reshape(3, 3, 3), True
    if fault == "flat":
        image[20:30, 20:30, 20:30], mask[20:30, 20:30, 20:30] = 7, True
    if fault == "not finite":
        image, mask = invent_brain(0)
        image[30, 30, 20] = np.nan
    with pytest.raises(ContractError, match="x: after the crop its brain is empty, flat or not finite"):
        Shard(tmp_path, {"x": (image, mask)}).pack()


def test_crop_and_pad_are_centred_and_blocks_are_means():
    array = np.arange(7 * 4 * 5, dtype=np.float32).reshape(7, 4, 5)
    out = crop_or_pad(array, (3, 8, 5))
    assert np.array_equal(out[:, 2:6], array[2:5])
    assert not out[:, :2].any()
    blocks = average_blocks(np.arange(8, dtype=np.float32).reshape(2, 2, 2), 2)
    assert blocks.item() == 3.5


@pytest.mark.parametrize(("have", "want", "first"), [(7, 4, 1), (8, 4, 2), (8, 5, 1), (4, 7, -1), (4, 8, -2)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_middle_of_each_axis_is_kept(have, want, first, axis):
    """`first`: the first voxel kept, or minus how many zeros come before it."""
    shape, line = [1, 1, 1], np.arange(1, have + 1)
    shape[axis] = have
    target = [1, 1, 1]
    target[axis] = want
    out = crop_or_pad(line.reshape(shape), tuple(target)).ravel()
    expected = [line[k] if 0 <= k < have else 0 for k in range(first, first + want)]
    assert out.tolist() == expected


def test_coarse_voxels_are_means_of_the_cubes_that_are_half_brain():
    """A brain at 2 mm on a model's grid of 4 mm, which cuts off one end of it."""
    rng = np.random.default_rng(0)
    image = rng.gamma(4, 50, (120, 120, 80)).astype(np.float32)
    mask = rng.random(image.shape) < np.linspace(0.2, 0.8, 120)[:, None, None]
    mask[:, :4] = False
    settings = VolumesSettings(spacing_mm=4.0, shape=(56, 60, 40))
    small, inside, lost = to_model_grid(image, mask, settings)
    cut = slice(4, 116)  # 112 of the first axis's 120 voxels
    share = block_reduce(mask[cut].astype(float), (2, 2, 2), np.mean)
    assert np.array_equal(inside, share >= 0.5)
    assert (share == 0.5).any()
    means = block_reduce(image[cut].astype(np.float64), (2, 2, 2), np.mean)
    np.testing.assert_allclose(small[inside], means[inside], rtol=1e-5)
    assert not small[~inside].any()
    assert small.dtype == np.float32
    assert lost == pytest.approx(1 - mask[cut].sum() / mask.sum())
    assert 0.05 < lost < 0.1


def test_a_spacing_of_the_same_size_leaves_voxels_alone():
    image, mask = invent_brain(0)
    small, inside, lost = to_model_grid(image, mask, VolumesSettings(spacing_mm=4.0, shape=(60, 60, 39)))
    assert np.array_equal(small, image)
    assert np.array_equal(inside, mask)
    assert lost == 0


def test_the_index_says_what_was_packed(tmp_path):
    """Volumes in order of their ids, without the excluded; numbers against the NIfTI."""
    images = {name: invent_brain(seed) for seed, name in enumerate("cab")}
    for array, value in zip(images["a"], (100, True), strict=True):
        array[15:45, :10, 5:35] = value  # the crop of 60 voxels to 48 cuts off six of these ten
    shard = Shard(tmp_path, images)
    table = pd.read_parquet(shard.table_path)
    table.loc[table["volume_id"] == "b", ["status", "reason"]] = "excluded", "blurred"
    write_table(table, shard.table_path, "preprocess")
    index = PackedShard(shard.pack().index_path).table
    assert list(index["volume_id"]) == ["a", "c"]
    assert list(index["row"]) == [0, 1]
    for item in index.itertuples():
        image, mask = (crop_or_pad(array, (40, 48, 40)) for array in shard.read_nifti(item.volume_id))
        assert item.mean == pytest.approx(image[mask].mean())
        assert item.deviation == pytest.approx(np.sqrt(((image[mask] - image[mask].mean()) ** 2).mean()))
        assert item.n_brain_voxels == mask.sum()
        lost = 1 - mask.sum() / shard.read_nifti(item.volume_id)[1].sum()
        assert item.cropped_brain_share == pytest.approx(lost)
        assert (lost > 0.1) == (item.volume_id == "a")
    with pytest.raises(ContractError, match="b is on the volume list but not packed"):
        PackedVolumes(shard.list_path, tmp_path / "volumes")
