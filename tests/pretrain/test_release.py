"""Somebody's encoder taken over: renamed copies of a model give the same features, or are refused."""

import re

import pytest
import torch
from monai.networks.nets import MaskedAutoEncoderViT
from safetensors.torch import save_file

from braing3n.cli import main
from braing3n.config import PretrainSettings
from braing3n.core.errors import CheckpointError
from braing3n.nets.checkpoint import read_checkpoint
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.release import import_release, map_release

SIZES = {"patch_size": 4, "depth": 2, "width": 24, "n_heads": 2}
SETTINGS = PretrainSettings(**SIZES, decoder_depth=1, decoder_width=12, decoder_n_heads=2)
SHAPE = (8, 12, 16)
MAE = (
    (r"^embed\.", "patch_embed.proj."),
    (r"attention\.project", "attn.proj"),
    (r"attention\.", "attn."),
    (r"mlp\.0", "mlp.fc1"),
    (r"mlp\.2", "mlp.fc2"),
    (r"^predict", "decoder_pred"),
)
HUGGING_FACE = (
    (r"^embed\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^blocks", "vit.encoder.layer"),
    (r"^norm\.", "vit.layernorm."),
    (r"^decoder_blocks", "decoder.decoder_layers"),
    (r"^(decoder_norm|decoder_embed|mask_token)", r"decoder.\1"),
    (r"^predict", "decoder.decoder_pred"),
    (r"attention\.project", "attention.output.dense"),
    (r"attention\.qkv", "attention.attention.qkv"),
    (r"norm1", "layernorm_before"),
    (r"norm2", "layernorm_after"),
    (r"mlp\.0", "intermediate.dense"),
    (r"mlp\.2", "output.dense"),
)

GPT = (  # as CLIP and minGPT name them, with a decoder beside
    (r"^embed\.", "backbone.patch_embedding.patch_embeddings."),
    (r"^blocks", "transformer.blocks"),
    (r"^norm\.", "ln_f."),
    (r"^decoder_blocks", "decoder.transformer.layers"),
    (r"^decoder_norm", "decoder.ln"),
    (r"^mask_token$", "decoder.mask_tokens"),
    (r"^predict", "to_pixels"),
    (r"norm1", "ln_1"),
    (r"norm2", "ln_2"),
    (r"attention\.project", "self_attn.out_proj"),
    (r"attention\.qkv\.", "self_attn.in_proj_"),
    (r"mlp\.0", "mlp.c_fc"),
    (r"mlp\.2", "mlp.c_proj"),
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MaskedAutoencoder(SETTINGS, SHAPE)


@pytest.fixture
def blank():
    torch.manual_seed(1)
    return MaskedAutoencoder(SETTINGS, SHAPE)


def rename(state, patterns, prefix=""):
    renamed = {}
    for name, tensor in state.items():
        for pattern, spelling in patterns:
            name = re.sub(pattern, spelling, name)
        if name.endswith(("proj.weight", "projection.weight")) and tensor.shape == (24, 64):
            tensor = tensor.reshape(24, 1, 4, 4, 4)  # a convolution over patches
        renamed[prefix + name] = tensor.clone()
    return renamed


def split_qkv(state):
    """Queries, keys and values apart, as Hugging Face has them."""
    for name in [name for name in state if ".qkv." in name]:
        for part, tensor in zip(("query", "key", "value"), state.pop(name).chunk(3), strict=True):
            state[name.replace("qkv", part)] = tensor.clone()
    return state


@pytest.mark.parametrize("form", ["mae", "hugging_face", "gpt", "ours"])
def test_renamed_copies_give_the_same_tokens_and_loss(form, model, blank, tmp_path, capsys):
    state = model.state_dict()
    if form == "mae":
        state = rename(state, MAE, "module.") | {"module.pos_embed": torch.zeros(1, 25, 24)}
        torch.save({"epoch": 3, "model": state, "optimizer": {"state": {}}}, path := tmp_path / "release.pth")
    else:
        renamed = {
            "hugging_face": lambda: split_qkv(rename(state, HUGGING_FACE)),
            "gpt": lambda: rename(state, GPT),
        }
        state = renamed.get(form, lambda: state)()
        save_file(state, path := tmp_path / "release.safetensors")
    import_release(path, blank, tmp_path / "mae.safetensors")
    imported = load_model(MaskedAutoencoder, tmp_path / "mae.safetensors")
    volume, noise = torch.randn(2, 1, *SHAPE), torch.rand(2, 24)
    assert torch.equal(imported.encode(volume), model.encode(volume))
    assert torch.equal(imported(volume, noise), model(volume, noise))
    report = capsys.readouterr().out
    assert f"mapped ({len(model.state_dict())})" in report
    assert "missing in the release (0)" in report
    if form == "mae":
        assert "in the release, not taken (1)\n  module.pos_embed " in report


def test_monais_module_maps(blank):
    """A module that we did not name: all but the class token and the positions finds its place."""
    torch.manual_seed(2)
    sizes = {"hidden_size": 24, "mlp_dim": 96, "num_layers": 2, "num_heads": 2}
    sizes |= {
        "decoder_hidden_size": 12,
        "decoder_mlp_dim": 48,
        "decoder_num_layers": 1,
        "decoder_num_heads": 2,
    }
    theirs = MaskedAutoEncoderViT(1, SHAPE, 4, qkv_bias=False, **sizes)
    found = map_release(theirs.state_dict(), blank)
    unmapped = {name for name in found.unmapped if "norm_cross_attn" not in name}  # which it never uses
    assert unmapped == {"cls_token", "patch_embedding.position_embeddings", "decoder_pos_embedding"}
    assert set(found.missing.values()) == {"zero"}  # it has no bias of queries, keys and values
    blank.load_state_dict(found.tensors)
    tokens = torch.randn(1, 24, 24)
    expected, ours = theirs.blocks(tokens), tokens
    for block in blank.blocks:
        ours = block(ours)
    assert torch.allclose(blank.norm(ours), expected, atol=1e-5)


def test_an_encoder_alone_is_enough_and_half_a_one_is_not(model, blank, tmp_path, capsys):
    encoder = {n: t for n, t in model.state_dict().items() if n.split(".")[0] in ("embed", "blocks", "norm")}
    save_file(encoder, path := tmp_path / "encoder.safetensors")
    import_release(path, blank, tmp_path / "mae.safetensors")
    volume = torch.randn(1, 1, *SHAPE)
    assert torch.equal(
        load_model(MaskedAutoencoder, tmp_path / "mae.safetensors").encode(volume), model.encode(volume)
    )
    assert "predict.bias" in capsys.readouterr().out.split("missing in the release")[1]

    encoder["blocks.1.mlp.0.weight"] = encoder["blocks.1.mlp.0.weight"][:50].contiguous()
    del encoder["norm.weight"]
    save_file(encoder, path)
    (tmp_path / "mae.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.mlp\.0\.weight, norm\.weight, which"):
        import_release(path, blank, tmp_path / "mae.safetensors")
    assert "50x24, blocks.1.mlp.0.weight is 96x24" in capsys.readouterr().out
    assert not (tmp_path / "mae.safetensors").exists()


def test_two_tensors_of_one_name_are_reported(model, blank):
    state = model.state_dict()
    found = map_release(state | {"module.norm.weight": state["norm.weight"]}, blank)
    assert found.unmapped == {"module.norm.weight": "norm.weight is norm.weight already"}


class Anything:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [({"model": Anything()}, "holds more than tensors"), ({"epoch": 1}, "holds no dictionary of tensors")],
)
def test_what_is_no_weights_is_refused(content, message, tmp_path):
    torch.save(content, path := tmp_path / "release.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    path.write_text("no weights")
    with pytest.raises(CheckpointError, match=r"release\.pth: "):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_checkpoint(tmp_path / "absent.pth")


def test_an_encoder_of_another_width_is_one_sentence(tmp_path):
    other = MaskedAutoencoder(SETTINGS.model_copy(update={"width": 12}), SHAPE)
    save_file(other.state_dict(), theirs := tmp_path / "theirs.safetensors")
    blank = MaskedAutoencoder(SETTINGS, SHAPE)
    with pytest.raises(CheckpointError, match=r"theirs\.safetensors: lacks .*compare the report with"):
        import_release(theirs, blank, tmp_path / "mae.safetensors")
    assert not (tmp_path / "mae.safetensors").exists()


def test_the_command_imports_an_encoder(model, tmp_path, capsys):
    save_file(model.state_dict(), theirs := tmp_path / "theirs.safetensors")
    command = ["pretrain", "import", "--release", str(theirs), "--weights", str(tmp_path / "w.safetensors")]
    command += ["--settings", SETTINGS.as_json(), "--shape"]
    assert main([*command, *map(str, SHAPE)]) == 0
    assert "mapped (" in capsys.readouterr().out
    assert main([*command, "8", "8", "9"]) == 2
