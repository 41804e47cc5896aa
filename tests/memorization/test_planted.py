"""Planted copies: what the disguises do, and the table of what is found, by loops."""

import numpy as np
import pandas as pd
import pytest

from braing3n.core.contracts import check_table
from braing3n.memorization.contracts import PLANTED
from braing3n.memorization.planted import (
    DISGUISES,
    HELD_OUT,
    ask_detector,
    plant_copies,
    read_correlations,
    tabulate_planted,
)

SHAPE = (10, 12, 8)


def make_list():
    """30 people with a T1, 20 of them training; 4 training people with a T2, which nobody held out has."""
    rows = [(f"t1-{k}", f"g{k}", "T1", "train" if k < 20 else "test") for k in range(30)]
    rows += [(f"t2-{k}", f"g{k}", "T2", "train") for k in range(4)]
    return pd.DataFrame(rows, columns=["volume_id", "group_id", "modality", "split"])


def load(row):
    volume = np.zeros(SHAPE, np.float32)
    inner = np.random.default_rng(row).normal(1, 0.5, size=(6, 6, 4))
    volume[2:8, 3:9, 2:6] = inner
    return volume


@pytest.fixture(scope="module")
def planted():
    return plant_copies(make_list(), load, 5, 0)


def test_each_of_the_drawn_training_volumes_is_planted_in_every_disguise(planted):
    table = planted.table
    assert len(table) == 5 * len(DISGUISES)
    assert table["item_id"].is_unique
    sources = table["source_id"].unique()
    assert len(sources) == 5
    assert set(sources) <= {f"t1-{k}" for k in range(20)}, "T2 has no held-out people"
    assert planted.volumes.shape == (len(table), *SHAPE)


def test_disguises_do_what_their_names_say(planted):
    def find(disguise):
        row = int(np.flatnonzero(planted.table["disguise"] == disguise)[0])
        source = int(planted.table["source_id"].iloc[row].split("-")[1])
        return planted.volumes[row].astype(np.float64), load(source).astype(np.float64)

    found, source = find("none")
    np.testing.assert_allclose(found, source, atol=2e-3)
    for size in (0.1, 0.3):
        found, source = find(f"noise of {size} deviations")
        assert (found - source).std() == pytest.approx(size, rel=0.1)
    found, source = find("gain of 1.3, offset of 0.2")
    np.testing.assert_allclose(found, np.where(source == 0, 0, 1.3 * source + 0.2), atol=4e-3)
    found, source = find("shift of 2 voxels along each axis")
    np.testing.assert_allclose(found, np.roll(source, (2, 2, 2), (0, 1, 2)), atol=2e-3)
    found, source = find("left and right exchanged")
    np.testing.assert_allclose(found, np.flip(source, 0), atol=2e-3)
    found, source = find("exchanged and shifted")
    np.testing.assert_allclose(found, np.roll(np.flip(source, 0), (2, 2, 2), (0, 1, 2)), atol=2e-3)
    found, source = find("blur of 1 voxel")
    assert 0 < found.std() < 0.9 * source.std()


def test_the_table_counts_by_loops(planted):
    """A detector of random distances, half of whose neighbours are the source."""
    rng, volumes = np.random.default_rng(0), make_list()
    copies = planted.table[["item_id", "modality"]].assign(
        group_id="", distance=rng.random(len(planted.table))
    )
    copies["nearest_id"] = np.where(rng.random(len(copies)) < 0.5, planted.table["source_id"], "t1-0")
    real = volumes[volumes["split"] == "test"].rename(columns={"volume_id": "item_id"})
    real = real.assign(distance=rng.random(len(real)), nearest_id="t1-0")
    columns = ["item_id", "group_id", "modality", "nearest_id", "distance"]
    both = pd.concat([real[columns], copies[columns]], ignore_index=True)
    found = tabulate_planted({"some": both, "none": both[:0]}, planted.table, 30.0, 0)
    found = check_table(found, PLANTED, "planted").set_index(["detector", "disguise"])
    assert set(found.index.get_level_values(0)) == {"some"}
    threshold = np.percentile(real["distance"], 30)
    for disguise in DISGUISES:
        n_found = 0
        for item, source in planted.table.loc[
            planted.table["disguise"] == disguise, ["item_id", "source_id"]
        ].itertuples(index=False):
            row = copies.set_index("item_id").loc[item]
            n_found += row["distance"] < threshold and row["nearest_id"] == source
        assert found.loc[("some", disguise), "n_found"] == n_found
    assert found.loc[("some", HELD_OUT), "n_asked"] == 10


def test_false_alarms_are_at_the_stated_rate():
    """Of 4,000 held-out people at the tenth percentile, each half judged by the other."""
    real = pd.DataFrame({"group_id": [f"g{k}" for k in range(4000)], "modality": "T1", "nearest_id": "v"})
    real = real.assign(item_id=real["group_id"], distance=np.random.default_rng(0).random(4000))
    copy = pd.DataFrame({"item_id": ["c"], "source_id": ["v"], "modality": ["T1"], "disguise": ["none"]})
    asked = copy[["item_id", "modality"]].assign(group_id="", nearest_id="v", distance=0.01)
    table = tabulate_planted({"some": pd.concat([real, asked])}, copy, 10.0, 0).set_index("disguise")
    assert table.loc["none", "n_found"] == 1
    assert 330 < table.loc[HELD_OUT, "n_found"] < 470


def test_a_detector_is_asked_about_held_out_people_and_copies_of_each_modality(planted):
    volumes, rng = make_list(), np.random.default_rng(0)
    known = rng.normal(size=(len(volumes), 6)).astype(np.float32)
    asked = rng.normal(size=(len(planted.table), 6)).astype(np.float32)
    found = ask_detector(known, volumes, asked, planted.table, "test").set_index("item_id")
    assert len(found) == 10 + len(asked)
    for rows, ids in ((known[20:30], volumes["volume_id"][20:30]), (asked, planted.table["item_id"])):
        for row, name in zip(rows, ids, strict=True):
            distances = np.sqrt(((known[:20] - row) ** 2).sum(axis=1))
            assert found.loc[name, "distance"] == pytest.approx(distances.min(), rel=1e-5)
            assert found.loc[name, "nearest_id"] == f"t1-{distances.argmin()}"


def test_a_corpus_without_held_out_people_has_no_row():
    planted = plant_copies(make_list().assign(split="train"), load, 5, 0)
    found = {"some": ask_detector(np.zeros((34, 2)), make_list(), np.zeros((0, 2)), planted.table, "test")}
    assert len(check_table(tabulate_planted(found, planted.table, 1.0, 0), PLANTED, "planted")) == 0


def test_correlations_are_turned_into_distances():
    rows = [("real-real", 0.9), ("held-out-real", 0.25), ("planted", 1.0), ("synthetic-real", 0.1)]
    table = pd.DataFrame(rows, columns=["comparison", "correlation"])
    table = table.assign(item_id=list("abcd"), group_id=["a", "b", "", ""], modality="T1", nearest_id="a")
    assert read_correlations(table)["distance"].tolist() == [0.75, 0.0]


def test_each_modality_has_a_threshold_of_its_own():
    """Distances of T2 are ten times as large; each copy lies just above or below its modality's median."""
    rng, ids = np.random.default_rng(1), [f"r{k}" for k in range(40)]
    real = pd.DataFrame({"item_id": ids, "group_id": ids, "modality": ["T1", "T2"] * 20, "nearest_id": "v"})
    scale = real["modality"].map({"T1": 1.0, "T2": 10.0})
    real["distance"] = scale * rng.random(40)
    copies = pd.DataFrame(
        [
            (f"{name}-{side}", "v", name, disguise)
            for name in ("T1", "T2")
            for side, disguise in ((0.99, "blur"), (1.01, "none"))
        ],
        columns=["item_id", "source_id", "modality", "disguise"],
    )
    median = real.groupby("modality")["distance"].median()
    sides = copies["item_id"].str.split("-").str[1].astype(float)
    asked = copies[["item_id", "modality"]].assign(
        group_id="", nearest_id="v", distance=sides * copies["modality"].map(median)
    )
    found = tabulate_planted({"some": pd.concat([real, asked])}, copies, 50.0, 0).set_index("disguise")
    assert found.loc["blur", ["n_asked", "n_found"]].tolist() == [2, 2]
    assert found.loc["none", ["n_asked", "n_found"]].tolist() == [2, 0]


def test_false_alarms_are_of_groups_that_had_no_part_in_the_threshold():
    """Two people of 50 volumes each: all of the near one lie below the far one's, and none the other way."""
    real = pd.DataFrame({"item_id": [f"r{k}" for k in range(100)], "group_id": ["near", "far"] * 50})
    far = (real["group_id"] == "far") * 5.0
    real = real.assign(modality="T1", nearest_id="v", distance=np.random.default_rng(0).random(100) + far)
    copy = pd.DataFrame({"item_id": ["c"], "source_id": ["v"], "modality": ["T1"], "disguise": ["none"]})
    asked = copy[["item_id", "modality"]].assign(group_id="", nearest_id="v", distance=0.5)
    table = tabulate_planted({"some": pd.concat([real, asked])}, copy, 10.0, 0).set_index("disguise")
    assert table.loc[HELD_OUT, ["n_asked", "n_found"]].tolist() == [100, 50]
