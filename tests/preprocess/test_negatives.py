"""Z-scored input: seen by its negatives, shifted or refused, and the same brain in the end."""

import gzip
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from braing3n.config import PreprocessSettings, ResourceSettings
from braing3n.preprocess.fit import Tools
from braing3n.preprocess.space.grid import load_atlas
from braing3n.preprocess.visit import process_visit

from .brains import centred_affine, make_row, sample

SHAPE = (36, 42, 34)
AFFINE = centred_affine(SHAPE, 5.0)
BRAIN = sample(AFFINE, SHAPE)
SKULL = 60.0  # of the invented head around the invented brain


def z_score(data, inside):
    return ((data - data[inside].mean()) / data[inside].std()).astype(np.float32)


def write(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def open_volumes(result, modality="T1"):
    return (
        np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)
        for content in (result.files["preproc", "", modality], result.files[result.mask_key])
    )


def compare(one, other, modality="T1"):
    """The correlation of two results inside the brains that both found, and those brains' Dice."""
    (volume, mask), (other_volume, other_mask) = open_volumes(one, modality), open_volumes(other, modality)
    both = (mask > 0) & (other_mask > 0)
    assert (other_volume[other_mask == 0] == 0).all()
    assert other_volume.min() == 0
    correlation = np.corrcoef(volume[both], other_volume[both])[0, 1]
    return correlation, 2 * both.sum() / ((mask > 0).sum() + (other_mask > 0).sum())


@pytest.mark.parametrize("background", ["zero", "shifted too"])
def test_a_z_scored_brain_is_shifted_and_ends_as_the_raw_one(tmp_path, tools, background):
    scored = z_score(BRAIN, BRAIN > 0)
    if background == "zero":
        scored[BRAIN == 0] = 0
    raw = process_visit([make_row(write(tmp_path / "a.nii", BRAIN))], tools)
    shifted = process_visit([make_row(write(tmp_path / "b.nii", scored))], tools)
    cell = shifted.cells[0]
    assert raw.cells[0]["steps"] == "mask:nonzero;affine"
    assert raw.cells[0]["negative_share"] == 0
    assert cell["steps"] == "shift;mask:nonzero;affine"
    assert cell["negative_share"] == pytest.approx((scored[BRAIN > 0] < 0).mean(), abs=1e-6)
    assert cell["native_brain_ml"] == raw.cells[0]["native_brain_ml"]
    correlation, dice = compare(raw, shifted)
    assert correlation > 0.99
    assert dice > 0.98


def test_a_z_scored_brain_is_refused_where_the_settings_say_so(tmp_path, tools):
    scored = np.where(BRAIN > 0, z_score(BRAIN, BRAIN > 0), 0)
    strict = replace(tools, settings=tools.settings.model_copy(update={"negative_policy": "exclude"}))
    cell = process_visit([make_row(write(tmp_path / "b.nii", scored))], strict).cells[0]
    assert cell["status"] == "excluded"
    assert cell["reason"].startswith("b.nii: ")
    assert "of the brain's voxels are negative, as after a z-score" in cell["reason"]


def test_a_few_negatives_are_clipped_as_ever(tmp_path, tools):
    ringing = BRAIN.copy()
    inside = np.flatnonzero(BRAIN > 100)
    ringing.ravel()[np.random.default_rng(0).choice(inside, len(inside) // 200, replace=False)] = -20
    result = process_visit([make_row(write(tmp_path / "a.nii", ringing))], tools)
    assert result.cells[0]["steps"] == "mask:nonzero;affine"
    assert 0 < result.cells[0]["negative_share"] < 0.01
    volume, _ = open_volumes(result)
    assert volume.min() == 0


def test_z_scored_heads_are_shifted_once_their_brain_is_known(tmp_path, tools):
    """A whole head and its companion, both z-scored; the extractor of this test knows the brain."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    radius = np.linalg.norm((index - np.array(SHAPE) / 2 + 0.5) / np.array(SHAPE) * 2, axis=-1)
    paths = {}
    for modality in ("T1", "T2"):
        head = sample(AFFINE, SHAPE, modality=modality)
        head = np.where((head == 0) & (radius < 1.02), SKULL, head)
        paths[modality, "raw"] = write(tmp_path / f"{modality}.nii", head)
        paths[modality, "scored"] = write(tmp_path / f"{modality}z.nii", z_score(head, head > 0))
    heads = replace(tools, find_brain=lambda scan: BRAIN > 0)
    results = {
        kind: process_visit(
            [make_row(paths[modality, kind], modality=modality, is_stripped=0) for modality in ("T1", "T2")],
            heads,
        )
        for kind in ("raw", "scored")
    }
    for number, steps in enumerate(("extract:deepbet;affine", "rigid:T1;mask:T1;affine")):
        assert results["raw"].cells[number]["steps"] == steps
        assert results["scored"].cells[number]["steps"] == f"shift;{steps}"
        assert results["scored"].cells[number]["negative_share"] > 0.1
    for modality in ("T1", "T2"):
        assert compare(*results.values(), modality)[0] > 0.99


def test_a_real_stripped_brain_ends_as_it_does_raw(shared_data, fetch_resource, tmp_path):
    from braing3n.core.resources import fetch_atlas_brain

    resources = ResourceSettings(paths={"sri24": str(fetch_resource("sri24"))})
    settings = PreprocessSettings(spacing_mm=4.0, brain_extraction="deepbet")
    atlas = load_atlas(fetch_atlas_brain(resources, tmp_path), settings.spacing_mm)
    tools = Tools(settings, atlas, None)
    image = nib.load(shared_data / "stroke/sub-stroke01/anat/sub-stroke01_desc-brain_T1w.nii.gz")
    data = np.asarray(image.dataobj, np.float32)
    scored = np.where(data > 0, z_score(data, data > 0), 0)
    results = [
        process_visit([make_row(write(tmp_path / f"{number}.nii", item, image.affine))], tools)
        for number, item in enumerate((data, scored))
    ]
    assert [result.cells[0]["steps"] for result in results] == [
        "mask:nonzero;affine",
        "shift;mask:nonzero;affine",
    ]
    correlation, dice = compare(*results)
    assert correlation > 0.99
    assert dice > 0.99
    assert json.dumps(results[1].cells[0])  # as the sidecar holds it
