"""What the trained detector finds of disguised copies, beside the untrained network, and its false alarms."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import betabinom

from braing3n.core.contracts import check_table
from braing3n.fidelity.coarse import halve
from braing3n.memorization.contracts import MEMORIZATION, PLANTED
from braing3n.memorization.contrastive.audit import (
    TRAINED,
    UNTRAINED,
    VOXELS,
    ask_detectors,
    audit_codes,
    encode,
    open_detector,
)
from braing3n.memorization.planted import HELD_OUT, plant_copies, tabulate_planted
from braing3n.memorization.settings import MemorizationSettings
from braing3n.memorization.summary import summarise_audit

from .conftest import N_HELD_OUT, N_TRAIN, SETTINGS, make_person

PERCENT = MemorizationSettings(percentile=5.0)


@pytest.fixture(scope="module")
def planted(source, people):
    return plant_copies(source.table, lambda row: people[row], 20, 0)


@pytest.fixture(scope="module")
def shares(detector, source, planted):
    """The share that is found, by disguise and detector."""
    found = ask_detectors(detector, source.table, planted.volumes, planted.table)
    table = check_table(tabulate_planted(found, planted.table, 1.0, 0), PLANTED, "planted")
    assert (table.loc[table["disguise"] != HELD_OUT, "n_asked"] == 20).all()
    table = table.assign(share=table["n_found"] / table["n_asked"])
    return table.pivot(index="disguise", columns="detector", values="share")


def test_a_training_volume_is_found_in_every_disguise(shares):
    found = shares[TRAINED].drop(HELD_OUT)
    assert found.min() >= 0.9, shares


def test_the_untrained_network_and_voxels_miss_what_training_teaches(shares):
    for disguise in ("left and right exchanged", "exchanged and shifted"):
        assert shares.loc[disguise, TRAINED] > shares.loc[disguise, UNTRAINED] + 0.5, shares
        assert shares.loc[disguise, VOXELS] <= 0.1, shares
    assert (shares.loc["none"] == 1).all()


def test_codes_are_those_of_the_network_in_the_order_of_the_list(detector, people):
    for name in (TRAINED, UNTRAINED):
        known = detector.known[name]
        assert known.shape == (N_TRAIN + N_HELD_OUT, SETTINGS.n_numbers)
        np.testing.assert_allclose(known[[7, 200]], encode(detector.nets[name], people[[7, 200]]), atol=1e-5)
    np.testing.assert_allclose(detector.known[VOXELS][70].astype(float), halve(people[70]).ravel(), atol=2e-3)


def audit(detector, source, people, is_asked):
    """Held-out people, of whom some stand in the place of samples and the others set the threshold."""
    table = source.table
    rows = np.flatnonzero(is_asked)
    left = np.flatnonzero(~is_asked)
    part = type(detector)(detector.nets, {name: known[left] for name, known in detector.known.items()})
    samples = pd.DataFrame({"sample_id": [f"s{k}" for k in rows], "modality": "T1"})
    real = table.iloc[left].reset_index(drop=True)
    return check_table(
        audit_codes(part, real, people[rows].astype(np.float16), samples, PERCENT, {}), MEMORIZATION, "audit"
    )


def test_held_out_people_in_the_place_of_samples_are_flagged_at_the_stated_rate(detector, source, people):
    """The threshold is a quantile of 100 values, so the count of others has a beta-binomial law."""
    held_out = N_TRAIN + np.random.default_rng(0).permutation(N_HELD_OUT)[:100]
    is_asked = np.isin(np.arange(N_TRAIN + N_HELD_OUT), held_out)
    found = audit(detector, source, people, is_asked)
    row = summarise_audit(found).set_index("pool").loc["T1"]
    law = betabinom(100, 5, 96)
    assert law.ppf(0.001) <= row["n_below_synthetic_real"] <= law.ppf(0.999)
    assert row["n_below_held_out_real"] == 5
    assert row["n_duplicates"] == 0


def test_the_threshold_is_that_of_held_out_people_and_a_group_is_left_out(detector, source, people):
    is_asked = np.arange(N_TRAIN + N_HELD_OUT) < 2
    found = audit(detector, source, people, is_asked)
    own = found[found["pool"] == "T1"].set_index("comparison")
    known = detector.known[TRAINED]
    distance = cdist(known[N_TRAIN:], known[2:N_TRAIN]).min(axis=1)
    assert own["threshold"].iloc[0] == pytest.approx(np.percentile(distance, 5), abs=1e-5)
    among = cdist(known[2:N_TRAIN], known[2:N_TRAIN]) + 9 * np.eye(N_TRAIN - 2)
    np.testing.assert_allclose(own.loc["real-real", "distance"], among.min(axis=1), atol=1e-4)


def test_a_forecast_is_held_against_the_codes_of_all_but_its_own_group(detector, source, people):
    """Of a person held out, and of one whose scan is in the pool; against all distances."""
    table, known = source.table, detector.known[TRAINED]
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(3, *people.shape[1:]))
    volumes = (people[[N_TRAIN + 3, 4, 9]] + noise).astype(np.float16)
    items = pd.DataFrame({"item_id": ["new", "own", "nobody's"], "modality": "T1"})
    items["group_id"] = items["person_id"] = [f"v{N_TRAIN + 3}", "v4", ""]
    none = pd.DataFrame({"sample_id": [], "modality": []})
    more = {"forecast-real": (volumes, items)}
    found = audit_codes(detector, table, people[:0], none, PERCENT, more)
    found = check_table(found, MEMORIZATION, "audit").set_index(["pool", "comparison"])
    own = found.loc[("T1", "forecast-real")].set_index("item_id")
    distance = cdist(encode(detector.nets[TRAINED], volumes), known[:N_TRAIN])
    distance[1, 4] = np.inf
    np.testing.assert_allclose(own["distance"], distance.min(axis=1), atol=1e-5)
    assert own["nearest_id"].tolist() == [f"v{k}" for k in distance.argmin(axis=1)]
    assert own["is_below_threshold"].to_dict() == {"new": False, "own": False, "nobody's": True}
    assert own.loc["nobody's", "nearest_id"] == "v9"


def test_without_held_out_people_no_threshold_is_invented(detector, source, people):
    is_asked = np.arange(N_TRAIN + N_HELD_OUT) >= N_TRAIN
    found = audit(detector, source, people, is_asked)
    assert found["threshold"].isna().all()
    assert not found["is_below_threshold"].any()


def test_a_mirrored_volume_of_the_pool_is_reported_as_a_duplicate(detector, source, people):
    """Somebody else's id, the same head mirrored: in the codes it is there twice."""
    twice = encode(detector.nets[TRAINED], people[[4]][:, ::-1])
    known = np.concatenate([detector.known[TRAINED], twice])
    again = source.table.iloc[[4]].assign(volume_id="again", person_id="again", group_id="again")
    table = pd.concat([source.table, again], ignore_index=True)
    part = type(detector)(detector.nets, {TRAINED: known})
    none = pd.DataFrame({"sample_id": [], "modality": []})
    found = audit_codes(part, table, people[:0], none, PERCENT, {})
    real = found[(found["comparison"] == "real-real") & (found["pool"] == "T1")].set_index("item_id")
    assert real.loc["again", "nearest_id"] == "v4"
    assert real.loc["v4", "nearest_id"] == "again"
    assert real.loc["v4", "distance"] < 0.5 * real["distance"].median()


def test_a_job_that_is_killed_while_it_reads_goes_on_where_it_was(source, tmp_path):
    few = SETTINGS.model_copy(update={"n_steps": 2, "width": 2})
    paths = tmp_path / "checkpoints", tmp_path / "net.safetensors"
    n_read = []

    def read(batches, device):
        for k, rows in enumerate(batches):
            if len(batches) > 3 and k == 2:
                raise KeyboardInterrupt
            n_read.append(len(rows))
            yield from source.read(batches[k : k + 1], device)

    with (
        pytest.raises(KeyboardInterrupt),
        open_detector(dataclasses.replace(source, read=read), few, *paths),
    ):
        pass
    n_read.clear()
    with open_detector(dataclasses.replace(source, read=read), few, *paths) as opened:
        found = np.array(opened.known[TRAINED])
    assert sum(n_read) - 1 == N_TRAIN + N_HELD_OUT - 128
    with open_detector(source, few, tmp_path / "other", tmp_path / "other.safetensors") as opened:
        np.testing.assert_allclose(found, opened.known[TRAINED], atol=1e-6)
    assert not list(tmp_path.glob(".contrastive-*"))


def test_a_new_person_is_no_copy(detector, source):
    new = np.stack([make_person(seed) for seed in range(1000, 1040)])
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(40)], "modality": "T1"})
    found = audit_codes(detector, source.table, new, table, MemorizationSettings(), {})
    own = found[(found["pool"] == "T1") & (found["comparison"] == "synthetic-real")]
    assert own["is_below_threshold"].sum() <= 3


def test_other_volumes_are_asked_about_as_samples_are(detector, source, people):
    """The same volumes under both names have the same neighbours: themselves."""
    rows = [3, 11, 40]
    samples = pd.DataFrame({"sample_id": ["s0", "s1", "s2"], "modality": "T1"})
    items = pd.DataFrame({"item_id": ["r0", "r1", "r2"], "person_id": "", "group_id": "", "modality": "T1"})
    more = {"reconstructed-real": (people[rows], items)}
    found = audit_codes(detector, source.table, people[rows], samples, PERCENT, more)
    found = found[found["pool"] == "T1"].set_index("comparison")
    for name in ("synthetic-real", "reconstructed-real"):
        assert found.loc[name, "nearest_id"].tolist() == ["v3", "v11", "v40"]
        assert (found.loc[name, "distance"] < 1e-3).all()
