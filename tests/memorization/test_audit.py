"""Neighbours are exact, a person's own scans do not count, and a planted copy is found."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from braing3n.config import MemorizationSettings
from braing3n.contracts import CONTRACTS, check_table, read_table
from braing3n.errors import ContractError
from braing3n.memorization import neighbours
from braing3n.memorization.audit import audit_samples, summarise_audit
from braing3n.memorization.command import app
from braing3n.memorization.neighbours import find_nearest

N_TOKENS, D = 6, 8


@pytest.fixture
def corpus():
    """60 volumes of 40 people (20 have a second, nearly equal T1), and 20 samples."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(40, N_TOKENS, D))
    second = first[:20] + rng.normal(scale=1e-3, size=(20, N_TOKENS, D))
    tokens = np.concatenate([first, second]).astype(np.float16)
    people = np.concatenate([np.arange(40), np.arange(20)])
    volumes = pd.DataFrame(
        {
            "volume_id": [f"v{k}" for k in range(60)],
            "person_id": [f"p{k}" for k in people],
            "modality": np.where(people % 4 == 3, "T2", "T1"),
            "split": np.where(people % 10 == 9, "test", "train"),
        }
    )
    samples = 1.2 * rng.normal(size=(20, N_TOKENS, D)).astype(np.float32)
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(20)], "modality": ["T1", "T2"] * 10})
    return tokens, volumes, samples, table


def test_neighbours_agree_with_scipy_over_many_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_N_BLOCK", 7)
    rng = np.random.default_rng(1)
    queries, pool = rng.normal(100, 1, size=(23, 50)), rng.normal(100, 1, size=(31, 50)).astype(np.float32)
    owner = np.arange(23) % 5, np.arange(31) % 5
    nearest, distance = find_nearest(queries, pool, *owner, "test")
    expected = cdist(queries, pool.astype(np.float64))
    expected[owner[0][:, None] == owner[1][None, :]] = np.inf
    np.testing.assert_array_equal(nearest, expected.argmin(axis=1))
    np.testing.assert_allclose(distance, expected.min(axis=1), rtol=1e-12)


def test_a_person_alone_in_the_pool_has_no_neighbour():
    nearest, distance = find_nearest(
        np.zeros((2, 3)), np.ones((2, 3)), np.array([1, 1]), np.array([1, 1]), "test"
    )
    assert (nearest == -1).all()
    assert np.isnan(distance).all()


def test_a_planted_copy_is_found_with_its_source(corpus):
    tokens, volumes, samples, table = corpus
    samples[4] = tokens[7].astype(np.float32) + 1e-3
    found = check_table(
        audit_samples(tokens, volumes, samples, table, MemorizationSettings()), "memorization", "audit"
    )
    synthetic = found[(found["comparison"] == "synthetic-real") & (found["pool"] == "all")].set_index(
        "item_id"
    )
    assert synthetic.index[synthetic["is_below_threshold"]].tolist() == ["s4"]
    assert volumes.set_index("volume_id").loc[synthetic.loc["s4", "nearest_id"], "person_id"] == "p7"
    summary = summarise_audit(found).set_index("pool")
    assert summary.loc["all", "n_below_synthetic_real"] == 1


def test_new_samples_are_not_flagged_and_repeat_scans_do_not_count(corpus):
    tokens, volumes, samples, table = corpus
    found = audit_samples(tokens, volumes, samples, table, MemorizationSettings())
    real = found[(found["comparison"] == "real-real") & (found["pool"] == "all")]
    people = volumes.set_index("volume_id")["person_id"]
    assert (people[real["item_id"]].to_numpy() != people[real["nearest_id"]].to_numpy()).all()
    assert real["distance"].min() > 1
    splits = volumes.set_index("volume_id")["split"]
    assert set(splits[found["nearest_id"]]) == {"train"}
    summary = summarise_audit(found).set_index("pool")
    assert summary.loc["all", "n_below_synthetic_real"] == 0
    assert summary.loc["all", "ratio"] > 1
    assert summary.loc["all", "n_held_out_real"] == (volumes["split"] == "test").sum()


def test_each_modality_has_its_own_pool_and_threshold(corpus):
    tokens, volumes, samples, table = corpus
    found = audit_samples(tokens, volumes, samples, table, MemorizationSettings())
    assert set(found["pool"]) == {"all", "T1", "T2"}
    modality = volumes.set_index("volume_id")["modality"]
    within = found[found["pool"] == "T2"]
    assert set(modality[within["nearest_id"]]) == {"T2"} == set(within["modality"])
    real = within.loc[within["comparison"] == "real-real", "distance"]
    assert within["threshold"].iloc[0] == pytest.approx(np.percentile(real, 1.0))


def test_shapes_that_do_not_fit_are_one_sentence(corpus):
    tokens, volumes, samples, table = corpus
    with pytest.raises(ContractError, match="rerun the diffusion stage"):
        audit_samples(tokens, volumes, samples[:, :3], table, MemorizationSettings())
    with pytest.raises(ContractError, match="20 samples for 19 rows"):
        audit_samples(tokens, volumes, samples, table.iloc[1:], MemorizationSettings())


def test_the_command_line_writes_the_table(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    tokens, volumes, samples, table = corpus
    np.save("tokens.npy", tokens)
    np.savez("samples.npz", tokens=samples)
    for name, (kind, _) in CONTRACTS["volume_list"].items():
        if name not in volumes:
            volumes[name] = {str: "", int: 0, float: np.nan}[kind]
    volumes.to_parquet("volumes.parquet")
    table.to_parquet("samples.parquet")
    paths = ["--tokens", "tokens.npy", "--volume-list", "volumes.parquet", "--samples", "samples.npz"]
    app(
        ["audit", *paths, "--table", "samples.parquet", "--distances", "out.parquet"],
        result_action="return_value",
    )
    assert len(read_table("out.parquet", "memorization"))
