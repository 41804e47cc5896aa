"""Weights that somebody has: what does not fit is said before there is a DAG."""

import pytest
import torch
import yaml

from braing3n.config import PretrainSettings, TokenizerSettings, parse_config
from braing3n.launch import start_run
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights

SIZES = {"patch_size": 4, "depth": 1, "width": 12, "n_heads": 2}
SIZES |= {"decoder_depth": 1, "decoder_width": 12, "decoder_n_heads": 2}
SHAPE = (8, 12, 8)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A configuration with an encoder and a tokenizer of its sizes."""
    monkeypatch.chdir(tmp_path)
    scan = tmp_path / "raw/sub-01/anat/sub-01_T1w.nii.gz"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"scan")
    encoder = MaskedAutoencoder(PretrainSettings(**SIZES), SHAPE)
    tokenizer = Tokenizer(TokenizerSettings(d=3, widths=(8, 4), n_blocks=1), 12, 4, encoder.grid)
    for name, net in (("mae", encoder), ("tokenizer", tokenizer)):
        write_weights(tmp_path / f"{name}.safetensors", net.state_dict(), type(net).__name__, net.describe())
    return {
        "run": "x",
        "cohorts": {"mine": {"kind": "bids", "raw_dir": "raw"}},
        "volumes": {"shape": list(SHAPE)},
        "pretrain": SIZES | {"weights": "mae.safetensors"},
        "tokenizer": {"d": 3, "widths": [8, 4], "weights": "tokenizer.safetensors"},
    }


def start(data):
    start_run(yaml.safe_load(yaml.safe_dump(data)), True, ["preprocess", "-n"])


def test_weights_of_the_configured_sizes_are_taken(data):
    start(data)


def test_where_weights_lie_is_nothing_that_results_depend_on(data):
    with_weights = parse_config(data)
    without = parse_config(data | {"pretrain": SIZES, "tokenizer": data["tokenizer"] | {"weights": ""}})
    assert with_weights.pretrain.weights == "mae.safetensors"
    assert with_weights.pretrain.as_json() == without.pretrain.as_json()


@pytest.mark.parametrize(
    ("section", "changes", "expected"),
    [
        ("pretrain", {"weights": "none.safetensors"}, "none.safetensors: cannot be read (No such file"),
        ("pretrain", {"weights": "tokenizer.safetensors"}, "holds Tokenizer, not MaskedAutoencoder"),
        ("pretrain", {"width": 24}, "mae.safetensors has width 12, and 24 is configured"),
        (
            "volumes",
            {"shape": [8, 8, 8]},
            "mae.safetensors has shape [8, 12, 8], and [8, 8, 8] is configured",
        ),
        ("pretrain", {"weights": ""}, "tokenizer.weights needs pretrain.weights"),
        ("diffusion", {"weights": "mae.safetensors"}, "holds MaskedAutoencoder, not DiT"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(data, capsys, section, changes, expected):
    with pytest.raises(SystemExit) as caught:
        start(data | {section: data.get(section, {}) | changes})
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "head", ["[]", "null", '{"__metadata__": []}', '{"__metadata__": {"braing3n": "[]"}}']
)
def test_metadata_of_any_kind_are_one_sentence(data, tmp_path, capsys, head):
    text = head.encode()
    (tmp_path / "mae.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(SystemExit) as caught:
        start(data)
    assert caught.value.code == 2
    assert "mae.safetensors: " in capsys.readouterr().err


def test_tensors_larger_than_their_file_are_refused_before_they_are_read(data, tmp_path, capsys):
    head = b'{"a": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}'
    (tmp_path / "mae.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(1400))
    with pytest.raises(SystemExit):
        start(data)
    assert "its tensors claim 4000000000000 bytes and it holds 1400" in capsys.readouterr().err


def test_a_checkpoint_that_stretches_one_number_over_terabytes_is_refused(tmp_path):
    from braing3n.core.errors import CheckpointError
    from braing3n.nets.checkpoint import read_checkpoint

    path = tmp_path / "release.pt"
    torch.save({"a": torch.zeros(1).expand(1_000_000, 1_000_000)}, path)
    with pytest.raises(CheckpointError, match="claims 4000000000000 bytes"):
        read_checkpoint(path)
