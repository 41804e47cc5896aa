"""A real head through the real chain: deepbet, SRI24."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braing3n.config import PreprocessSettings, ResourceSettings
from braing3n.preprocess.brain.extract import load_extractor
from braing3n.preprocess.read.masks import fill_largest
from braing3n.preprocess.read.scan import coarsen, read_scan
from braing3n.preprocess.shard import preprocess_shard
from braing3n.preprocess.space.register import measure_dice
from braing3n.preprocess.visit import process_visit

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


@pytest.fixture(scope="module")
def head(shared_data, fetch_resource, tmp_path_factory):
    """The smallest real head, and what works on it: no N4, deepbet, SRI24 at 2 mm."""
    from braing3n.core.resources import fetch_atlas_brain
    from braing3n.preprocess.brain.extract import load_extractor
    from braing3n.preprocess.fit import Tools
    from braing3n.preprocess.space.grid import load_atlas

    resources = ResourceSettings(paths={"sri24": str(fetch_resource("sri24"))})
    atlas = fetch_atlas_brain(resources, tmp_path_factory.mktemp("atlas"))
    settings = PreprocessSettings(spacing_mm=2.0, brain_extraction="deepbet", fallback_extraction="none")
    tools = Tools(settings, load_atlas(atlas, 2.0), load_extractor(settings))
    image = nib.load(shared_data / "smoke" / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    image = nib.as_closest_canonical(image)

    def go(path, image):
        nib.save(image, path)
        return process_visit([make_row(path, is_stripped=0)], tools).cells[0]

    return image, go


def test_a_cropped_and_defaced_head_far_from_its_place_is_found(head, tmp_path):
    """Without neck and face, and with an origin that some tool lost: only the brain can tell where it is."""
    image, go = head
    data = np.asarray(image.dataobj).copy()
    data[:, 104:, :60] = 0
    affine = image.affine.copy()
    affine[:3, 3] += (60, -90, 120)
    whole = go(tmp_path / "whole.nii", image)
    cropped = go(tmp_path / "cropped.nii", nib.Nifti1Image(data, affine).slicer[8:-8, 4:, 28:])
    assert whole["atlas_dice"] > 0.94
    assert cropped["atlas_dice"] > 0.94
    assert cropped["native_brain_ml"] == pytest.approx(whole["native_brain_ml"], rel=0.03)
    assert cropped["affine_determinant"] == pytest.approx(whole["affine_determinant"], rel=0.03)


def test_a_cut_brain_is_kept_while_enough_is_shown_and_a_neck_is_none(head, tmp_path):
    image, go = head
    top = 112  # of the brain, in slices
    kept = go(tmp_path / "kept.nii", image.slicer[:, :, : top - 6])
    assert kept["status"] == "kept"
    cut = go(tmp_path / "cut.nii", image.slicer[:, :, : top - 26])
    assert cut["status"] == "excluded"
    assert "of the brain" in cut["reason"]
    neck = go(tmp_path / "neck.nii", image.slicer[:, :, : top - 58])
    assert neck["status"] == "excluded"
    assert "shows no brain" in neck["reason"]


def test_deepbets_first_network_alone_finds_the_same_brain(shared_data):
    """Of a whole head at 2 mm, and averaged to 4 mm, coarser than the demo's."""
    scan = read_scan(shared_data / "smoke" / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    one, two = (
        load_extractor(PreprocessSettings(brain_extraction="deepbet", n_deepbet_networks=n)) for n in (1, 2)
    )
    brain = fill_largest(two(scan))
    assert measure_dice(fill_largest(one(scan)), brain) > 0.97
    coarse = coarsen(scan, 4.0)
    assert coarse.voxel_ml > 7 * scan.voxel_ml
    found_ml = fill_largest(one(coarse)).sum() * coarse.voxel_ml
    assert found_ml == pytest.approx(brain.sum() * scan.voxel_ml, rel=0.05)
