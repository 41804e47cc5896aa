"""The commands read their files, pass on the settings, and write what the parts give."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_dit import SETTINGS, D

from braing3n.config import TokenizerSettings
from braing3n.core.contracts import read_table
from braing3n.core.errors import ContractError
from braing3n.core.runtime import digest_file
from braing3n.diffusion import sample as sampling
from braing3n.diffusion.command import app
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.model import DiT
from braing3n.diffusion.train import train_dit
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import load_model
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights
from braing3n.volumes.contracts import VOLUME_LIST

RUN_SETTINGS = SETTINGS.model_copy(update={"seed": 11})  # not the defaults
AS_JSON = RUN_SETTINGS.as_json()
SAMPLING = SETTINGS.sampling.model_copy(update={"seed": 12})


@pytest.fixture
def run_dir(tmp_path, monkeypatch, latents):
    """A folder with what the commands read; returns (run a command, the tokenizer, the labels)."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerSettings(d=D, widths=(8, 4), n_blocks=1), 12, 4, latents.grid)
    write_weights(
        tmp_path / "tokenizer.safetensors", tokenizer.state_dict(), "Tokenizer", tokenizer.describe()
    )
    labels = latents.labels
    for contract in (LABELS, VOLUME_LIST):
        known = labels.assign(person_id=labels["volume_id"], group_id=labels["volume_id"])
        for name, (kind, _) in contract.items():
            if name not in known:
                known[name] = {str: "", int: 0, float: np.nan}[kind]
        known[list(contract)].to_parquet(f"{contract.name}.parquet")
    np.save("tokens.npy", latents.tokens)

    def run(command, *arguments):
        app([command, *arguments], result_action="return_value")

    return run, tokenizer.eval(), read_table("labels.parquet", LABELS)


MODELS = ["--tokenizer", "tokenizer.safetensors"]


def train(run, weights="dit.safetensors"):
    given = ["--tokens", "tokens.npy", *MODELS, "--volume-list", "volume_list.parquet"]
    given += ["--labels", "labels.parquet", "--settings", AS_JSON]
    run("train", *given, "--checkpoints", "runs", "--weights", weights)


def sample(run):
    given = ["--weights", "dit.safetensors", *MODELS, "--labels", "labels.parquet"]
    outputs = ["--samples", "samples.npz", "--table", "samples.parquet", "--picture", "samples.png"]
    run("sample", *given, *outputs, "--settings", SAMPLING.as_json())


def test_the_weights_are_those_of_the_trainer(run_dir, latents, tmp_path):
    run, _, labels = run_dir
    train(run)
    latents.labels = labels
    train_dit(
        latents, RUN_SETTINGS, tmp_path / "own", tmp_path / "own.safetensors", [tmp_path / "tokens.npy"]
    )
    ours, expected = (
        load_model(DiT, "dit.safetensors").state_dict(),
        load_model(DiT, "own.safetensors").state_dict(),
    )
    assert set(ours) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0)


def test_the_samples_are_those_of_the_arms_that_training_has(run_dir):
    run, _, labels = run_dir
    train(run)
    sample(run)
    model = load_model(DiT, "dit.safetensors")
    arms, absent = sampling.choose_arms(model, labels)
    rows = sampling.list_samples(arms, SAMPLING.n_samples)
    expected = sampling.sample_tokens(model, rows, SAMPLING, torch.device("cpu"))
    with np.load("samples.npz") as file:
        np.testing.assert_array_equal(file["tokens"], expected)
    pd.testing.assert_frame_equal(read_table("samples.parquet", SAMPLES), rows, check_dtype=False)
    assert json.loads(Path("samples_absent.json").read_text()) == absent != {}
    assert Path("samples.png").read_bytes()[:4] == b"\x89PNG"


def test_labels_of_other_volumes_are_one_sentence(run_dir):
    run, _, labels = run_dir
    labels.iloc[::-1].reset_index(drop=True).to_parquet("labels.parquet")
    with pytest.raises(ContractError, match="its rows are not those of volume_list"):
        train(run)


def test_a_trained_model_is_taken_as_it_is(run_dir):
    run, *_ = run_dir
    train(run)
    run("take", "--given", "dit.safetensors", "--weights", "taken.safetensors")
    assert digest_file("taken.safetensors") == digest_file("dit.safetensors")
