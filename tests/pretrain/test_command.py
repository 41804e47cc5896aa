"""The command that trains the encoder, and the options that its loop hands on."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from braing3n import training
from braing3n.cli import main
from braing3n.config import OptimiserSettings, PretrainSettings
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.train import train_encoder

sys.path.insert(0, str(Path(__file__).parent))
from invented import InventedVolumes

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"patch_size": 4, "depth": 2, "width": 12, "n_heads": 2}
OPTIMISER = OptimiserSettings(batch_size=4, n_epochs=2, n_warmup_epochs=1, precision="float32")
SETTINGS = PretrainSettings(
    **SIZES, decoder_depth=1, decoder_width=12, decoder_n_heads=2, seed=7, optimiser=OPTIMISER
)


def train(folder, **options):
    folder.mkdir()
    (folder / "list").write_text("")
    settings = SETTINGS.model_copy(update={"optimiser": OPTIMISER.model_copy(update=options)})
    train_encoder(InventedVolumes(), settings, folder / "runs", folder / "mae", [folder / "list"])
    return training.read_weights(folder / "mae", "MaskedAutoencoder")[0]


def test_the_command_trains_on_the_volumes_of_the_list(tmp_path, monkeypatch):
    volumes, opened = InventedVolumes(), []
    volumes.digest = lambda: "digest"
    monkeypatch.setattr(
        "braing3n.volumes.dataset.PackedVolumes", lambda *paths: opened.append(paths) or volumes
    )
    monkeypatch.chdir(tmp_path)
    given = ["--volume-list", "list", "--volumes-dir", "packed", "--checkpoints", "runs"]
    given += ["--weights", "mae.safetensors", "--loss-picture", "loss.png", "--settings", SETTINGS.as_json()]
    assert main(["pretrain", "train", *given]) == 0
    assert opened == [(Path("list"), Path("packed"))]
    assert load_model(MaskedAutoencoder, Path("mae.safetensors")).settings == SETTINGS
    _, record = training.read_weights(Path("mae.safetensors"), "MaskedAutoencoder")
    assert record["inputs"] == [["content", "digest"]]
    assert Image.open("loss.png").width > 100


def test_every_block_is_compiled_and_recomputed_where_so_configured(tmp_path, monkeypatch):
    compiled, recomputed = [], []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net, **options: compiled.append(net))
    given = training.recompute_activations
    monkeypatch.setattr(
        training,
        "recompute_activations",
        lambda blocks, options: recomputed.extend(blocks) or given(blocks, options),
    )
    plain = train(tmp_path / "plain")
    assert compiled == []
    both = train(tmp_path / "both", compile_blocks=True, recompute_activations=True)
    assert all(torch.equal(both[name], plain[name]) for name in plain)
    assert len({id(block) for block in compiled}) == 3  # of the encoder two, of the decoder one
    assert len({id(block) for block in recomputed[3:]}) == 3
