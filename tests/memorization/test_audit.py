"""Neighbours are exact, a group's own scans do not count, and a planted copy is found."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.spatial.distance import cdist
from scipy.stats import beta, binom

from braing3n.config import MemorizationSettings
from braing3n.core.contracts import check_table, read_table
from braing3n.core.errors import ContractError
from braing3n.memorization import neighbours
from braing3n.memorization.audit import audit_samples
from braing3n.memorization.command import app
from braing3n.memorization.contracts import MEMORIZATION
from braing3n.memorization.neighbours import find_nearest
from braing3n.memorization.summary import summarise_audit
from braing3n.volumes.contracts import VOLUME_LIST

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
            "group_id": [f"g{k}" for k in people],
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


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_pool_that_asks_about_itself_is_compared_once_and_left_as_it_was(monkeypatch, dtype):
    """The same answers as of a copy, and half of the products."""
    monkeypatch.setattr(neighbours, "_N_BLOCK", 7)
    read = neighbours._read
    seen = []
    monkeypatch.setattr(
        neighbours, "_read", lambda rows, start, centre: seen.append(start) or read(rows, start, centre)
    )
    pool = np.random.default_rng(1).normal(3, 1, size=(31, 50)).astype(dtype)
    before, owner = pool.copy(), np.arange(31) // 2
    one = find_nearest(pool, pool, owner, owner, "test")
    n_once = len(seen)
    other = find_nearest(pool, pool.copy(), owner, owner, "test")
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (n_once, len(seen) - n_once) == (5 + 10, 5 + 25)
    np.testing.assert_array_equal(pool, before)


def test_the_nearest_is_found_far_from_the_origin():
    """Squares of 10^9 in float32 differ by hundreds; about the pool's mean they do not."""
    rng = np.random.default_rng(4)
    pool = 5000 + rng.normal(size=(200, 40))
    queries = 5000 + rng.normal(size=(30, 40))
    nobody = np.full(30, -1), np.arange(200)
    nearest, distance = find_nearest(queries, pool, *nobody, "test")
    expected = cdist(queries, pool)
    np.testing.assert_array_equal(nearest, expected.argmin(axis=1))
    np.testing.assert_allclose(distance, expected.min(axis=1), rtol=1e-12)


def test_more_rivals_than_candidates_do_not_hide_the_nearest():
    """Twelve rows of the query's own owner lie nearest; float32 cannot tell the next twelve apart."""
    rng = np.random.default_rng(2)
    query = 1000 + rng.normal(size=(1, 40))
    own = query + rng.normal(scale=1e-3, size=(12, 40))
    near = query + np.linspace(1.0, 1.0 + 1e-7, 12)[:, None] * np.eye(12, 40)
    far = query + rng.normal(scale=5, size=(30, 40))
    pool, owner = np.concatenate([own, far, near]), np.array([0] * 12 + [1] * 42)
    nearest, distance = find_nearest(query, pool, np.array([0]), owner, "test")
    assert nearest[0] >= 42
    assert distance[0] == pytest.approx(1.0, abs=1e-6)


def test_the_latents_are_never_copied_whole(monkeypatch, tmp_path, corpus):
    """At the paper's size they are 2.7 GB in half precision; here 3 MB, on disk."""
    monkeypatch.setattr(neighbours, "_N_BLOCK", 16)
    n, n_numbers = 400, 4000
    path = tmp_path / "tokens.npy"
    tokens = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(n, 10, n_numbers // 10))
    rng = np.random.default_rng(0)
    for start in range(0, n, 50):
        tokens[start : start + 50] = rng.normal(size=(50, 10, n_numbers // 10))
    ids = [f"v{k}" for k in range(n)]
    volumes = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    volumes["split"] = np.where(np.arange(n) % 5, "train", "test")
    table = pd.DataFrame({"sample_id": ["s0"], "modality": ["T1"]})
    tokens = np.load(path, mmap_mode="r")
    tracemalloc.start()
    found = audit_samples(tokens, volumes, tokens[:1].astype(np.float32), table, MemorizationSettings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.9 * tokens.nbytes
    assert len(found) == 2 * (n + 1)


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
        audit_samples(tokens, volumes, samples, table, MemorizationSettings()), MEMORIZATION, "audit"
    )
    synthetic = found[(found["comparison"] == "synthetic-real") & (found["pool"] == "all")].set_index(
        "item_id"
    )
    assert synthetic.index[synthetic["is_below_threshold"]].tolist() == ["s4"]
    assert volumes.set_index("volume_id").loc[synthetic.loc["s4", "nearest_id"], "person_id"] == "p7"
    summary = summarise_audit(found).set_index("pool")
    assert summary.loc["all", "n_below_synthetic_real"] == 1


def test_reconstructions_and_forecasts_are_audited_as_samples_are(corpus):
    """A reconstruction belongs to nobody, so its own volume is found; a forecast is of a held-out person."""
    tokens, volumes, samples, table = corpus
    rebuilt = tokens[[2, 7]].astype(np.float32) + 1e-3
    nobody = {"person_id": "", "group_id": ""}
    items = pd.DataFrame({"item_id": ["v2", "v7"], **nobody, "modality": ["T1", "T2"]})
    forecast = tokens[[9]].astype(np.float32) + 0.5
    whose = pd.DataFrame({"item_id": ["f"], "person_id": ["p9"], "group_id": ["g9"], "modality": ["T1"]})
    more = {"reconstructed-real": (rebuilt, items), "forecast-real": (forecast, whose)}
    found = audit_samples(tokens, volumes, samples, table, MemorizationSettings(), more)
    own = check_table(found, MEMORIZATION, "audit").set_index(["pool", "comparison"])
    assert own.loc[("all", "reconstructed-real"), "is_below_threshold"].all()
    nearest = own.loc[("all", "reconstructed-real"), "nearest_id"]
    people = volumes.set_index("volume_id")["person_id"]
    assert people[nearest].tolist() == ["p2", "p7"]
    assert own.loc[[("T2", "reconstructed-real")], "item_id"].tolist() == ["v7"]
    row = own.loc[[("all", "forecast-real")]].iloc[0]
    pool = tokens[(volumes["split"] == "train").to_numpy()].reshape(-1, N_TOKENS * D).astype(float)
    assert row["distance"] == pytest.approx(cdist(forecast.reshape(1, -1), pool).min(), rel=1e-6)
    assert not row["is_below_threshold"]
    counts = summarise_audit(found).set_index("pool").loc["all"]
    assert (counts["n_below_reconstructed_real"], counts["n_below_forecast_real"]) == (2, 0)


def test_one_brain_under_two_ids_is_not_its_own_neighbour():
    """4 pairs that share only their group, beside 400 people: the threshold and the copies found stay."""
    rng = np.random.default_rng(0)
    brains = rng.normal(size=(400, N_TOKENS, 48))
    again = brains[:4] + rng.normal(scale=0.05, size=(4, N_TOKENS, 48))
    copies = (brains[100:132] + rng.normal(scale=0.3, size=(32, N_TOKENS, 48))).astype(np.float32)
    table = pd.DataFrame({"sample_id": [f"s{k}" for k in range(32)], "modality": "T1"})
    person = np.arange(404)
    volumes = pd.DataFrame({"volume_id": person.astype(str), "person_id": person.astype(str)})
    volumes = volumes.assign(group_id=(person % 400).astype(str), modality="T1", split="train")
    summaries = []
    for n in (400, 404):
        tokens = np.concatenate([brains, again])[:n]
        found = audit_samples(tokens, volumes[:n], copies, table, MemorizationSettings())
        summaries.append(summarise_audit(found).set_index("pool").loc["all"])
    without, beside = summaries
    assert without["n_below_synthetic_real"] == beside["n_below_synthetic_real"] == 32
    assert beside["threshold"] == pytest.approx(without["threshold"], rel=0.01)
    assert without["n_people_of_shared_groups"] == 0
    assert beside["n_people_of_shared_groups"] == 8


def test_a_group_in_training_and_held_out_stops_the_audit(corpus):
    tokens, volumes, samples, table = corpus
    volumes.loc[volumes["group_id"] == "g9", "group_id"] = "g8"
    with pytest.raises(ContractError, match="group g8 is in training and held out"):
        audit_samples(tokens, volumes, samples, table, MemorizationSettings())


@pytest.mark.parametrize("percentile", [1.0, 20.0])
def test_every_row_agrees_with_all_distances(corpus, percentile):
    """The whole table once more, from one matrix of distances."""
    tokens, volumes, samples, table = corpus
    samples[3] = tokens[5]
    found = audit_samples(tokens, volumes, samples, table, MemorizationSettings(percentile=percentile))
    found = check_table(found, MEMORIZATION, "audit").set_index(["pool", "comparison", "item_id"])
    flat = tokens.reshape(60, -1).astype(np.float64)
    everything = np.concatenate([flat, samples.reshape(20, -1).astype(np.float64)])
    distances = cdist(everything, flat)
    groups, splits = volumes["group_id"].to_numpy(), volumes["split"].to_numpy()
    distances[:60][groups[:, None] == groups[None, :]] = np.inf
    modality = np.concatenate([volumes["modality"], table["modality"]])
    ids = np.concatenate([volumes["volume_id"], table["sample_id"]])
    kind = np.array(
        ["real-real" if split == "train" else "held-out-real" for split in splits] + ["synthetic-real"] * 20
    )
    n_rows = 0
    for pool in ("all", "T1", "T2"):
        is_here = np.full(80, True) if pool == "all" else modality == pool
        columns = np.flatnonzero((splits == "train") & is_here[:60])
        nearest = columns[distances[:, columns].argmin(axis=1)]
        distance = distances[:, columns].min(axis=1)
        threshold = np.percentile(distance[is_here & (kind == "real-real")], percentile)
        for k in np.flatnonzero(is_here):
            row = found.loc[(pool, kind[k], ids[k])]
            assert row["nearest_id"] == ids[nearest[k]]
            assert row["distance"] == pytest.approx(distance[k], rel=1e-9)
            assert row["threshold"] == pytest.approx(threshold, rel=1e-9)
            assert row["is_below_threshold"] == (distance[k] < threshold)
            assert row["modality"] == modality[k]
            owner = ("", "") if k >= 60 else tuple(volumes.loc[k, ["person_id", "group_id"]])
            assert tuple(row[["person_id", "group_id"]]) == owner
        n_rows += is_here.sum()
    assert len(found) == n_rows


def test_without_a_training_volume_there_is_no_row(corpus):
    tokens, volumes, samples, table = corpus
    found = audit_samples(tokens, volumes.assign(split="test"), samples, table, MemorizationSettings())
    assert len(check_table(found, MEMORIZATION, "audit")) == 0
    assert len(summarise_audit(found)) == 0


def test_without_a_sample_the_real_rows_stay(corpus):
    tokens, volumes, samples, table = corpus
    found = audit_samples(tokens, volumes, samples[:0], table[:0], MemorizationSettings())
    assert set(check_table(found, MEMORIZATION, "audit")["comparison"]) == {"real-real", "held-out-real"}


def list_rows(comparison, distances, people, threshold=2.0):
    """Rows of the audit, one a distance."""
    frame = pd.DataFrame({"comparison": comparison, "distance": distances, "person_id": people})
    frame = frame.assign(pool="T1", group_id=people, threshold=threshold, percentile=1.0)
    return frame.assign(is_below_threshold=frame["distance"] < threshold)


def test_the_summary_against_numbers_from_a_calculator():
    table = pd.concat(
        [
            list_rows("real-real", [1.0, 3.0, 4.0, 8.0], ["a", "b", "b", "c"]),
            list_rows("held-out-real", [1.0, 3.0, 6.0, 7.0, 9.0], ["d", "d", "e", "f", "g"]),
            list_rows("synthetic-real", [1.0, 1.5, 6.5], ["", "", ""]),
        ]
    )
    table.loc[table["person_id"] == "c", "group_id"] = "a"
    row = summarise_audit(table).set_index("pool").loc["T1"]
    expected = {
        "threshold": 2.0,
        **{"n_real_real": 4, "mean_real_real": 4.0, "median_real_real": 3.5, "min_real_real": 1.0},
        **{"n_held_out_real": 5, "mean_held_out_real": 5.2, "median_held_out_real": 6.0},
        **{"n_synthetic_real": 3, "mean_synthetic_real": 3.0, "median_synthetic_real": 1.5},
        **{"min_held_out_real": 1.0, "min_synthetic_real": 1.0, "ratio": 0.75, "ratio_held_out": 1.3},
        **{"max_real_real": 8.0, "max_held_out_real": 9.0, "max_synthetic_real": 6.5, "percentile": 1.0},
        **{"n_below_real_real": 1, "n_below_held_out_real": 1, "n_below_synthetic_real": 2},
        # Half of d lies below, of four people: one in eight, of three samples.
        **{"n_held_out_people": 4, "n_below_expected": 0.375, "n_people_of_shared_groups": 2},
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected)


def test_an_image_that_is_there_twice_is_counted():
    """Of the pool, and of the samples: nearer than a tenth of the median distance between people."""
    table = pd.concat(
        [
            list_rows("real-real", [0.0, 0.29, 3.0, 3.0, 4.0], list("abcde")),
            list_rows("synthetic-real", [0.31, 0.2, 3.0], ["", "", ""]),
        ]
    )
    row = summarise_audit(table).iloc[0]
    assert (row["n_duplicates"], row["n_identical"]) == (2, 1)


@pytest.mark.parametrize(("n_people", "n_below", "n_samples"), [(40, 0, 64), (200, 6, 64), (12, 3, 20)])
def test_the_interval_of_the_expected_number_is_the_binomial_one_over_the_held_out_rate(
    n_people, n_below, n_samples
):
    """The law of the count by numerical integration over the rate that n_below of n_people leave open."""
    held_out = np.where(np.arange(n_people) < n_below, 1.0, 3.0)
    people = [f"p{k}" for k in range(n_people)]
    table = pd.concat(
        [
            list_rows("real-real", [3.0, 3.0], ["a", "b"]),
            list_rows("held-out-real", held_out, people),
            list_rows("synthetic-real", np.full(n_samples, 3.0), [""] * n_samples),
        ]
    )
    row = summarise_audit(table).iloc[0]
    rate = beta(n_below + 0.5, n_people - n_below + 0.5)
    middle = rate.mean() + 20 * rate.std()

    def reach(k):
        """How likely k samples or fewer are."""
        return quad(lambda p: binom.cdf(k, n_samples, p) * rate.pdf(p), 0, min(1, middle), limit=200)[0]

    assert reach(row["n_below_high"]) >= 0.975 > reach(row["n_below_high"] - 1)
    assert reach(row["n_below_low"]) >= 0.025
    assert row["n_below_low"] == 0 or reach(row["n_below_low"] - 1) < 0.025
    assert row["n_below_expected"] == pytest.approx(n_samples * n_below / n_people)


def test_without_held_out_people_nothing_is_expected():
    table = pd.concat(
        [list_rows("real-real", [3.0, 3.0], ["a", "b"]), list_rows("synthetic-real", [3.0], [""])]
    )
    row = summarise_audit(table).iloc[0]
    assert row["n_held_out_people"] == 0
    assert np.isnan(row[["n_below_expected", "n_below_low", "n_below_high"]].astype(float)).all()


def test_new_samples_are_not_flagged_and_repeat_scans_do_not_count(corpus):
    tokens, volumes, samples, table = corpus
    found = audit_samples(tokens, volumes, samples, table, MemorizationSettings())
    real = found[(found["comparison"] == "real-real") & (found["pool"] == "all")]
    assert real["distance"].min() > 1
    summary = summarise_audit(found).set_index("pool")
    assert summary.loc["all", "n_below_synthetic_real"] == 0
    assert summary.loc["all", "ratio"] > 1
    assert set(summary.index) == {"all", "T1", "T2"}


def test_shapes_that_do_not_fit_are_one_sentence(corpus):
    tokens, volumes, samples, table = corpus
    with pytest.raises(
        ContractError, match=r"latents are \(6, 8\) and samples \(3, 8\); rerun the diffusion"
    ):
        audit_samples(tokens, volumes, samples[:, :3], table, MemorizationSettings())
    with pytest.raises(ContractError, match="20 samples for 19 rows"):
        audit_samples(tokens, volumes, samples, table.iloc[1:], MemorizationSettings())
    with pytest.raises(ContractError, match="60 latents for 59 volumes"):
        audit_samples(tokens, volumes[1:], samples, table, MemorizationSettings())


def test_the_command_line_writes_the_table(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    tokens, volumes, samples, table = corpus
    np.save("tokens.npy", tokens)
    np.savez("samples.npz", tokens=samples)
    for name, (kind, _) in VOLUME_LIST.items():
        if name not in volumes:
            volumes[name] = {str: "", int: 0, float: np.nan}[kind]
    volumes.to_parquet("volumes.parquet")
    table.to_parquet("samples.parquet")
    paths = ["--tokens", "tokens.npy", "--volume-list", "volumes.parquet", "--samples", "samples.npz"]
    settings = ["--settings", '{"percentile": 20}']
    app(
        ["measure", *paths, "--distances", "out.parquet", *settings],
        result_action="return_value",
    )
    expected = audit_samples(tokens, volumes, samples, table, MemorizationSettings(percentile=20))
    pd.testing.assert_frame_equal(read_table("out.parquet", MEMORIZATION), expected, check_dtype=False)
    app(
        ["measure", *paths, "--distances", "out.parquet"],
        result_action="return_value",
    )
    expected = audit_samples(tokens, volumes, samples, table, MemorizationSettings())
    pd.testing.assert_frame_equal(read_table("out.parquet", MEMORIZATION), expected, check_dtype=False)
