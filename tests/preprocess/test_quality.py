"""Quality numbers: what was planted comes out, what is wrong is worst, and the picture shows what it must."""

import io
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy import ndimage
from sklearn.metrics import mutual_info_score

from braing3n.core.contracts import check_table
from braing3n.manifest.quality.measures import OUTLYING, judge_quality
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.preprocess.mosaic import draw_thumbnail
from braing3n.preprocess.quality import list_brain_voxels, measure_field_range, measure_noise
from braing3n.preprocess.read.scan import Volume
from braing3n.preprocess.shard import run_visit
from braing3n.preprocess.space.grid import RIM_MM
from braing3n.preprocess.space.registration_checks import measure_atlas_information
from braing3n.preprocess.visit import process_visit

from .brains import ATLAS_CENTRE, centred_affine, make_row, rotate, sample

SHAPE, SPACING_MM = (60, 60, 44), 4.0
BAD = {"noisy": "noise", "shaded": "bias_field_range", "cut": "atlas_coverage"}


def place(shape=SHAPE, spacing_mm=SPACING_MM, turn=None):
    """An invented brain that lies in SRI24, turned about its own centre."""
    affine, centre = centred_affine(shape, spacing_mm), np.eye(4)
    affine[:3, 3] += ATLAS_CENTRE
    centre[:3, 3] = -ATLAS_CENTRE
    return Volume(sample(affine, shape, (np.eye(4) if turn is None else turn) @ centre), affine)


@pytest.mark.parametrize("spacing_mm", [2.0, (2.0, 2.0, 5.0)])
def test_planted_noise_is_measured_on_the_scans_own_voxels(tools, spacing_mm):
    shape = tuple(int(200 / edge) for edge in np.broadcast_to(spacing_mm, 3))
    clean = place(shape, spacing_mm)
    voxels = list_brain_voxels(clean, np.eye(4), tools.atlas.grid, tools.atlas.mask)
    level = np.median(clean.data[clean.data > 0])
    noise = np.random.default_rng(0).normal(0, 0.06 * level, shape)
    noisy = clean.with_data(np.where(clean.data > 0, clean.data + noise, 0))
    assert measure_noise(noisy, voxels) == pytest.approx(0.06, rel=0.15)
    assert measure_noise(clean, voxels) < 0.01
    assert measure_noise(clean.with_data(-clean.data), voxels) is None


def test_the_field_range_is_that_of_the_planted_field(tools):
    clean = place()
    voxels = list_brain_voxels(clean, np.eye(4), tools.atlas.grid, tools.atlas.mask)
    ramp = np.exp(np.linspace(0, 1.5, SHAPE[1]))[None, :, None] * np.ones(SHAPE)
    inside = ramp[clean.data > 0]
    expected = np.quantile(inside, 0.95) / np.quantile(inside, 0.05)
    found = measure_field_range(clean.with_data(3 * clean.data * ramp), clean, voxels)
    assert found == pytest.approx(expected, rel=0.03)


def test_mutual_information_is_that_of_the_binned_intensities_and_falls_off_the_place(tools):
    atlas = tools.atlas
    rng = np.random.default_rng(0)
    volume = np.where(atlas.mask, atlas.volume + rng.normal(0, 10, atlas.mask.shape), 0).astype(np.float32)
    inner = ndimage.binary_erosion(atlas.mask, iterations=round(RIM_MM / SPACING_MM))
    binned = []
    for array in (volume, atlas.volume):
        low, high = np.quantile(array[inner], (0.005, 0.995))
        binned.append(np.clip(np.digitize(array[inner], np.linspace(low, high, 17)), 1, 16))
    found = measure_atlas_information(volume, atlas.mask, atlas)
    n_pairs = len(np.unique(np.stack(binned), axis=1).T)
    excess = (n_pairs - 16 - 16 + 1) / (2 * inner.sum())  # what unrelated intensities would share by chance
    assert found == pytest.approx(mutual_info_score(*binned) - excess, abs=0.01)
    wrong = np.ascontiguousarray(volume[:, ::-1])
    assert measure_atlas_information(wrong, wrong > 0, atlas) < found - 0.1


def plant(tmp_path):
    """Fourteen people alike and four bad scans, all in SRI24 and with N4 to come; their inventory rows."""
    rng = np.random.default_rng(0)
    scans = {}
    for n in range(14):
        scans[f"good{n}"] = place(turn=rotate(rng.normal(0, 1.5), scale=1 + 0.01 * rng.normal()))
    scans["noisy"] = place()
    scans["shaded"] = place()
    ramp = np.exp(np.linspace(-0.9, 0.9, SHAPE[1]))[None, :, None]
    scans["shaded"] = scans["shaded"].with_data(scans["shaded"].data * ramp)
    scans["cut"] = place().crop((slice(0, SHAPE[0]), slice(0, SHAPE[1]), slice(0, 30)))
    scans["askew"] = place(turn=rotate(35, axis=0, shift=(0, 12, 0)))
    rows = []
    for name, scan in scans.items():
        strength = 20.0 if name == "noisy" else 3.0
        noise = rng.normal(0, strength, scan.data.shape)
        data = np.where(scan.data > 0, np.maximum(scan.data + noise, 1), 0).astype(np.float32)
        nib.save(nib.Nifti1Image(data, scan.affine), tmp_path / f"{name}.nii.gz")
        facts = {"raw_space": "sri24", "is_bias_corrected": 0}
        rows.append(make_row(tmp_path / f"{name}.nii.gz", name, **facts))
    return rows


def test_planted_bad_volumes_are_the_worst_and_say_why(tmp_path, tools):
    cells = {row["subject_id"]: process_visit([row], tools).cells[0] for row in plant(tmp_path)}
    assert {cell["status"] for cell in cells.values()} == {"kept"}
    volumes = pd.DataFrame([{"volume_id": name, "cohort": "mine", **cell} for name, cell in cells.items()])
    judged = judge_quality(volumes.assign(cropped_brain_share=0.0)).set_index("volume_id")
    worst = judged.sort_values("outlier_score", ascending=False)
    assert set(worst.index[:4]) == {*BAD, "askew"}
    assert (worst["outlier_score"].iloc[:4] > OUTLYING).all()
    for name, measure in BAD.items():
        assert judged.loc[name, f"{measure}_z"] > OUTLYING, name
    assert judged.loc["askew", "outlier_measure"] in (
        "atlas_dice",
        "atlas_mutual_information",
        "missing_share",
    )


def test_numbers_reach_table_and_sidecar_and_what_there_is_not_is_null(tmp_path, job):
    scan = place()
    nib.save(nib.Nifti1Image(scan.data, scan.affine), tmp_path / "a.nii.gz")
    rows = run_visit([make_row(tmp_path / "a.nii.gz", raw_space="sri24")], job)
    table = check_table(pd.DataFrame(rows, columns=list(PREPROCESS)), PREPROCESS, "here")
    (sidecar,) = (job.store_dir / "invented").rglob("*.json")

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    (found,) = json.loads(sidecar.read_text(), parse_constant=refuse)["Volumes"]
    assert found["bias_field_range"] is None  # nothing was corrected
    assert np.isnan(table["bias_field_range"].iloc[0])
    for name in ("noise", "atlas_mutual_information", "atlas_coverage", "coverage"):
        assert table[name].iloc[0] == found[name]
    assert table["atlas_coverage"].iloc[0] == 1
    assert imread(rows[0]["picture_path"], format="jpg").ndim == 3


def test_the_picture_shows_brain_that_the_mask_lacks_and_no_face(tools):
    atlas = tools.atlas
    head = np.full(atlas.mask.shape, 50, np.float32)  # "face" everywhere around
    head[atlas.mask] = 100
    mask = atlas.mask.copy()
    mask[:, :, : int(np.argwhere(mask)[:, 2].mean())] = False  # the lower half is missed
    shown = imread(io.BytesIO(draw_thumbnail(head, mask, atlas)), format="jpg").astype(int)
    side = shown.shape[0]
    assert shown.shape == (side, 3 * side, 3)
    assert len(draw_thumbnail(head, mask, atlas)) < 30_000
    orange = shown[..., 0] - shown[..., 2] > 80
    assert orange[:, :side].sum() > 50
    grey = shown[:, :side].mean(axis=2)
    middle = grey[:, side // 2]
    assert middle[side // 2 + 8] > 150  # brain just below the mask's edge
    assert middle[int(0.8 * side)] < 30  # farther off nothing is shown
    assert (shown[:5, :5] < 30).all()
