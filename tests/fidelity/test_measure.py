"""Arms select what their names say, and a missing part has a reason."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.config import FidelitySettings, PretrainSettings, TokenizerSettings
from braing3n.contracts import CONTRACTS, check_table, read_table
from braing3n.errors import CheckpointError, ContractError
from braing3n.fidelity.arms import ARMS, select_real, select_samples
from braing3n.fidelity.command import app
from braing3n.fidelity.encode import encode_decoded
from braing3n.fidelity.measure import NO_RECONSTRUCTIONS, QUANTITY, measure_arms
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights

BY_TITLE = {arm.title: arm for arm in ARMS}
NULL = {"disease": "", "sex": "", "site": "", "age_years": np.nan, "idh1": ""}


def make_samples():
    """Four samples an arm but FLAIR, which has none, and four under a site, which belong to no arm."""
    rows = []
    for arm in ARMS:
        if arm.conditions and arm.title != "Modality FLAIR":
            rows += [{**NULL, **arm.conditions}] * 4
    rows += [{**NULL, "modality": "T1", "site": "S0"}] * 4
    return pd.DataFrame(rows).assign(sample_id=lambda frame: [f"s{k}" for k in range(len(frame))])


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    n = 120
    labels = pd.DataFrame(
        {
            "person_id": [f"p{k // 2}" for k in range(n)],
            "modality": np.where(np.arange(n) % 2, "T1", "T1c"),
            "dx": np.where(np.arange(n) // 2 % 3, "HC", "GBM"),
            "sex": np.where(np.arange(n) // 2 % 2, "F", "M"),
            "age_years": rng.uniform(20, 80, n),
            "idh1": np.where(np.arange(n) // 2 % 3, "", "wildtype"),
        }
    )
    return labels, rng.normal(size=(n, 16)), make_samples()


def test_the_arms_are_the_papers_thirteen_and_two_pools():
    assert len(ARMS) == 15
    assert sum(not arm.conditions for arm in ARMS) == 2


def test_samples_belong_to_the_arm_of_exactly_their_conditions():
    samples = make_samples()
    counts = {arm.title: int(select_samples(arm, samples).sum()) for arm in ARMS}
    pooled = {title: counts.pop(title) for title in ("T1 pooled", "Pooled across all arms")}
    assert counts.pop("Modality FLAIR") == 0
    assert set(counts.values()) == {4}
    assert pooled == {"T1 pooled": 32, "Pooled across all arms": 48}
    tumour = pd.DataFrame(
        [{**NULL, "idh1": "mutant", "modality": "T1c", "disease": dx} for dx in ("GBM", "HC")]
    )
    assert select_samples(BY_TITLE["IDH1 mutant (T1c, GBM)"], tumour).tolist() == [True, False]


def test_real_volumes_answer_to_the_arm(corpus):
    labels, _, _ = corpus
    aged = labels[select_real(BY_TITLE["Age 50 (T1)"], labels, 5.0)]
    assert aged["age_years"].between(45, 55).all()
    assert set(aged["modality"]) == {"T1"}
    tumours = labels[select_real(BY_TITLE["IDH1 wildtype (T1c, GBM)"], labels, 5.0)]
    assert set(tumours["dx"]) == {"GBM"}
    assert set(tumours["modality"]) == {"T1c"}
    assert select_real(BY_TITLE["Pooled across all arms"], labels, 5.0).all()


def test_a_set_drawn_from_the_real_law_is_near_the_floor_and_another_is_not(corpus):
    labels, real, samples = corpus
    rng = np.random.default_rng(1)
    generated = rng.normal(size=(len(samples), 16))
    near = measure_arms(generated, samples, real, real, labels, FidelitySettings())
    far = measure_arms(generated + 3, samples, real, None, labels, FidelitySettings())
    check_table(near, "distances", "near")
    title = "Pooled across all arms"
    near, far = (frame.set_index(["arm", "comparison"]) for frame in (near, far))
    row = near.loc[(title, "gen-vs-real")]
    assert row["value"] < 2 * row["floor"]
    assert row["quantity"] == QUANTITY
    assert (row["n_people"], row["n_volumes"], row["n_samples"], row["n_features"]) == (60, 120, 48, 16)
    assert far.loc[(title, "gen-vs-real"), "value"] > 10 * row["floor"]
    assert near.loc[(title, "recons-vs-real"), "value"] == pytest.approx(0, abs=1e-8)
    assert near.loc[("Modality T1", "gen-vs-real"), "rank"] == 3


def test_what_is_missing_has_a_reason(corpus):
    labels, real, samples = corpus
    table = measure_arms(np.zeros((len(samples), 16)), samples, real, None, labels, FidelitySettings())
    reason = table.set_index(["arm", "comparison"])["reason"]
    assert reason[("Sex F (T1)", "gen-vs-recons")] == NO_RECONSTRUCTIONS
    assert reason[("Disease AD (T1)", "gen-vs-real")] == "0 real people, fewer than 4"
    assert reason[("Modality FLAIR", "gen-vs-real")] == "0 real people, fewer than 4"
    t1c = labels.assign(modality="FLAIR")
    table = measure_arms(np.zeros((len(samples), 16)), samples, real, None, t1c, FidelitySettings())
    assert table.set_index(["arm", "comparison"])["reason"][("Modality FLAIR", "gen-vs-real")] == (
        "0 samples of this arm"
    )
    assert (table["value"].isna() == (table["reason"] != "")).all()


def test_lengths_that_differ_are_one_sentence(corpus):
    labels, real, samples = corpus
    with pytest.raises(ContractError, match="differ in length"):
        measure_arms(np.zeros((3, 16)), samples, real, None, labels, FidelitySettings())


def make_models():
    torch.manual_seed(0)
    sizes = {"patch_size": 8, "depth": 1, "width": 24, "n_heads": 2}
    sizes |= {"decoder_depth": 1, "decoder_width": 24, "decoder_n_heads": 2}
    encoder = MaskedAutoencoder(PretrainSettings(**sizes), (16, 16, 16))
    tokenizer = Tokenizer(TokenizerSettings(d=4, widths=(16, 8, 8), n_blocks=1), 24, 8, encoder.grid)
    return encoder.eval(), tokenizer.eval()


def test_the_command_line_writes_the_table(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    labels, _, samples = corpus
    encoder, tokenizer = make_models()
    record = {"settings": encoder.settings.model_dump(mode="json"), "shape": [16, 16, 16]}
    write_weights(Path("encoder.safetensors"), encoder.state_dict(), "MaskedAutoencoder", record)
    write_weights(Path("tokenizer.safetensors"), tokenizer.state_dict(), "Tokenizer", tokenizer.describe())
    labels = labels.assign(volume_id=[f"v{k}" for k in range(len(labels))], split="train")
    for name, (kind, _) in CONTRACTS["labels"].items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    labels.to_parquet("labels.parquet")
    samples.to_parquet("samples.parquet")
    rng = np.random.default_rng(0)
    np.save("tokens.npy", rng.normal(size=(len(labels), 8, 4)).astype(np.float16))
    np.savez("samples.npz", tokens=rng.normal(size=(len(samples), 8, 4)).astype(np.float32))
    features = rng.normal(size=(len(labels), 24)).astype(np.float32)
    np.savez("features.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)
    names = ("samples.npz", "encoder.safetensors", "tokenizer.safetensors", "features.npz", "labels.parquet")
    arguments = [part for name in names for part in (f"--{name.split('.')[0]}", name)]
    arguments += ["--table", "samples.parquet", "--tokens", "tokens.npy", "--distances", "out.parquet"]
    app(["measure", *arguments], result_action="return_value")
    found = read_table("out.parquet", "distances").set_index(["arm", "comparison"])
    assert (found.loc["Sex F (T1)", "value"] > 0).all()


def test_features_are_the_mean_token_of_the_decoded_volume():
    encoder, tokenizer = make_models()
    tokens = np.random.default_rng(0).normal(size=(5, 8, 4)).astype(np.float16)
    features = encode_decoded(tokens, encoder, tokenizer, FidelitySettings(batch_size=2), "test")
    with torch.no_grad():
        volume = tokenizer.decode(torch.tensor(tokens[3:4].astype(np.float32)))
        expected = encoder.encode(volume).mean(dim=1)[0].numpy()
    np.testing.assert_allclose(features[3], expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(CheckpointError, match="do not fit"):
        encode_decoded(tokens[:, :, :3], encoder, tokenizer, FidelitySettings(), "test")
    half = encode_decoded(tokens, encoder, tokenizer, FidelitySettings(precision="bfloat16"), "test")
    assert half.dtype == np.float32
    errors = np.abs(half - features) / features.std()
    assert 1e-4 < errors.mean() < 3e-2  # bfloat16 keeps three digits, and it was asked for
