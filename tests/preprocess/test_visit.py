"""One visit from files to SRI24: the centre, its companions, and what is never done twice."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from braing3n.preprocess import fit
from braing3n.preprocess.visit import process_visit

from .brains import ATLAS_CENTRE, MARKER_RAS_MM, centred_affine, make_row, rotate, sample, write_brain


def open_volume(result, modality="T1", run="", kind="preproc"):
    content = result.files[kind, run, modality]
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(content)).dataobj)


def cells_by_modality(result):
    return {cell["modality"]: cell for cell in result.cells}


def with_settings(tools, **changes):
    return replace(tools, settings=tools.settings.model_copy(update=changes))


def test_stripped_input_is_not_stripped_again_and_head_size_is_kept(tmp_path, tools):
    small = write_brain(tmp_path / "small.nii.gz", to_brain=rotate(5, scale=1.1))
    result = process_visit([make_row(small)], tools)  # the extractor of `tools` refuses
    cell = result.cells[0]
    assert cell["steps"] == "mask:nonzero;affine"
    assert cell["affine_determinant"] == pytest.approx(1.1**3, rel=0.06)
    atlas_ml = tools.atlas.mask.sum() * 4**3 / 1000
    assert cell["native_brain_ml"] * cell["affine_determinant"] == pytest.approx(atlas_ml, rel=0.05)
    assert cell["atlas_dice"] > 0.95


def test_outside_the_mask_is_zero_and_nothing_is_negative(tmp_path, tools):
    affine = centred_affine((36, 42, 34), 5.0)
    ringing = sample(affine, (36, 42, 34))
    ringing[ringing > 0] -= np.random.default_rng(0).uniform(0, 60, (ringing > 0).sum()).astype(np.float32)
    assert ringing.min() < 0
    nib.save(nib.Nifti1Image(ringing, affine), tmp_path / "a.nii.gz")
    result = process_visit([make_row(tmp_path / "a.nii.gz")], tools)
    volume, mask = open_volume(result), open_volume(result, kind="mask")
    assert volume.min() == 0
    assert (volume[mask == 0] == 0).all()
    assert (volume[mask == 1] > 0).mean() > 0.9


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "PIR"])
def test_the_left_marker_arrives_on_the_left(tmp_path, tools, codes):
    affine = centred_affine((36, 42, 34), 5.0)
    image = nib.Nifti1Image(sample(affine, (36, 42, 34)), affine)
    wanted = nib.orientations.axcodes2ornt(tuple(codes))
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))
    nib.save(image, tmp_path / "a.nii.gz")
    volume = open_volume(process_visit([make_row(tmp_path / "a.nii.gz")], tools))
    left = ndimage.gaussian_filter(volume, 1)[volume.shape[0] // 2 :].max()
    right = ndimage.gaussian_filter(volume, 1)[: volume.shape[0] // 2].max()
    assert left > right + 30  # the array's first axis grows to the left


def test_input_on_the_grid_keeps_its_voxels(tmp_path, tools):
    # As BraTS stores it: whole numbers, LPS, and already in SRI24.
    grid = tools.atlas.grid
    data = np.ascontiguousarray(np.rint(tools.atlas.brain.data[::-1, ::-1]))
    nib.save(nib.Nifti1Image(data, grid.affine), tmp_path / "brats.nii.gz")
    result = process_visit([make_row(tmp_path / "brats.nii.gz", raw_space="sri24")], tools)
    assert result.cells[0]["steps"] == "mask:nonzero;keep"
    assert result.cells[0]["affine_determinant"] == 1.0
    np.testing.assert_array_equal(open_volume(result), data)


def test_sri24_input_of_another_spacing_is_resampled_only(tmp_path, tools):
    affine = centred_affine((72, 72, 47), 10 / 3)
    data = sample(affine, (72, 72, 47))
    affine[:3, 3] += ATLAS_CENTRE
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "a.nii.gz")
    result = process_visit([make_row(tmp_path / "a.nii.gz", raw_space="sri24")], tools)
    assert result.cells[0]["steps"] == "mask:nonzero;resample"
    expected = tools.atlas.brain.data[::-1, ::-1]
    inside = ndimage.binary_erosion(tools.atlas.mask, iterations=2)
    assert np.abs(open_volume(result) - expected)[inside].mean() < 1  # intensities span about 100


def test_a_companion_that_was_registered_wrongly_is_excluded_alone(tmp_path, tools, monkeypatch):
    """A turn by 30 degrees that the registration did not see: the Dice is the T1's and shows nothing.

    Invented brains have no noise and share 1.8 nats, real ones .3 to .9, so that the limit is raised here.
    """
    tools = with_settings(tools, min_centre_information=0.3)
    t1 = write_brain(tmp_path / "t1.nii.gz", (60, 66, 50), 3.0)
    t2 = write_brain(tmp_path / "t2.nii.gz", (60, 66, 50), 3.0, rotate(30, axis=0), "T2")
    rows = [make_row(t1), make_row(t2, modality="T2")]
    right = cells_by_modality(process_visit(rows, tools))
    assert right["T2"]["status"] == "kept"
    monkeypatch.setattr(fit, "register_rigid", lambda *given: np.eye(4))
    wrong = cells_by_modality(process_visit(rows, tools))
    assert wrong["T1"]["status"] == "kept"
    assert wrong["T2"]["status"] == "excluded"
    assert "t2.nii.gz: is registered wrongly to its visit's T1" in wrong["T2"]["reason"]
    allowed = with_settings(tools, min_centre_information=0.0)
    assert cells_by_modality(process_visit(rows, allowed))["T2"]["status"] == "kept"


def test_a_companion_takes_mask_and_transform_of_the_centre(tmp_path, tools):
    motion = rotate(7, axis=1, shift=(6, -5, 4))
    t1 = write_brain(tmp_path / "t1.nii.gz", (60, 66, 50), 3.0)
    t2 = write_brain(tmp_path / "t2.nii.gz", (64, 70, 30), (3.0, 3.0, 6.0), motion, "T2")
    rows = [make_row(t2, modality="T2"), make_row(t1)]
    result = process_visit(rows, tools)
    cells = cells_by_modality(result)
    assert cells["T2"]["steps"] == "rigid:T1;mask:T1;affine"
    assert cells["T2"]["native_brain_ml"] == cells["T1"]["native_brain_ml"]
    assert [key for key in result.files if key[0] == "mask"] == [("mask", "", "T1")]
    inside = ndimage.binary_erosion(open_volume(result, kind="mask") > 0, iterations=3)
    one, other = open_volume(result)[inside], open_volume(result, "T2")[inside]
    assert np.corrcoef(one, other)[0, 1] < -0.97  # T2 is painted as the negative of T1


def test_coregistered_scans_are_not_registered_to_each_other(tmp_path, tools):
    rows = [
        make_row(
            write_brain(tmp_path / f"{name}.nii.gz", modality=name), modality=name, raw_space="coregistered"
        )
        for name in ("T1", "FLAIR")
    ]
    result = process_visit(rows, tools)
    assert cells_by_modality(result)["FLAIR"]["steps"] == "mask:T1;affine"
    assert result.files["xfm", "", "FLAIR"] == result.files["xfm", "", "T1"]


def test_a_bad_companion_never_loses_the_centre_and_a_bad_centre_falls_back(tmp_path, tools):
    good = write_brain(tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    bad = str(tmp_path / "bad.nii.gz")
    cells = cells_by_modality(process_visit([make_row(good), make_row(bad, modality="T2")], tools))
    assert (cells["T1"]["status"], cells["T2"]["status"]) == ("kept", "excluded")
    assert "empty" in cells["T2"]["reason"]
    result = process_visit([make_row(bad), make_row(good, modality="FLAIR")], tools)
    cells = cells_by_modality(result)
    assert (cells["T1"]["status"], cells["FLAIR"]["status"]) == ("excluded", "kept")
    assert result.mask_key == ("mask", "", "FLAIR")


def make_spares(*paths):
    """The cell of an inventory that names further series of a scan."""
    keys = ("stamp", "source_format", "axes", "is_bias_corrected", "is_defaced", "is_stripped", "raw_space")
    return json.dumps([{"path": path} | {key: make_row(path)[key] for key in keys} for path in paths])


@pytest.mark.parametrize("modality", ["T1", "T2"])
def test_where_a_series_is_refused_the_next_of_its_scan_is_used(tmp_path, tools, modality):
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    empty = str(tmp_path / "empty.nii.gz")
    image = nib.load(write_brain(tmp_path / "whole.nii.gz", modality=modality))
    slab, good = str(tmp_path / "slab.nii.gz"), str(tmp_path / "good.nii.gz")
    nib.save(image.slicer[:, :, :12], slab)
    nib.save(image, good)
    rows = [make_row(empty, modality=modality, spares=make_spares(slab, good, empty))]
    if modality == "T2":
        rows.append(make_row(write_brain(tmp_path / "t1.nii.gz")))
    result = process_visit(rows, tools)
    cell = cells_by_modality(result)[modality]
    assert (cell["status"], cell["n_refused"]) == ("kept", 2)
    assert "empty.nii.gz: " in cell["reason"]
    assert "slab.nii.gz: " in cell["reason"]
    assert cell["reason"].endswith("good.nii.gz is used in its place.")
    rows[0] = make_row(good, modality=modality)
    alone = process_visit(rows, tools)
    assert alone.files == result.files, "as if the good series were the only one"


def test_where_every_series_is_refused_all_reasons_are_recorded(tmp_path, tools):
    for name in "ab":
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    a, b = (str(tmp_path / f"{name}.nii.gz") for name in "ab")
    cell = process_visit([make_row(a, spares=make_spares(b))], tools).cells[0]
    assert (cell["status"], cell["n_refused"]) == ("excluded", 0)
    assert "a.nii.gz: " in cell["reason"]
    assert "b.nii.gz: " in cell["reason"]


def test_unbelievable_results_are_exclusions(tmp_path, tools):
    path = write_brain(tmp_path / "a.nii.gz")
    for changes, reason in (
        ({"brain_ml": (1.0, 900.0)}, "ml, believable are 1-900 ml"),
        ({"min_atlas_dice": 1.0}, "does not fit SRI24"),
    ):
        cell = process_visit([make_row(path)], with_settings(tools, **changes)).cells[0]
        assert cell["status"] == "excluded"
        assert reason in cell["reason"]
    half = tmp_path / "half.nii.gz"
    image = nib.load(write_brain(tmp_path / "t2.nii.gz", modality="T2"))
    nib.save(image.slicer[:, :, 20:], half)
    rows = [make_row(path, raw_space="coregistered"), make_row(half, modality="T2", raw_space="coregistered")]
    cells = cells_by_modality(process_visit(rows, tools))
    assert cells["T1"]["status"] == "kept"
    assert "of the brain" in cells["T2"]["reason"]


def test_a_failing_tool_is_a_reason_that_is_tried_again(tmp_path, tools):
    path = write_brain(tmp_path / "a.nii.gz")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(image.get_fdata() + 1, image.affine), path)  # a head's background is not zero
    result = process_visit([make_row(path, is_stripped=0)], tools)  # the extractor of `tools` refuses
    assert result.cells[0]["status"] == "excluded"
    assert "stripped again" in result.cells[0]["reason"]


def delineate(path, like, centre_mm=MARKER_RAS_MM, to_brain=None, shift_mm=0.0):
    """A ball of label 1 with a core of label 4 around a point of the invented brain, on a scan's grid."""
    scan = nib.load(like)
    affine = scan.affine.copy()
    index = np.stack(np.meshgrid(*[np.arange(n) for n in scan.shape], indexing="ij"), axis=-1)
    matrix = (np.eye(4) if to_brain is None else to_brain) @ affine
    distance = np.linalg.norm(index @ matrix[:3, :3].T + matrix[:3, 3] - centre_mm, axis=-1)
    labels = (distance < 22).astype(np.uint8)
    labels[distance < 11] = 4
    affine[:3, 3] += shift_mm
    nib.save(nib.Nifti1Image(labels, affine), path)
    return str(path), float((labels > 0).sum()) * abs(np.linalg.det(affine[:3, :3])) / 1000


def test_a_segmentation_goes_with_its_scan_label_by_label(tmp_path, tools):
    turn = rotate(12, scale=1.1)
    scan = write_brain(tmp_path / "scan.nii.gz", shape=(60, 70, 56), spacing_mm=3.0, to_brain=turn)
    path, native_ml = delineate(tmp_path / "tumour.nii.gz", scan, to_brain=turn)
    result = process_visit([make_row(scan, segmentations=json.dumps({"tumour": path}))], tools)
    content = result.files["dseg-tumour", "", "T1"]
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    labels = np.asarray(image.dataobj)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 1, 4}
    for label in (1, 4):
        where = image.affine @ [*np.argwhere(labels >= label).mean(axis=0), 1]
        assert np.linalg.norm(where[:3] - ATLAS_CENTRE - MARKER_RAS_MM) < 2.5
    described = json.loads(result.cells[0]["segmentations"])["tumour"]
    assert described["native_ml"] == pytest.approx(native_ml, rel=1e-3)
    assert described["carried_share"] == pytest.approx(1, abs=0.1)


def test_a_segmentation_of_a_companion_takes_the_companions_way(tmp_path, tools):
    """The T2 lies 20 mm aside in its header: only its own transform brings its lesion to the place."""
    aside = rotate(0, shift=(20, 0, 0))
    t1 = write_brain(tmp_path / "t1.nii.gz", shape=(60, 70, 56), spacing_mm=3.0)
    t2 = write_brain(
        tmp_path / "t2.nii.gz", shape=(64, 70, 56), spacing_mm=3.0, to_brain=aside, modality="T2"
    )
    path, _ = delineate(tmp_path / "lesion.nii.gz", t2, to_brain=aside)
    rows = [make_row(t1, segmentations=json.dumps({"lesion": path})), make_row(t2, modality="T2")]
    result = process_visit(rows, tools)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(result.files["dseg-lesion", "", "T1"]))
    where = image.affine @ [*np.argwhere(np.asarray(image.dataobj)).mean(axis=0), 1]
    assert np.linalg.norm(where[:3] - ATLAS_CENTRE - MARKER_RAS_MM) < 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("moved", "on no grid"), ("fractions", "whole numbers"), ("truncated", "lesion"), ("empty", "no image")],
)
def test_a_segmentation_of_no_use_is_reported_and_costs_no_scan(tmp_path, tools, fault, reason):
    scan = write_brain(tmp_path / "scan.nii.gz")
    path, _ = delineate(tmp_path / "lesion.nii.gz", scan, shift_mm=4.0 if fault == "moved" else 0.0)
    if fault == "fractions":
        image = nib.load(path)
        nib.save(nib.Nifti1Image(image.get_fdata().astype(np.float32) / 3, image.affine), path)
    elif fault == "truncated":
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
    elif fault == "empty":
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), path)
    result = process_visit([make_row(scan, segmentations=json.dumps({"lesion": path}))], tools)
    assert result.cells[0]["status"] == "kept"
    assert reason in json.loads(result.cells[0]["segmentations"])["lesion"]["reason"]
    assert ("dseg-lesion", "", "T1") not in result.files
