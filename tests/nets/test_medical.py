"""RadImageNet's and MedicalNet's networks: the user's file, the published input, and no other."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from braing3n.core.errors import CheckpointError
from braing3n.nets import medical
from braing3n.nets.foreign import inputs
from braing3n.nets.foreign.resnet import ResNet, build_medicalnet

torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
OFFICIAL = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scramble(network):
    """Random running moments, so that a norm that is not loaded shows."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def theirs():
    """torchvision's ResNet-50 with random weights."""
    torch.manual_seed(0)
    return scramble(torchvision.models.resnet50(weights=None))


@pytest.fixture(scope="module")
def files(theirs, tmp_path_factory):
    """The same tensors with the official names and as safetensors with torchvision's, classifier and all."""
    folder, state = tmp_path_factory.mktemp("weights"), theirs.state_dict()
    official = {}
    for name, tensor in state.items():
        part, rest = name.split(".", 1)
        if part in OFFICIAL:
            official[f"backbone.{OFFICIAL[part]}.{rest}"] = tensor
    torch.save(official, folder / "ResNet50.pt")
    save_file(state, folder / "resnet50.safetensors")
    return folder / "ResNet50.pt", folder / "resnet50.safetensors"


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((40, 48), (48, 40))]


@torch.no_grad()
def test_features_are_those_of_torchvisions_net_on_the_published_input(theirs, files, images):
    expected, kept = [], []
    theirs.avgpool.register_forward_hook(lambda module, given, found: kept.append(found.flatten(1)))
    for image in images:
        scaled = (torch.tensor(image.astype(np.float32)) - 127.5) * 2 / 255
        resized = functional.interpolate(scaled[None, None], (224, 224), mode="bilinear", align_corners=False)
        theirs(resized.repeat(1, 3, 1, 1))
        expected.append(kept[-1][0].numpy())
    for path in files:
        found = medical.RadImageNet(path, digest(path)[:8]).encode(images)
        assert found.shape == (2, 2048)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_another_file_is_refused_by_its_digest_with_source_and_licence(files, tmp_path):
    with pytest.raises(
        CheckpointError, match=r"begin with 08629f7e; get RadImageNet_pytorch.*for research alone"
    ):
        medical.RadImageNet(files[0])
    with pytest.raises(CheckpointError, match=r"no such file; it would be pretrain/resnet_50.pth.*\(MIT\)"):
        medical.MedicalNet(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="begin with 5b6189ca"):
        medical.MedicalNet(files[0])


@pytest.mark.parametrize("change", [{}, {"backbone.8.weight": torch.zeros(1)}], ids=["fewer", "more"])
def test_a_file_of_another_net_and_one_that_runs_code_are_refused(files, tmp_path, change):
    state = torch.load(files[0], weights_only=True)
    torch.save(dict(list(state.items())[not change :]) | change, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="does not fit ResNet"):
        medical.RadImageNet(tmp_path / "other.pt", digest(tmp_path / "other.pt"))
    torch.save({"code": pytest.raises}, tmp_path / "code.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        medical.RadImageNet(tmp_path / "code.pt", digest(tmp_path / "code.pt"))


@torch.no_grad()
def test_a_volume_is_seen_by_medicalnets_dilated_net_z_scored_where_it_is_above_0(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "FULL_SHAPE", (32, 40, 36))
    torch.manual_seed(0)
    network = scramble(build_medicalnet())
    path = tmp_path / "resnet_50.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    levels = np.random.default_rng(0).uniform(0.1, 1, (32, 40, 36)).astype(np.float32)
    levels[:8] = 0
    found = medical.MedicalNet(path, digest(path)[:12]).encode([levels, levels / 2])
    inside = levels[levels > 0]
    seen = np.where(levels > 0, (levels - inside.mean()) / inside.std(), 0)
    expected = network(torch.tensor(seen)[None, None]).mean(dim=(2, 3, 4))
    np.testing.assert_allclose(found[:1], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)  # a gain is not seen
    strided = ResNet()
    strided.load_state_dict(network.state_dict())
    other = strided.eval()(torch.tensor(seen)[None, None]).mean(dim=(2, 3, 4))
    assert np.abs(found[:1] - other.numpy()).max() > 0.01
