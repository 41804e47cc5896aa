"""The commands read their files, draw what is missing, and write what the parts give."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from invented_people import make_labels

from braing3n.config import (
    ControlSettings,
    DiffusionSettings,
    PretrainSettings,
    ProbeSettings,
    TokenizerSettings,
)
from braing3n.control.command import app
from braing3n.control.contracts import CONTROL, COUNTERFACTUALS, GUIDANCE, JUDGED, SWEPT, USEFULNESS
from braing3n.control.draw import FILES, is_own, list_swept, locate, open_tokens, read_samples
from braing3n.control.judge import choose_real, decode_coarsely, judge_samples
from braing3n.control.read import Decoder, list_others
from braing3n.core.contracts import read_table
from braing3n.core.errors import ContractError
from braing3n.diffusion import sample as sampling
from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.model import DiT
from braing3n.diffusion.settings import SamplingSettings
from braing3n.fidelity.coarse import CoarseVolumes, coarsen
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights

PROBE = ProbeSettings(n_pca_components=10)
DRAWING = SamplingSettings(n_samples=3, n_steps=4, guidance=2.0, precision="float32")
SETTINGS = ControlSettings.model_validate(
    {
        "n_ceiling": 3,
        "n_draws": 20,
        "scales": {"n_samples": 2, "n_steps": 3, "guidance": [1.5, 2.0]},
        "counterfactuals": {"n_people": 2, "n_steps": 6, "changes": ["sex"]},
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the commands read."""
    folder = tmp_path_factory.mktemp("control")
    for path in ("settings", *FILES.values()):
        (folder / path).parent.mkdir(exist_ok=True)
    sections = {
        "control": SETTINGS,
        "diffusion.sampling": DRAWING,
        "probe": ProbeSettings(n_pca_components=10),
    }
    (folder / "settings").mkdir()
    for name, section in sections.items():
        (folder / f"settings/{name}.json").write_text(section.as_json())
    torch.manual_seed(0)
    sizes = {"patch_size": 8, "depth": 1, "width": 24, "n_heads": 2}
    sizes |= {"decoder_depth": 1, "decoder_width": 24, "decoder_n_heads": 2}
    encoder = MaskedAutoencoder(PretrainSettings(**sizes), (16, 16, 16))
    tokenizer = Tokenizer(TokenizerSettings(d=4, widths=(16, 8, 8), n_blocks=1), 24, 8, encoder.grid)
    labels = make_labels().head(150)
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    labels[list(LABELS)].to_parquet(locate(folder, "labels"))
    settings = DiffusionSettings(depth=1, width=16, n_heads=2, diseases=("HC", "AD", "GBM"), n_sites=1)
    dit = DiT(settings, build_vocabularies(labels, settings), 4, encoder.grid)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    record = {"settings": encoder.settings.model_dump(mode="json"), "shape": [16, 16, 16]}
    write_weights(locate(folder, "encoder"), encoder.state_dict(), "MaskedAutoencoder", record)
    for name, model in (("tokenizer", tokenizer), ("dit", dit)):
        write_weights(locate(folder, name), model.state_dict(), type(model).__name__, model.describe())
    rng = np.random.default_rng(0)
    np.save(locate(folder, "tokens"), rng.normal(size=(len(labels), 8, 4)).astype(np.float16))
    features = rng.normal(size=(len(labels), 24)).astype(np.float32)
    np.savez(locate(folder, "features"), volume_id=labels["volume_id"].to_numpy(str), features=features)
    arms, absent = sampling.choose_arms(dit, labels)
    table = sampling.list_samples(arms, DRAWING.n_samples)
    sampling.write_samples(dit, table, DRAWING, torch.device("cpu"), locate(folder, "samples"), [])
    sampling.write_table_of_samples(table, absent, folder / "diffusion/samples.parquet")
    return folder


@pytest.fixture(scope="module")
def done(folder):
    """The folder after both commands."""
    for command in ("sample", "read"):
        app([command, "--results", str(folder)], result_action="return_value")
    return folder


def test_every_table_and_picture_is_written(done):
    contracts = {"scores": CONTROL, "guidance": GUIDANCE, "counterfactuals": COUNTERFACTUALS}
    found = {name: read_table(done / f"control/{name}.parquet", kind) for name, kind in contracts.items()}
    assert set(found["scores"]["reading"]) == set(found["guidance"]["reading"]) == {"encoder", "latent"}
    assert sorted(found["guidance"]["guidance"].unique()) == [1.5, 2.0]
    assert set(found["counterfactuals"]["change"]) == {"none", "sex"}
    for name in ("scores", "counterfactuals", "one_noise"):
        assert (done / f"control/{name}.png").read_bytes()[:4] == b"\x89PNG"
    own = found["scores"].set_index(["task", "reading"]).loc[("F vs M", "encoder")]
    assert (own["n_cond"], own["n_null"]) == (6, 3)
    assert 0 < own["n_ceiling"] < own["n_real"]
    absent = found["scores"].set_index(["task", "reading"]).loc[("HC vs PD", "latent")]
    assert absent["cond_reason"] == "disease-PD: PD is no disease that the model was configured for"


def test_the_added_samples_are_those_of_the_sampler(done):
    model = load_model(DiT, locate(done, "dit"))
    table, swept = (
        read_table(done / "control/samples.parquet", SAMPLES),
        read_table(done / "control/swept.parquet", SWEPT),
    )
    assert set(table["arm"]) == {"null-disease", "null-sex", "null-age", "null-idh1"}
    expected = sampling.sample_tokens(model, table, DRAWING, torch.device("cpu"))
    np.testing.assert_array_equal(np.load(locate(done, "more"))["tokens"], expected)
    assert set(json.loads((done / "control/samples_absent.json").read_text())) == {
        "disease-MCI",
        "disease-PD",
    }
    first, second = (swept[swept["guidance"] == scale] for scale in (1.5, 2.0))
    assert first["sample_id"].tolist() == second["sample_id"].tolist()
    options = DRAWING.model_copy(update={"n_steps": 3, "guidance": 1.5})
    expected = sampling.sample_tokens(model, first, options, torch.device("cpu"))
    np.testing.assert_allclose(np.load(locate(done, "swept"))["tokens"][first.index], expected, atol=1e-5)


def test_the_judgement_is_that_of_the_decoded_samples(done):
    labels = read_table(locate(done, "labels"), LABELS)
    tokenizer, probe = load_model(Tokenizer, locate(done, "tokenizer")), PROBE
    rows, cpu = choose_real(labels, probe.seed), torch.device("cpu")
    real = decode_coarsely(tokenizer, np.load(locate(done, "tokens"))[rows], cpu)
    sampled = decode_coarsely(tokenizer, np.load(locate(done, "samples"))["tokens"], cpu)
    expected = judge_samples(
        real, labels.iloc[rows], sampled, read_table(done / "diffusion/samples.parquet", SAMPLES), probe
    )
    found = read_table(done / "control/judged.parquet", JUDGED)
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-4)
    assert found["value"].notna().any()


def test_samples_are_tried_on_a_probe_and_on_a_network(done):
    found = read_table(done / "control/usefulness.parquet", USEFULNESS)
    assert set(found["learner"]) == {"probe", "network"}
    few = found[(found["task"] == "F vs M") & (found["n_rare"] == 4)].set_index(["learner", "trained_on"])
    assert few["auc"].between(0, 1).all()
    assert few.loc[("probe", "both"), "n_samples"] == few.loc[("network", "both"), "n_samples"] == 3
    assert few.loc["network", "n_held_out"].iloc[0] == few.loc["probe", "n_held_out"].iloc[0]


def test_samples_of_mci_and_pd_are_left_on_coarse_voxels_for_the_memorization_audit(folder):
    """Each as the models decode it, by its row in control's table; null sets are not among them."""
    arms = [
        sampling.Arm("null-sex", "T1"),
        sampling.Arm("disease-MCI", "T1"),
        sampling.Arm("disease-PD", "T1"),
    ]
    own = sampling.list_samples([sampling.Arm("sex-F", "T1")], 2)
    table = pd.concat([own, sampling.list_samples(arms, 2)], ignore_index=True)
    swept = sampling.list_samples([sampling.Arm("disease-MCI", "T1")], 1)
    table = pd.concat([table.assign(is_main=True), swept.assign(is_main=False)], ignore_index=True)
    assert list_others(table, 2).tolist() == [4, 5, 6, 7]
    model = Decoder(locate(folder, "encoder"), locate(folder, "tokenizer"), SETTINGS)
    tokens = np.random.default_rng(0).normal(size=(len(table), 8, 4)).astype(np.float32)
    kept = CoarseVolumes(list_others(table, 2))
    model.encode(tokens, watchers=[kept])
    assert kept.rows == [4, 5, 6, 7]
    for volume, image in zip(kept.volumes, model.decode(tokens[4:8]), strict=True):
        np.testing.assert_allclose(volume, coarsen(image, 1), atol=1e-2)


def test_a_run_without_these_arms_leaves_an_empty_file(done):
    with np.load(done / "control/decoded.npz") as file:
        assert len(file["samples_rows"]) == len(file["samples"]) == 0


def test_a_scale_that_the_run_has_is_not_drawn_again(folder):
    same = SETTINGS.scales.model_copy(update={"n_steps": DRAWING.n_steps})
    assert is_own(2.0, same, DRAWING)
    assert not is_own(1.5, same, DRAWING)
    assert not is_own(2.0, SETTINGS.scales, DRAWING)
    assert set(list_swept(list(sampling.ARMS), same, DRAWING)["guidance"]) == {1.5}
    assert list_swept(list(sampling.ARMS), same.model_copy(update={"guidance": (2.0,)}), DRAWING).empty
    arms = set(list_swept(list(sampling.ARMS), SETTINGS.scales, DRAWING)["arm"])
    assert len(arms) == 9
    assert not any(arm.startswith("modality") for arm in arms)


def test_samples_of_the_run_stand_for_its_own_scale(done):
    tokens, table, absent = read_samples(done, DRAWING, SETTINGS.scales)
    assert len(tokens) == len(table)
    assert not table.loc[table["is_main"], "is_scaled"].any()
    same = SETTINGS.scales.model_copy(update={"n_steps": DRAWING.n_steps})
    table = read_samples(done, DRAWING, same)[1]
    assert table.loc[table["is_main"], "is_scaled"].all()
    assert set(absent) >= {"disease-MCI", "disease-PD"}


def test_tokens_of_other_volumes_are_one_sentence(folder, tmp_path):
    labels = read_table(locate(folder, "labels"), LABELS)
    (tmp_path / "latents").mkdir()
    np.save(locate(tmp_path, "tokens"), np.zeros((3, 8, 4)))
    with pytest.raises(ContractError, match="its rows are not those of the label table"):
        open_tokens(tmp_path, labels)
