"""The copy detector: its parts by loops, what it finds, and its false alarms on people it has not seen."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.stats import binom

from braing3n.config import MemorizationSettings
from braing3n.core.contracts import check_table
from braing3n.fidelity.coarse import CoarseVolumes, choose_edge, coarsen, halve, write_coarse
from braing3n.memorization.contracts import COPIES
from braing3n.memorization.copies import Pool, Queries, find_copies, list_shifted, tabulate_copies
from braing3n.memorization.detect import detect_copies, draw_nearest

SHAPE = (20, 24, 20)
PLACES = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
COMMON = 3 * np.exp(-(PLACES**2).sum(axis=0)) + PLACES[1]
BRAIN = (PLACES**2).sum(axis=0) < 0.9


def make_person(seed):
    """What all have, and smooth structure of one's own; z units, 0 outside the brain."""
    own = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return standardise(COMMON + 0.7 * own / own.std())


def standardise(volume):
    inside = volume[BRAIN]
    return np.where(BRAIN, (volume - inside.mean()) / inside.std(), 0).astype(np.float32)


def ask(volumes, owners, prefix="v"):
    names = np.array([f"{prefix}{k}" for k in range(len(volumes))])
    return Queries(names, np.array(owners), lambda i: volumes[i])


@pytest.fixture(scope="module")
def people():
    return [make_person(seed) for seed in range(160)]


def test_windows_are_coarse_volumes_of_the_shifted_head(people):
    """Each window against the head shifted by whole voxels, halved, less the mean, centred and scaled."""
    mean = halve(people[1])
    found = list_shifted(people[0], mean)
    assert found.shape == (125, 8 * 10 * 8)
    for row, shift in zip(found, itertools.product(range(-2, 3), repeat=3), strict=True):
        moved = halve(np.roll(people[0], [-s for s in shift], (0, 1, 2)))
        expected = (moved - mean)[1:-1, 1:-1, 1:-1].ravel()
        expected = expected - expected.mean()
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


def test_the_best_correlation_is_that_of_all_pairs_shifts_and_mirrors(people):
    owners = np.array(["a", "a", "b", "c", "d", "e"])
    coarse = np.stack([halve(people[k]) for k in range(6)])
    found = find_copies(6, lambda i: people[i], owners, Pool(coarse, owners), "test")
    for i in range(6):
        others = np.flatnonzero(owners != owners[i])
        mean, best = coarse[others].mean(axis=0), {}
        for is_mirrored, turned in ((False, people[i]), (True, people[i][::-1])):
            for shift in itertools.product(range(-2, 3), repeat=3):
                moved = (halve(np.roll(turned, shift, (0, 1, 2))) - mean)[1:-1, 1:-1, 1:-1].ravel()
                for k in others:
                    other = (coarse[k] - mean)[1:-1, 1:-1, 1:-1].ravel()
                    best[np.corrcoef(moved, other)[0, 1]] = (k, is_mirrored)
        assert found["correlation"][i] == pytest.approx(max(best), abs=1e-4)
        assert (found["nearest"][i], found["is_mirrored"][i]) == best[max(best)]


PLANTS = {
    "same": (lambda v, rng: v, False),
    "noise": (lambda v, rng: v + 0.3 * rng.normal(size=SHAPE), False),
    "shift": (lambda v, rng: np.roll(v, 2, axis=0), False),
    "gain": (lambda v, rng: 1.7 * v + 3, False),
    "flip": (lambda v, rng: v[::-1], True),
    "flip and shift": (lambda v, rng: np.roll(v[::-1], 1, axis=1), True),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_training_volume_returned_is_flagged(people, plant):
    change, is_mirrored = PLANTS[plant]
    rng = np.random.default_rng(0)
    pool = ask(people[:60], [f"p{k}" for k in range(60)])
    copies = ask([standardise(change(people[k], rng)) for k in range(0, 60, 6)], [""] * 10, "s")
    table = tabulate_copies({"synthetic-real": copies, "real-real": pool}, 1.0, 60, 0)
    found = table[table["comparison"] == "synthetic-real"]
    assert found["is_flagged"].all()
    assert found["nearest_id"].tolist() == [f"v{k}" for k in range(0, 60, 6)]
    assert (found["is_mirrored"] == is_mirrored).all()


def test_held_out_people_in_the_place_of_samples_are_flagged_at_the_stated_rate(people):
    """The threshold is a quantile of 80 values, so its own rate has a beta law."""
    pool = ask(people[:80], [f"p{k}" for k in range(80)])
    new = ask(people[80:], [""] * 80, "s")
    table = tabulate_copies({"synthetic-real": new, "real-real": pool}, 10.0, 80, 0)
    n_flagged = table.loc[table["comparison"] == "synthetic-real", "is_flagged"].sum()
    assert 0.001 < binom.cdf(n_flagged, 80, 0.1) < 0.9999
    assert table.loc[table["comparison"] == "real-real", "is_flagged"].sum() == 8


class Packed:
    """Packed volumes: of each person a T1, of every fourth a T2; the last fifth of the people held out."""

    def __init__(self, people):
        rows = [(k, "T1") for k in range(20)] + [(k, "T2") for k in range(0, 20, 4)]
        self.table = pd.DataFrame(
            {
                "volume_id": [f"{k}-{modality}" for k, modality in rows],
                "modality": [modality for _, modality in rows],
                "split": ["train" if k < 16 else "test" for k, _ in rows],
                "person_id": [f"p{k}" for k, _ in rows],
                "group_id": [f"g{k}" for k, _ in rows],
            }
        )
        self._volumes = [people[k] if modality == "T1" else -people[k] for k, modality in rows]

    def load(self, i):
        return self._volumes[i], BRAIN


def list_items(names, modality, group="", person=""):
    columns = {"item_id": names, "modality": modality, "group_id": group, "person_id": person}
    return pd.DataFrame(columns)


def test_a_run_is_searched_modality_by_modality(people, tmp_path):
    packed = Packed(people)
    samples, rebuilt = CoarseVolumes(), CoarseVolumes()
    path = tmp_path / "decoded.npz"
    samples(np.arange(4), np.stack([people[3], people[100], -people[4], -people[101]]))
    rows = np.array([2, 20])  # a training T1 and a training T2
    rebuilt(rows, np.stack([ndimage.gaussian_filter(packed.load(row)[0], 0.6) for row in rows]))
    conditions = pd.DataFrame({"sample_id": list("abcd"), "modality": ["T1", "T1", "T2", "T2"]})
    write_coarse({"samples": samples, "reconstructions": rebuilt}, path)
    decoded = dict(np.load(path))
    assert decoded["samples"].dtype == np.float16
    theirs = list_items(["disease-MCI-0", "disease-PD-0"], "T1")
    again = list_items(["2-T1", "0-T2"], ["T1", "T2"])
    beside = {
        "reconstructed-real": (decoded["reconstructions"][:2], again),
        "other-arms-real": (np.stack([people[102], people[5]]).astype(np.float16), theirs),
    }
    found = detect_copies(decoded["samples"], conditions, packed, MemorizationSettings(), beside)
    check_table(found, COPIES, "copies")
    more = found[found["comparison"] == "other-arms-real"].set_index("item_id")
    assert more["is_flagged"].to_dict() == {"disease-MCI-0": False, "disease-PD-0": True}
    assert more.loc["disease-PD-0", "nearest_id"] == "5-T1"
    samples = found[found["comparison"] == "synthetic-real"].set_index("item_id")
    assert samples["is_flagged"].to_dict() == {"a": True, "b": False, "c": True, "d": False}
    assert samples.loc[["a", "c"], "nearest_id"].tolist() == ["3-T1", "4-T2"]
    copies = found[found["comparison"] == "reconstructed-real"].set_index("item_id")
    assert copies["nearest_id"].to_dict() == {"2-T1": "2-T1", "0-T2": "0-T2"}
    held_out = found[found["comparison"] == "held-out-real"]
    assert sorted(held_out["item_id"]) == ["16-T1", "16-T2", "17-T1", "18-T1", "19-T1"]
    assert set(held_out["person_id"]) == {"p16", "p17", "p18", "p19"}
    assert not held_out["nearest_id"].isin(held_out["item_id"]).any()
    draw_nearest(found, decoded["samples"], conditions, packed, tmp_path / "nearest.png")
    assert (tmp_path / "nearest.png").stat().st_size > 1000


def test_a_forecast_is_held_against_all_but_its_own_group(people):
    """Of a person held out, and of one whose scan is in the pool; against loops over all others."""
    packed = Packed(people)
    rng = np.random.default_rng(0)
    forecasts = [standardise(people[k] + 0.1 * rng.normal(size=SHAPE)) for k in (18, 4, 9)]
    items = list_items(["new", "own", "nobody's"], "T1", ["g18", "g4", ""], ["p18", "p4", ""])
    none = pd.DataFrame({"sample_id": [], "modality": []})

    def detect(table, n_reference=1000):
        more = {"forecast-real": (np.stack(forecasts).astype(np.float16), table)}
        settings = MemorizationSettings(n_reference=n_reference)
        found = detect_copies(np.zeros((0, *SHAPE)), none, packed, settings, more)
        found = check_table(found, COPIES, "copies")
        return found[found["comparison"] == "forecast-real"].set_index("item_id")

    found = detect(items)
    pool = np.stack([halve(people[k]).astype(np.float16) for k in range(16)]).astype(np.float32)
    for name, forecast, others in (
        ("new", forecasts[0], range(16)),
        ("own", forecasts[1], {*range(16)} - {4}),
    ):
        mean, best = pool[list(others)].mean(axis=0), {}
        for turned in (forecast, forecast[::-1]):
            for shift in itertools.product(range(-2, 3), repeat=3):
                moved = (halve(np.roll(turned, shift, (0, 1, 2))) - mean)[1:-1, 1:-1, 1:-1].ravel()
                for k in others:
                    other = (pool[k] - mean)[1:-1, 1:-1, 1:-1].ravel()
                    best[np.corrcoef(moved, other)[0, 1]] = f"{k}-T1"
        assert found.loc[name, "correlation"] == pytest.approx(max(best), abs=2e-3)
        assert found.loc[name, "nearest_id"] == best[max(best)]
    assert found["person_id"].to_dict() == {"new": "p18", "own": "p4", "nobody's": ""}
    assert found["is_flagged"].to_dict() == {"new": False, "own": False, "nobody's": True}
    assert found.loc["nobody's", "nearest_id"] == "9-T1"
    assert set(detect(items, n_reference=2).index) == set(items["item_id"]), "none is drawn"


def test_coarse_volumes_are_means_over_cubes():
    volume = np.random.default_rng(0).normal(size=(15, 16, 12))
    found = coarsen(volume, 4)
    assert found.shape == (4, 4, 4)
    assert found[1, 2, 0] == pytest.approx(volume[4:8, 8:12, 0:4].mean(), rel=1e-5)
    assert found[3, 0, 0] == pytest.approx(volume[12:, :4, :4].sum() / 64, rel=1e-5)
    assert [choose_edge((n, n, n)) for n in (160, 80, 40, 8)] == [4, 2, 1, 1]
