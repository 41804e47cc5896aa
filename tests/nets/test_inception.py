"""Inception's weights are the user's file: checked, strict, and never replaced by others."""

import hashlib

import numpy as np
import pytest
import torch

from braing3n.core.errors import CheckpointError, MissingPackageError
from braing3n.nets import inception

pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of random weights in the network's layout; its digest is taken for the right one."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Network

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: {})
        patch.setattr(Network, "load_state_dict", lambda *_, **__: None)
        network = Network("inception", ["2048"], "none")
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(inception, "SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return path, network


def test_features_are_those_of_torch_fidelity_image_by_image(weights):
    path, network = weights
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 30), (20, 30), (40, 30))]
    found = inception.Inception(path).encode(images)
    assert found.shape == (3, 2048)
    for row, image in zip(found, images, strict=True):
        expected = network(torch.from_numpy(np.repeat(image[None, None], 3, axis=1)))[0][0]
        np.testing.assert_allclose(row, expected.numpy(), rtol=1e-3, atol=1e-5)


def test_another_file_is_refused_by_its_digest(weights, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"does not begin with 6726825d; get weights-inception-2015"):
        inception.Inception(weights[0])
    with pytest.raises(CheckpointError, match="there is no such file; it would be weights-inception"):
        inception.Inception(weights[0].with_name("none.pth"))


def test_a_layout_with_other_keys_and_a_file_that_runs_code_are_refused(weights, monkeypatch, tmp_path):
    path, network = weights
    state = network.state_dict()
    for change in ({"more": torch.zeros(1)}, {}):
        changed = dict(list(state.items())[1:]) | change
        torch.save(changed, path)
        monkeypatch.setattr(inception, "SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
        with pytest.raises(CheckpointError, match="does not fit Inception V3"):
            inception.Inception(path)
    torch.save({"code": pytest.raises}, path)
    monkeypatch.setattr(inception, "SHA256_PREFIX", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    with pytest.raises(CheckpointError, match="does not fit Inception V3"):
        inception.Inception(path)


def test_a_missing_package_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(MissingPackageError, match=r"pip install '\.\[fidelity\]'"):
        inception.Inception(tmp_path / "weights.pth")
