"""The folder of baselines is the registry: a further one trains, is cached and loads without another line."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from braing3n import training
from braing3n.config import LatentsSettings, OptimiserSettings, PretrainSettings, TokenizerSettings
from braing3n.core.errors import CheckpointError, ConfigurationError
from braing3n.nets.weights import load_model
from braing3n.sweep import baselines
from braing3n.sweep.baseline import Baseline
from braing3n.sweep.budget import describe_baseline, match_budget
from braing3n.sweep.cache import cache_baseline
from braing3n.sweep.train import train_baseline

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes

pytestmark = pytest.mark.usefixtures("one_thread")


class CubeSettings(baselines.BaselineSettings):
    edge: int = 2


SETTINGS = CubeSettings(
    patience=99,
    optimiser=OptimiserSettings(lr=0.05, batch_size=4, n_epochs=8, precision="float32", weight_decay=0.0),
)


def build_cubes(settings, shape):
    """A gain and an offset for the averages of cubes."""
    net = torch.nn.Linear(1, 1)
    net.edge = settings.edge
    return net


def encode_cubes(net, volume):
    return net(functional.avg_pool3d(volume, net.edge)[..., None])[..., 0]


def decode_cubes(net, latent):
    return functional.interpolate(latent, scale_factor=net.edge)


@pytest.fixture
def cubes(monkeypatch):
    """A second baseline, `cubes`, in the folder's listing."""
    functions = SimpleNamespace(
        SETTINGS=CubeSettings,
        build=build_cubes,
        shape_latent=lambda settings, shape: (1, *(n // settings.edge for n in shape)),
        encode=encode_cubes,
        decode=decode_cubes,
        forward=lambda net, settings, volume, noise: (
            decode_cubes(net, encode_cubes(net, volume)),
            net.weight.square().sum(),
        ),
        list_blocks=lambda net: [],
        count_parameters=lambda net: {"encoder": 2, "decoder": 0},
    )
    monkeypatch.setitem(sys.modules, "braing3n.sweep.baselines.cubes", functions)
    monkeypatch.setattr(baselines, "list_baselines", lambda: ["akl", "cubes"])
    baselines.load.cache_clear()
    yield functions
    baselines.load.cache_clear()


def test_the_baselines_are_the_files_of_the_folder():
    assert baselines.list_baselines() == ["akl"]
    with pytest.raises(ConfigurationError, match=r"'vq' is no file of braing3n/sweep/baselines \(akl\)"):
        baselines.load("vq")


def test_reading_the_configuration_imports_no_network():
    code = "import sys, braing3n.config; print(sorted({'torch', 'monai'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_another_baseline_learns_by_its_penalty_is_cached_and_described(cubes, tmp_path):
    volumes, source = InventedVolumes(), tmp_path / "list"
    source.write_text("")
    path = tmp_path / "cubes.safetensors"
    train_baseline("cubes", volumes, SETTINGS, tmp_path / "runs", path, [source])
    net = load_model(Baseline, path)
    assert (net.name, net.settings, net.latent_shape, net.n_numbers) == ("cubes", SETTINGS, (1, 4, 4, 4), 64)
    (run,) = (tmp_path / "runs").iterdir()
    found = np.genfromtxt(run / "loss.csv", delimiter=",", skip_header=1)

    rows = training.find_rows(volumes.table, "train")
    first = training.plan_batches(rows, SETTINGS.optimiser, SETTINGS.seed)[0]
    torch.manual_seed(SETTINGS.seed)
    start = Baseline("cubes", SETTINGS, (8, 8, 8))
    batch = torch.from_numpy(np.stack([volumes.images[i] for i in first]))[:, None]
    image, penalty = start.reconstruct(batch), start.net.weight.square().sum()
    assert found[0, 1] == pytest.approx(((image - batch).abs().mean() + penalty).item(), rel=1e-4)

    cache_baseline(net, volumes, LatentsSettings(), tmp_path / "l.npy", [source], torch.device("cpu"))
    averages = np.stack([image.reshape(4, 2, 4, 2, 4, 2).mean((1, 3, 5)) for image in volumes.images])
    expected = averages * net.net.weight.item() + net.net.bias.item()
    assert np.allclose(np.load(tmp_path / "l.npy")[:, 0], expected, atol=2e-3)

    compute = match_budget("cubes", SETTINGS, PretrainSettings(), TokenizerSettings(), (32, 32, 32), "epochs")
    assert describe_baseline(net, path, compute, "epochs")["training"]["epochs"] == "8 of 180"


def test_weights_of_a_baseline_that_is_gone_are_refused_by_name(cubes, tmp_path, monkeypatch):
    net, path = Baseline("cubes", SETTINGS, (8, 8, 8)), tmp_path / "a.safetensors"
    training.write_weights(path, net.state_dict(), "Baseline", net.describe())
    assert load_model(Baseline, path).latent_shape == (1, 4, 4, 4)
    monkeypatch.setattr(baselines, "list_baselines", lambda: ["akl"])
    baselines.load.cache_clear()
    message = rf"{re.escape(str(path))}: .*'cubes' is no file of .*; train it again"
    with pytest.raises(CheckpointError, match=message):
        load_model(Baseline, path)
    record = net.describe()
    del record["baseline"]
    training.write_weights(path, net.state_dict(), "Baseline", record)
    with pytest.raises(CheckpointError, match="its record lacks 'baseline'"):
        load_model(Baseline, path)
