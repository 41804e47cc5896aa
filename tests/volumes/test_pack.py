"""Packing: the crop, the z-score against the NIfTI, the size, the bytes."""

import blosc2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from skimage.measure import block_reduce

from braing3n.config import ResourceSettings, VolumesSettings
from braing3n.core.contracts import write_table
from braing3n.core.errors import ContractError
from braing3n.core.resources import fetch_atlas_brain
from braing3n.core.runtime import set_thread_variables
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.preprocess.space.grid import load_atlas
from braing3n.volumes.command import app
from braing3n.volumes.dataset import PackedShard, PackedVolumes
from braing3n.volumes.pack import average_blocks, crop_or_pad, load_volume, locate_grid, to_model_grid

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


def test_a_volume_of_its_own_is_the_packed_one_to_the_bit(packed):
    for row, name in enumerate(("a", "b")):
        image, mask = (packed.folder / f"{name}_{kind}.nii.gz" for kind in ("image", "mask"))
        wanted = PackedShard(packed.index_path).load(row)[0]
        for mask_path in (mask, None):  # the brain of a stripped image is what is not 0
            found, lost = load_volume(image, mask_path, packed.settings)
            assert np.array_equal(found, wanted)
            assert lost == 0
    _, brain = packed.read_nifti("a")
    brain[:30] = False
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), np.eye(4)), mask)
    found = load_volume(packed.folder / "a_image.nii.gz", mask, packed.settings)[0]
    inside = crop_or_pad(brain, packed.settings.shape)
    assert not found[~inside].any()
    assert np.mean(found[inside] != 0) > 0.9


def test_one_very_bright_voxel_costs_no_precision(tmp_path):
    image, mask = invent_brain(0)
    image[30, 30, 20] = 1e6
    shard = Shard(tmp_path, {"bright": (image, mask)}).pack()
    assert PackedShard(shard.index_path).load(0)[0].max() > 100
    assert measure_error(shard, 0, "bright") < 1e-3


@pytest.mark.slow
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


@pytest.mark.slow
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
    set_thread_variables(2)
    packed.pack()
    array, index = packed.array_path.read_bytes(), packed.index_path.read_bytes()
    set_thread_variables(8)  # of another job
    packed.pack()
    assert packed.array_path.read_bytes() == array
    assert packed.index_path.read_bytes() == index


def test_a_volume_is_one_chunk_of_whole_planes_in_the_codec_that_decodes_fastest(packed):
    array = blosc2.open(str(packed.array_path), mode="r")
    assert (array.shape, array.dtype) == ((2, 40, 48, 40), np.int16)
    assert (array.chunks, array.blocks) == ((1, 40, 48, 40), (1, 8, 48, 40))
    coding = array.schunk.cparams
    assert (coding.codec, coding.clevel) == (blosc2.Codec.LZ4HC, 9)
    assert [kind for kind in coding.filters if kind != blosc2.Filter.NOFILTER] == [blosc2.Filter.SHUFFLE]


def test_an_empty_shard_packs_to_nothing(packed):
    table = pd.read_parquet(packed.table_path).iloc[:0]
    write_table(table, packed.table_path, PREPROCESS)
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


def list_spare_voxels(mask):
    """Empty planes before and behind a mask, by axis."""
    planes = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [(int(used[0]), n - 1 - int(used[-1])) for used, n in zip(planes, mask.shape, strict=True)]


@pytest.mark.parametrize(
    ("spacing_mm", "shape"), [(1.0, (160, 192, 160)), (2.0, (80, 96, 80)), (4.0, (40, 48, 40))]
)
def test_an_atlas_centred_crop_spares_as_much_on_every_side(fetch_resource, tmp_path, spacing_mm, shape):
    """At any spacing of the preprocessed grid: the atlas on its own grid, and on a coarse one."""
    wheel = str(fetch_resource("sri24"))
    path = fetch_atlas_brain(ResourceSettings(paths={"sri24": wheel}), tmp_path)
    image = nib.load(path)
    assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
    mask = np.asarray(image.dataobj)[..., 0][:, ::-1] > 0  # L-P-S
    settings = VolumesSettings(spacing_mm=spacing_mm, shape=shape, crop="atlas_centred")
    coarse = load_atlas(path, spacing_mm).mask
    for grid in (mask, coarse):
        _, small, lost = to_model_grid(grid.astype(np.float32), grid, settings)
        assert small.shape == shape
        assert lost == 0
        # half a voxel for the middle of an odd box, and one for the rounding of the crop and of the mask
        assert all(abs(before - behind) <= 2 for before, behind in list_spare_voxels(small))
    if spacing_mm == 1:
        assert list_spare_voxels(small)[1] == (10, 11)
        centred = to_model_grid(mask.astype(np.float32), mask, ONE_MM)[1]
        assert list_spare_voxels(centred)[1] == (20, 1), "about the grid, the back has one voxel to spare"


def test_the_configured_crop_is_packed_and_its_losses_counted(tmp_path):
    """A brain 8 mm further back than the atlas: about the grid its last planes are lost, else none."""
    image, mask = np.zeros((60, 60, 39), np.float32), np.zeros((60, 60, 39), bool)
    mask[20:40, 20:56, 8:30] = True
    image[mask] = np.random.default_rng(0).gamma(4, 50, int(mask.sum()))
    shares = {}
    for crop in ("centre", "atlas_centred"):
        (tmp_path / crop).mkdir()
        settings = VolumesSettings(spacing_mm=4.0, shape=(40, 48, 40), crop=crop)
        shard = Shard(tmp_path / crop, {"back": (image, mask)}, settings).pack()
        packed = PackedShard(shard.index_path)
        shares[crop] = packed.table["cropped_brain_share"].item()
        _, inside = packed.load(0)
        assert inside.sum() == round(mask.sum() * (1 - shares[crop]))
    assert shares["centre"] == pytest.approx(2 / 36)
    assert shares["atlas_centred"] == 0


def test_crop_and_pad_are_centred_and_blocks_are_means():
    array = np.arange(7 * 4 * 5, dtype=np.float32).reshape(7, 4, 5)
    out = crop_or_pad(array, (3, 8, 5))
    assert np.array_equal(out[:, 2:6], array[2:5])
    assert not out[:, :2].any()
    odd = crop_or_pad(array, (4, 5, 8))
    assert np.array_equal(odd[:, :4, 1:6], array[1:5])  # the odd voxel is cut off, or added, at the end
    assert odd.sum() == array[1:5].sum()
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
    write_table(table, shard.table_path, PREPROCESS)
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


@pytest.mark.parametrize("crop", ["centre", "atlas_centred"])
def test_image_and_mask_are_cropped_alike(crop):
    image = np.zeros((240, 240, 155), np.float32)
    image[60:180, 50:210, 10:130] = np.random.default_rng(0).uniform(1, 2, (120, 160, 120))
    settings = VolumesSettings(spacing_mm=1.0, shape=(160, 192, 160), crop=crop)
    small, mask, lost = to_model_grid(image, image > 0, settings)
    assert lost == 0
    assert np.array_equal(mask, small > 0)
    assert small.sum(dtype=np.float64) == pytest.approx(image.sum(dtype=np.float64))


def test_the_command_packs_with_the_settings_given(packed, tmp_path):
    settings = packed.settings.model_copy(update={"shape": (8, 16, 8)})
    outputs = ["--array", str(tmp_path / "a.b2nd"), "--index", str(tmp_path / "a.parquet")]
    table = ["--table", str(packed.table_path), "--settings", settings.model_dump_json()]
    app(["pack", *table, *outputs], result_action="return_value")
    assert PackedShard(tmp_path / "a.parquet").load(0)[0].shape == (8, 16, 8)


CASES = [(4, 4, (40, 48, 40)), (4, 1, (40, 48, 40)), (1, 1, (160, 192, 160))]


@pytest.mark.parametrize("crop", ["centre", "atlas_centred"])
@pytest.mark.parametrize(("spacing_mm", "preprocessed_mm", "shape"), CASES)
def test_the_models_grid_lies_where_its_voxels_came_from(crop, spacing_mm, preprocessed_mm, shape):
    box = [-(-mm // preprocessed_mm) for mm in (240, 240, 155)]
    first_mm = {1: (0, 239, 0), 4: (-1.5, 237.5, 1)}[preprocessed_mm]
    settings = VolumesSettings(spacing_mm=spacing_mm, shape=shape, crop=crop)
    affine = locate_grid(settings, preprocessed_mm)
    middle = np.array(shape) // 2
    for axis, index in enumerate(np.ogrid[tuple(slice(n) for n in box)]):
        sign = 1 if axis == 2 else -1
        mm = np.broadcast_to(first_mm[axis] + sign * preprocessed_mm * index.astype(np.float32), box)
        seen, mask, _ = to_model_grid(mm, np.ones(box, bool), settings)
        assert mask[tuple(middle)]
        expected = affine[axis, :3] @ middle + affine[axis, 3]
        assert seen[tuple(middle)] == pytest.approx(expected, abs=1e-3)
