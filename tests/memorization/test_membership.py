"""Membership inference finds a generator that copies, and nothing where there is nothing to find."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from braing3n.config import DiffusionSettings, MemorizationSettings, OptimiserSettings
from braing3n.core.contracts import check_table
from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.model import DiT
from braing3n.diffusion.sample import Arm, list_samples, sample_tokens
from braing3n.diffusion.train import Latents, train_dit
from braing3n.memorization.audit import audit_samples
from braing3n.memorization.contracts import MEMBERSHIP
from braing3n.memorization.membership import compute_auc, infer_membership
from braing3n.nets.weights import load_model

SHAPE, GRID = (8, 3), (2, 2, 2)
SETTINGS = MemorizationSettings()
DIT = DiffusionSettings(
    depth=2,
    width=48,
    n_heads=2,
    diseases=("HC", "AD"),
    n_sites=1,
    optimiser=OptimiserSettings(
        lr=4e-3,
        batch_size=64,
        n_epochs=400,
        n_warmup_epochs=10,
        precision="float32",
        gradient_clip=1.0,
        validate_every_epochs=400,
        checkpoint_every_steps=400,
    ),
)


def make_people(n_train, n_held_out, seed=0):
    """A T1 of each person, latents that are normal, and what the DiT is conditioned on."""
    n = n_train + n_held_out
    ids = [f"v{k}" for k in range(n)]
    volumes = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    volumes["split"] = np.where(np.arange(n) < n_train, "train", "test")
    volumes = volumes.assign(dx="", sex="", site="", idh1="", age_years=np.nan)
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float16), volumes


def list_unconditional(n):
    return list_samples([Arm("all", "T1")], n)


def find(table, comparison, pool="all"):
    return table.set_index(["pool", "comparison"]).loc[(pool, comparison)]


def test_the_auc_is_that_of_all_pairs_within_a_modality():
    rng = np.random.default_rng(0)
    distance = rng.integers(0, 9, 60).astype(float)
    is_member, stratum = rng.random(60) < 0.4, rng.choice(["T1", "T2", "FLAIR"], 60)
    shares = [
        (distance[i] < distance[j]) + 0.5 * (distance[i] == distance[j])
        for i in np.flatnonzero(is_member)
        for j in np.flatnonzero(~is_member)
        if stratum[i] == stratum[j]
    ]
    assert compute_auc(distance, is_member, stratum) == pytest.approx(np.mean(shares))
    assert np.isnan(compute_auc(distance, np.ones(60, bool), stratum))


def test_distances_are_to_samples_of_the_same_modality():
    tokens, volumes = make_people(30, 20)
    volumes["modality"] = np.where(np.arange(50) % 3 == 0, "T2", "T1")
    samples = np.random.default_rng(1).normal(size=(12, *SHAPE)).astype(np.float32)
    samples[1::2] += 1  # all are far from a T2
    table = list_unconditional(12).assign(modality=["T1", "T2"] * 6)
    found = check_table(infer_membership(tokens, volumes, samples, table, SETTINGS), MEMBERSHIP, "test")
    for modality in ("T1", "T2"):
        here, asked = volumes["modality"] == modality, table["modality"] == modality
        distance = cdist(tokens[here].reshape(-1, 24), samples[asked].reshape(-1, 24)).min(axis=1)
        row = find(found, "samples", modality)
        assert row["auc"] == pytest.approx(roc_auc_score(volumes.loc[here, "split"] == "train", -distance))
        assert (row["n_members"], row["n_others"]) == tuple(
            volumes.loc[here, "split"].value_counts()[["train", "test"]]
        )
        assert row["n_samples"] == 6
    alone = found[(found["comparison"] == "samples") & (found["pool"] != "all")]
    n_pairs = alone["n_members"] * alone["n_others"]  # none is of two modalities
    expected = (alone["auc"] * n_pairs).sum() / n_pairs.sum()
    assert find(found, "samples")["auc"] == pytest.approx(expected)
    one = infer_membership(tokens, volumes, samples, table.assign(modality="T1"), SETTINGS)
    assert set(one["pool"]) == {"all", "T1"}


def test_a_persons_second_scan_changes_nothing_but_the_number_of_volumes():
    """People are drawn and halved with all that they have; another seed halves them otherwise."""
    tokens, volumes = make_people(30, 20)
    samples, table = np.random.default_rng(1).normal(size=(9, *SHAPE)), list_unconditional(9)
    once = infer_membership(tokens, volumes, samples, table, SETTINGS)
    both = pd.concat([volumes, volumes.assign(volume_id=volumes["volume_id"] + "b")], ignore_index=True)
    twice = infer_membership(np.concatenate([tokens, tokens]), both, samples, table, SETTINGS)
    for name in ("auc", "low", "high", "n_people"):
        np.testing.assert_allclose(twice[name].astype(float), once[name].astype(float), err_msg=name)
    assert (twice["n_members"] == 2 * once["n_members"]).all()
    other = infer_membership(
        tokens, volumes, samples, table, SETTINGS.model_copy(update={"seed": SETTINGS.seed + 1})
    )
    assert find(other, "members only")["auc"] != find(once, "members only")["auc"]
    assert find(other, "samples")["auc"] == find(once, "samples")["auc"]


def test_an_untrained_generator_is_at_chance():
    """Over 40 corpora: the mean within three standard errors of .5, and about 95 % of the intervals hold it.

    Its statistics of the tokens are unset: the training mean alone gives .545 here, where people are noise.
    """
    aucs, is_held = [], []
    for seed in range(40):
        tokens, volumes = make_people(60, 40, seed)
        torch.manual_seed(seed)
        model = DiT(DIT, build_vocabularies(volumes, DIT), SHAPE[1], GRID)
        table = list_unconditional(30)
        options = DIT.sampling.model_copy(update={"n_steps": 2, "precision": "float32", "seed": seed})
        samples = sample_tokens(model.eval(), table, options, torch.device("cpu")).numpy()
        found = infer_membership(tokens, volumes, samples, table, SETTINGS)
        row = find(found, "samples")
        aucs.append(row["auc"])
        is_held += [bool(part.low <= 0.5 <= part.high) for part in found.itertuples() if part.pool == "all"]
    assert abs(np.mean(aucs) - 0.5) < 3 * np.std(aucs) / np.sqrt(40)
    assert np.mean(is_held) > 0.85


def test_a_generator_that_copies_is_found_and_the_control_stays_at_chance():
    tokens, volumes = make_people(60, 40)
    samples = tokens[:60].astype(np.float32) + 0.3
    found = infer_membership(tokens, volumes, samples, list_unconditional(60), SETTINGS)
    assert find(found, "samples")["auc"] == 1.0
    control = find(found, "members only")
    assert control["low"] <= 0.5 <= control["high"]
    assert control["n_members"] == control["n_others"] == 30


def test_without_held_out_people_there_is_a_reason():
    tokens, volumes = make_people(20, 0)
    samples = tokens[:4].astype(np.float32)
    row = find(infer_membership(tokens, volumes, samples, list_unconditional(4), SETTINGS), "samples")
    assert np.isnan(row["auc"])
    assert row["reason"] == "20 volumes against 0"


def test_a_dit_that_is_overfitted_on_8_latents_is_flagged(tmp_path):
    """At least 90 % of its samples are copies, and every training person is given away."""
    tokens, volumes = make_people(8, 40)
    (tmp_path / "list").write_text("what is trained on")
    weights = tmp_path / "dit.safetensors"
    rows = np.tile(np.arange(8), 8)  # each eight times, so that a step has eight noises of each
    seen = Latents(tokens[rows], GRID, volumes.iloc[rows].reset_index(drop=True))
    train_dit(seen, DIT, tmp_path / "runs", weights, [tmp_path / "list"])
    model, table = load_model(DiT, weights), list_unconditional(40)
    options = DIT.sampling.model_copy(update={"n_steps": 30, "guidance": 1.0, "precision": "float32"})
    samples = sample_tokens(model, table, options, torch.device("cpu")).numpy()
    found = audit_samples(tokens, volumes, samples, table, SETTINGS)
    is_all = found["pool"] == "all"
    flagged = found[is_all].groupby("comparison")["is_below_threshold"].mean()
    assert flagged["synthetic-real"] >= 0.9
    assert flagged["held-out-real"] < 0.3
    assert find(infer_membership(tokens, volumes, samples, table, SETTINGS), "samples")["auc"] > 0.95
