"""Weights that are not there are a reason in place of features; unsafe and broken files are refused."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.cli import main
from braing3n.config import load_config
from braing3n.core.errors import CheckpointError, ConfigurationError, MissingWeightsError
from braing3n.core.runtime import digest_file
from braing3n.encoders import list_encoders, list_weights, load
from braing3n.latents.cache import write_features
from braing3n.probe.plan import load_features, read_reason, read_weights

WITH_WEIGHTS = [name for name in list_encoders("foreign") if name != "braindino"]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_missing_weights_say_where_to_get_them_and_under_which_licence(name, compute, tmp_path):
    release = load(name).RELEASE
    assert release.encoder == name
    for path, fault in ((None, "no file is named"), (tmp_path / "absent.pt", "absent.pt does not exist")):
        with pytest.raises(MissingWeightsError) as caught:
            compute(name, path)
        for part in (f"latents.foreign.weights.{name}: ", fault, release.address, release.licence):
            assert part in str(caught.value)


def test_braindino_waits_for_weights(compute):
    with pytest.raises(MissingWeightsError, match="its weights are not published"):
        compute("braindino", None)


def test_weights_are_named_for_encoders_of_others_only(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("latents: {foreign: {weights: {voxels: a.pt}}}")
    with pytest.raises(ConfigurationError, match=r"'voxels' is no encoder of others \(braindino, "):
        load_config(path)


def test_a_file_of_weights_is_an_input_where_it_is_there(tmp_path):
    (tmp_path / "a.pt").write_text("")
    weights = {"brainiac": str(tmp_path / "a.pt"), "medicalnet": str(tmp_path / "absent.pt")}
    assert list_weights("brainiac", weights) == [str(tmp_path / "a.pt")]
    assert list_weights("medicalnet", weights) == list_weights("openmind", weights) == []


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_another_file_than_the_digest_says_is_refused_in_one_sentence(name, compute, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"of the user")
    found, other = digest_file(path), "0" * 64
    with pytest.raises(CheckpointError) as caught:
        compute(name, path, sha256={name: other})
    assert str(caught.value).startswith(
        f"{name}: {path} has sha256 {found}, but latents.foreign.sha256.{name}"
    )
    assert f"says {other}; get " in str(caught.value)
    assert "\n" not in str(caught.value)
    for given in ({name: found.upper()}, {}):  # of the right bytes, or of no digest, the content is at fault
        with pytest.raises(CheckpointError, match="cannot be read as weights"):
            compute(name, path, sha256=given)


def test_digests_are_named_for_encoders_of_others_only(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("latents: {foreign: {sha256: {voxels: abc}}}")
    with pytest.raises(ConfigurationError, match=r"'voxels' is no encoder of others \(braindino, "):
        load_config(path)


class Code:
    """What a pickle can hold: a call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_archive", [True, False])
@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_file_with_code_is_refused_and_nothing_runs(name, is_archive, compute, tmp_path):
    content = {"state_dict": {"a": torch.zeros(3)}, "hyper_parameters": Code(tmp_path / "ran")}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=is_archive)
    fault = r"a\.pt: holds more than tensors \(\w+\.mkdir\), which may run code"
    with pytest.raises(CheckpointError, match=fault) as caught:
        compute(name, tmp_path / "a.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("is_archive", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused_in_one_sentence(share, is_archive, compute, tmp_path):
    path, content = tmp_path / "a.pt", {"state_dict": {"backbone.a": torch.ones(99, 99)}}
    torch.save(content, path, _use_new_zipfile_serialization=is_archive)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    fault = r"a\.pt: cannot be read as weights \(it is damaged, cut short"
    with pytest.raises(CheckpointError, match=fault) as caught:
        compute("brainiac", path)
    assert "\n" not in str(caught.value)


class Listed:
    """Packed volumes of which only the list is read."""

    def __init__(self, *_):
        self.table = pd.DataFrame({"volume_id": ["a", "b"]})

    def __len__(self):
        return 2

    def digest(self):
        return "of the list"


def test_the_features_of_an_encoder_without_weights_are_a_reason(tmp_path, monkeypatch, capsys):
    """The command that the DAG runs ends well and writes the file that the DAG waits for."""
    monkeypatch.setattr("braing3n.volumes.dataset.PackedVolumes", Listed)
    settings = {"latents": "{}", "latents.foreign": '{"weights": {"medicalnet": "absent.pth"}}'}
    for section, text in settings.items():
        (tmp_path / f"{section}.json").write_text(text)
    given = ["--volume-list", "list.parquet", "--volumes-dir", "volumes", "--settings"]
    given += [str(tmp_path / f"{section}.json") for section in settings]
    out = tmp_path / "features.npz"
    assert main(["latents", "features", "--name", "medicalnet", "--features", str(out), *given]) == 0
    assert "warning: no features of medicalnet, whose scores will be n/a" in capsys.readouterr().out
    assert "absent.pth does not exist; resnet_50.pth" in read_reason(out)
    assert load_features(out, Listed().table).shape == (2, 0)


def test_features_have_no_reason(tmp_path):
    write_features(np.array(["a", "b"]), np.eye(2), tmp_path / "some.npz")
    assert read_reason(tmp_path / "some.npz") == read_weights(tmp_path / "some.npz") == ""
