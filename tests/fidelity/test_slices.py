"""The 3D-FID of arms sees all three sets through one mask, window and network, and keeps no volume."""

import numpy as np
import pytest

from braing3n.config import FidelitySettings
from braing3n.core.contracts import check_table
from braing3n.fidelity.arms import FID, KID, list_real
from braing3n.fidelity.contracts import DISTANCES
from braing3n.fidelity.formulas.frechet import measure_frechet
from braing3n.fidelity.measure import measure_arms
from braing3n.fidelity.other_features import SLOTS, measure_slices, see_real
from braing3n.fidelity.variety import KeptVolumes, list_rows, measure_variety

from .invented import Levels, make_people
from .test_measure import ask

SHAPE = (12, 12, 12)


@pytest.fixture
def corpus():
    """A T1 each of 30 people; the first half of the last axis is brain in all, the rest in none."""
    labels, _ = make_people(30, 1)
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(30, *SHAPE)).astype(np.float32)
    mask = np.zeros(SHAPE, bool)
    mask[:, :, :6] = True
    return labels, volumes, lambda i: (volumes[i], mask)


def test_all_sets_are_seen_alike(corpus):
    labels, volumes, load = corpus
    samples, settings = ask(10), FidelitySettings(n_draws=30, n_real=10)
    rows = list_real(samples, labels, settings)
    real = see_real(Levels(), load, rows, len(labels))
    assert (len(real), real.shape) == (30, (30, 30, 4))
    decoded, generated = real.see_others(30), real.see_others(10)
    outside = volumes + 50 * ~load(0)[1]  # the decoder's background is no zero
    for start in range(0, len(rows), 4):
        decoded(rows[start : start + 4], outside[rows[start : start + 4]])
    np.testing.assert_array_equal(decoded[rows], real[rows])
    generated(np.arange(10), np.random.default_rng(1).normal(0.5, 1, size=(10, *SHAPE)))
    fid, kid = SLOTS[0].list_judges(10)
    table = measure_arms(generated, samples, real, decoded, labels, settings, fid)
    check_table(table, DISTANCES, "3D-FID")
    found = table[table["reference"] == "corpus"].set_index(["arm", "comparison"]).loc["Modality T1"]
    assert set(found["quantity"]) == {FID}
    assert found.loc["gen-vs-real", "value"] == found.loc["gen-vs-recons", "value"]
    assert found.loc["gen-vs-real", "value"] > found.loc["gen-vs-real", "floor_95"]
    assert found.loc["recons-vs-real", "value"] == pytest.approx(found.loc["recons-vs-real", "floor"])
    assert found.loc["gen-vs-real", ["n_features", "rank", "n_others"]].tolist() == [4, 4, 10]
    kernel = measure_arms(generated, samples, real, decoded, labels, settings, kid)
    measured = kernel[kernel["reference"] == "corpus"].set_index("arm").loc["Modality T1"]
    assert (measured["comparison"], measured["quantity"]) == ("gen-vs-real", KID)
    assert measured["value"] > measured["floor_95"]


@pytest.mark.parametrize("n", [3, 60])
def test_slices_have_the_same_distance_with_and_without_streamed_moments(n, monkeypatch):
    monkeypatch.setattr("braing3n.fidelity.other_features.N_BLOCK", 17)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 3, 10)), rng.normal(0.3, 1, size=(40, 3, 10))
    expected = measure_frechet(x.reshape(-1, 10), y.reshape(-1, 10))
    assert measure_slices(x, y) == pytest.approx(expected, rel=1e-9)


def test_one_face_for_all_lies_above_the_floor_of_people(corpus):
    labels, volumes, _ = corpus
    samples, settings = ask(10), FidelitySettings(n_similar=4)
    drawn, real = list_rows(samples, labels, settings)
    kept = [KeptVolumes(drawn), KeptVolumes(real), KeptVolumes(drawn)]
    face = volumes[:1] + 0.1 * np.random.default_rng(3).normal(size=(10, *SHAPE))
    kept[0](np.arange(10), face)
    kept[1](np.arange(30), volumes)
    kept[2](np.arange(10), volumes[:10])
    table = check_table(measure_variety(kept[0], kept[1], samples, labels, settings), DISTANCES, "variety")
    row = table.set_index("arm").loc["Modality T1"]
    assert (row["n_samples"], row["n_floor_people"], row["reason"]) == (4, 4, "")
    assert row["value"] > 0.9 > 0.5 > row["floor"]
    other = measure_variety(kept[2], None, samples, labels, settings).set_index("arm")
    assert other.loc["Modality T1", "value"] == pytest.approx(row["floor"], abs=0.05)
    assert other.loc["Modality T1", "floor_reason"] != ""
    assert other.loc["Modality T2", "reason"] == "0 samples of this arm"
