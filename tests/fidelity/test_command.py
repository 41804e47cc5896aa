"""The command decodes what is measured, where the models are, and nothing else."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braing3n import training
from braing3n.config import FidelitySettings, PretrainSettings, TokenizerSettings
from braing3n.core.contracts import read_table
from braing3n.core.errors import CheckpointError, ContractError, ResourceError
from braing3n.diffusion.contracts import SAMPLES
from braing3n.fidelity.arms import FID, KID, MEDICALNET, RADIMAGENET, SIMILARITY
from braing3n.fidelity.command import app
from braing3n.fidelity.contracts import ANATOMY, DISTANCES, SEGMENTED
from braing3n.fidelity.encode import encode_decoded
from braing3n.fidelity.measure import MORE, QUANTITY, measure_arms
from braing3n.manifest.contracts import LABELS
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights

from .invented import Levels, make_corpus

QUANTITIES = {QUANTITY, *MORE.quantities, SIMILARITY, FID, KID, RADIMAGENET, MEDICALNET}


def make_models():
    torch.manual_seed(0)
    sizes = {"patch_size": 8, "depth": 1, "width": 24, "n_heads": 2}
    sizes |= {"decoder_depth": 1, "decoder_width": 24, "decoder_n_heads": 2}
    encoder = MaskedAutoencoder(PretrainSettings(**sizes), (16, 16, 16))
    tokenizer = Tokenizer(TokenizerSettings(d=4, widths=(16, 8, 8), n_blocks=1), 24, 8, encoder.grid)
    return encoder.eval(), tokenizer.eval()


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A folder with what the command reads; returns (run it, the models, tokens and labels)."""
    monkeypatch.chdir(tmp_path)
    labels, _, samples = make_corpus()
    encoder, tokenizer = make_models()
    record = {"settings": encoder.settings.model_dump(mode="json"), "shape": [16, 16, 16]}
    write_weights(Path("encoder.safetensors"), encoder.state_dict(), "MaskedAutoencoder", record)
    write_weights(Path("tokenizer.safetensors"), tokenizer.state_dict(), "Tokenizer", tokenizer.describe())
    labels = labels.assign(volume_id=[f"v{k}" for k in range(len(labels))], split="train")
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    labels.to_parquet("labels.parquet")
    samples = samples.assign(sample_id=[f"s{k}" for k in range(len(samples))], arm="T1")
    for name, (kind, _) in SAMPLES.items():
        if name not in samples:
            samples[name] = "" if kind is str else np.nan
    samples.to_parquet("samples.parquet")
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(len(labels), 8, 4)).astype(np.float16)
    np.save("tokens.npy", tokens)
    np.savez("samples.npz", tokens=tokens[:1].repeat(len(samples), axis=0).astype(np.float32))
    features = rng.normal(size=(len(labels), 24)).astype(np.float32)
    np.savez("features.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)

    def run(*more):
        names = ("samples.npz", "encoder.safetensors", "tokenizer.safetensors", "features.npz")
        arguments = [part for name in names for part in (f"--{name.split('.')[0]}", name)]
        arguments += ["--labels", "labels.parquet", "--table", "samples.parquet", *more]
        app(["measure", *arguments, "--distances", "out.parquet"], result_action="return_value")
        return read_table("out.parquet", DISTANCES)

    return run, encoder, tokenizer, tokens, labels, features, samples


def test_the_command_line_writes_what_the_parts_give(run_dir):
    run, encoder, tokenizer, tokens, labels, features, samples = run_dir
    found = run("--tokens", "tokens.npy", "--settings", '{"n_draws": 7, "n_real": 9, "batch_size": 50}')
    with torch.no_grad():
        volumes = tokenizer.decode(torch.tensor(tokens.astype(np.float32)))
        decoded = encoder.encode(volumes).mean(dim=1).numpy()
        again = tokenizer.project(encoder.encode(volumes)).numpy()
    with np.load("decoded.npz") as file:
        rows, kept = file["reconstructions_rows"], file["reconstructions_tokens"]
    assert len(rows) > 9
    np.testing.assert_allclose(kept, again[rows], rtol=2e-3, atol=2e-3)
    generated = decoded[:1].repeat(len(samples), axis=0)
    settings = FidelitySettings(n_draws=7, n_real=9)
    expected = measure_arms(generated, samples, features, decoded, labels, settings)
    assert set(found["quantity"]) == QUANTITIES
    others = found[found["quantity"] != QUANTITY]
    found = found[found["quantity"] == QUANTITY].reset_index(drop=True)
    for column in ("value", "floor", "floor_low", "floor_high"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, atol=1e-6)
    assert found["value"].notna().sum() > 20
    for quantity, start in (
        (
            FID,
            "fidelity.inception_weights: no file is named; it is weights-inception-2015-12-05-6726825d.pth",
        ),
        (
            RADIMAGENET,
            "fidelity.radimagenet_weights: no file is named; it is RadImageNet_pytorch/ResNet50.pt",
        ),
        (MEDICALNET, "fidelity.medicalnet_weights: no file is named; it is pretrain/resnet_50.pth"),
    ):
        rows = others[others["quantity"] == quantity]
        assert rows["reason"].str.startswith(start).all()
        assert rows["value"].isna().all()
        assert set(rows["reference"]) == {"corpus", "training", "held-out"}
    assert set(run().loc[lambda frame: frame["reason"] == "", "comparison"]) == {
        "gen-vs-real",
        "gen-vs-recons",
    }


def test_tokens_of_other_volumes_are_one_sentence(run_dir):
    run, *_, tokens, _, _, _ = run_dir
    np.save("tokens.npy", tokens[1:])
    with pytest.raises(ContractError, match="its rows are not those of labels"):
        run("--tokens", "tokens.npy")


def test_features_are_the_mean_token_of_the_decoded_volume():
    encoder, tokenizer = make_models()
    tokens = np.random.default_rng(0).normal(size=(5, 8, 4)).astype(np.float16)
    rows = np.array([3, 0, 4])
    features = encode_decoded(tokens, rows, encoder, tokenizer, FidelitySettings(batch_size=2), "test")
    with torch.no_grad():
        volumes = tokenizer.decode(torch.tensor(tokens[rows].astype(np.float32)))
        expected = encoder.encode(volumes).mean(dim=1).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6)
    assert encode_decoded(
        tokens, rows[:0], encoder, tokenizer, FidelitySettings(batch_size=2), "test"
    ).shape == (0, 24)
    with pytest.raises(CheckpointError, match="do not fit"):
        encode_decoded(tokens[:, :, :3], rows, encoder, tokenizer, FidelitySettings(), "test")
    half = encode_decoded(tokens, rows, encoder, tokenizer, FidelitySettings(precision="bfloat16"), "test")
    assert half.dtype == np.float32
    errors = np.abs(half - features) / features.std()
    assert 1e-4 < errors.mean() < 3e-2  # bfloat16 keeps three digits, and it was asked for


class Elsewhere:
    """Models on another device that note what they are given."""

    n_tokens, n_channels, settings = 8, 4, PretrainSettings(width=24)
    positions = torch.empty(0, device="meta")

    def __init__(self):
        self.seen = []

    def decode(self, tokens):
        self.seen.append((len(tokens), tokens.device.type, tokens.dtype))
        return tokens

    def encode(self, volumes):
        return torch.ones(len(volumes), 8, 24)


def test_batches_go_to_the_models_device_one_after_the_other(monkeypatch):
    monkeypatch.setattr(training, "autocast", lambda device, options: nullcontext())  # none for `meta`
    models = Elsewhere()
    encode_decoded(
        np.zeros((9, 8, 4), np.float16),
        np.arange(1, 8),
        models,
        models,
        FidelitySettings(batch_size=3),
        "test",
    )
    assert models.seen == [(n, "meta", torch.float32) for n in (3, 3, 1)]


def test_the_command_uses_the_device_that_there_is(run_dir, monkeypatch):
    devices = []

    def record(tokens, rows, encoder, tokenizer, watchers, **_):
        for watch in watchers:
            watch(rows, np.zeros((len(rows), 16, 16, 16), np.float32))
        devices.extend([encoder.positions.device.type, tokenizer.patch_head.weight.device.type])
        return np.random.default_rng(0).normal(size=(len(rows), 24))

    monkeypatch.setattr(training, "open_accelerator", lambda: SimpleNamespace(device=torch.device("meta")))
    monkeypatch.setattr("braing3n.fidelity.encode.encode_decoded", record)
    run_dir[0]("--tokens", "tokens.npy")
    assert devices == ["meta"] * 4


def refuse(settings_dir):
    raise ResourceError(f"{settings_dir}: the templates are not there")


class Whole:
    """In the place of MedicalNet: mean and deviation of a whole volume of levels."""

    def encode(self, volumes):
        assert [volume.shape for volume in volumes] == [(16, 16, 16)]
        return np.array([[volume.mean(), volume.std()] for volume in volumes], np.float32)


def test_the_command_measures_each_network_whose_weights_are_there(run_dir, monkeypatch):
    """Packed volumes, small networks in the others' place, and what was n/a; one file is not there."""
    run, *_, labels, _, _ = run_dir
    rng = np.random.default_rng(0)
    real = rng.normal(size=(len(labels), 16, 16, 16)).astype(np.float32)

    class Packed:
        def __init__(self, volume_list, volumes_dir):
            assert (str(volume_list), str(volumes_dir)) == ("run/manifest/volume_list.parquet", "run/volumes")

        def load(self, i):
            return real[i], np.ones(real.shape[1:], bool)

    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", Packed)
    monkeypatch.setattr("braing3n.nets.inception.Inception", lambda path, device: Levels())
    opened = []
    monkeypatch.setattr(
        "braing3n.nets.medical.MedicalNet", lambda *given: opened.append(given[:2]) or Whole()
    )
    for name in ("inception.pth", "medicalnet.pth"):
        Path(name).write_bytes(b"")
    files = {f"{name}_weights": f"{name}.pth" for name in ("inception", "medicalnet", "radimagenet")}
    settings = json.dumps({"n_draws": 5, **files, "medicalnet_sha256": "abc"})
    monkeypatch.setattr("braing3n.fidelity.anatomy.watch.open_atlas", refuse)
    found = run("--tokens", "tokens.npy", "--results", "run", "--settings", settings)
    anatomy = read_table("anatomy.parquet", ANATOMY)
    assert set(anatomy["reason"]) == {"run/settings: the templates are not there"}
    assert len(read_table("segmented.parquet", SEGMENTED)) == 0
    found = found[found["reference"] == "corpus"].set_index(["quantity", "arm", "comparison"]).sort_index()
    for quantity, n_features in ((FID, 4), (MEDICALNET, 2)):
        row = found.loc[quantity]
        assert row.loc[("Sex F (T1)", "gen-vs-real"), "value"] > 0
        assert row.loc[("Sex F (T1)", "recons-vs-real"), "value"] > 0
        assert row.loc[("Sex F (T1)", "gen-vs-real"), "n_features"] == n_features
    assert opened == [(Path("medicalnet.pth"), "abc")]
    reasons = set(found.loc[RADIMAGENET, "reason"])
    assert len(reasons) == 1
    assert reasons.pop().startswith("fidelity.radimagenet_weights: radimagenet.pth does not exist; it is ")
    without = run("--tokens", "tokens.npy", "--settings", settings)
    reasons = without.loc[without["quantity"] == FID, "reason"]
    assert set(reasons) == {"no --results given"}
    assert set(read_table("anatomy.parquet", ANATOMY)["reason"]) == {"no --results given"}
