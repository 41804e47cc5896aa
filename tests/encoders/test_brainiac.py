"""Both versions of BrainIAC: the official structure, an independent pass, each other's files refused."""

from functools import partial

import formulas as f
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braing3n.core.errors import CheckpointError
from braing3n.encoders.foreign import brainiac, brainiac_v1
from braing3n.nets.foreign.resnet import ResNet
from braing3n.nets.foreign.vit import VisionTransformer

DEPTHS = (1, 2, 1, 1)


def lay_out_vit(n_tokens=216, patch=16, width=768, depth=12, hidden=3072):
    layout = {"patch_embedding.position_embeddings": (1, n_tokens, width)}
    layout |= f.lay_out_conv("patch_embedding.patch_embeddings", 1, width, patch, has_bias=True)
    for i in range(depth):
        name = f"blocks.{i}"
        layout |= f.lay_out_linear(f"{name}.mlp.linear1", width, hidden)
        layout |= f.lay_out_linear(f"{name}.mlp.linear2", hidden, width)
        layout |= f.lay_out_norm(f"{name}.norm1", width) | f.lay_out_norm(f"{name}.norm2", width)
        layout |= f.lay_out_linear(f"{name}.attn.out_proj", width, width)
        layout |= f.lay_out_linear(f"{name}.attn.qkv", width, 3 * width, has_bias=False)
    return layout | f.lay_out_norm("norm", width)


def run_vit(volume, t, depth, n_heads, patch=16):
    """Token 0 of a cube: patches cut one after another, the last axis fastest."""
    edge = volume.shape[-1] // patch
    kernel, bias = (t[f"patch_embedding.patch_embeddings.{part}"] for part in ("weight", "bias"))
    tokens = []
    for place in range(edge**3):
        i, j, k = (patch * n for n in np.unravel_index(place, (edge,) * 3))
        patch_here = volume[0, 0, i : i + patch, j : j + patch, k : k + patch]
        tokens.append((kernel[:, 0] * patch_here).sum(dim=(1, 2, 3)) + bias)
    x = torch.stack(tokens) + t["patch_embedding.position_embeddings"][0]
    for i in range(depth):
        name = f"blocks.{i}"
        mixed = f.self_attend(f.norm(x, t, f"{name}.norm1"), t, f"{name}.attn", n_heads)
        x = x + f.linear(mixed, t, f"{name}.attn.out_proj")
        x = x + f.perceptron(f.norm(x, t, f"{name}.norm2"), t, f"{name}.mlp")
    return f.norm(x, t, "norm")[:1]


def write(path, tensors, prefix="backbone."):
    """As Lightning saves it, a projection head beside the backbone."""
    state = {prefix + name: tensor for name, tensor in tensors.items()}
    state |= {"projection.weight": torch.zeros(4, 4)}
    record = {"epoch": 3, "state_dict": state, "optimizer_states": [{"state": {0: {"step": torch.ones(())}}}]}
    torch.save({**record, "hyper_parameters": {"lr": 1e-4}, "callbacks": {"best_model_path": "a.ckpt"}}, path)
    return path


@pytest.fixture
def small(monkeypatch):
    """Nets and inputs of a size that takes no time."""
    vit = partial(VisionTransformer, width=24, depth=2, n_heads=3, mlp_width=48)
    monkeypatch.setattr("braing3n.nets.foreign.vit.VisionTransformer", vit)
    monkeypatch.setattr("braing3n.nets.foreign.resnet.ResNet", partial(ResNet, depths=DEPTHS, width=8))
    monkeypatch.setattr(brainiac, "SHAPE", (32, 32, 32))
    monkeypatch.setattr(brainiac_v1, "SHAPE", (40, 40, 40))


def small_vit(seed=0):
    return f.fill(lay_out_vit(8, 16, 24, 2, 48), seed)


def small_resnet(seed=0):
    return f.fill(f.lay_out_resnet(DEPTHS, 8, has_shortcut_bias=True), seed)


def prepare_v2(image, mask):
    volume = f.resample(f.restore(image, mask)[::-1, ::-1], (32, 32, 32))
    return f.to_batch(np.where(volume != 0, f.z_score(volume, volume != 0), 0))


def prepare_v1(image, mask):
    volume = f.resample(f.restore(image, mask)[::-1, ::-1], (40, 40, 40))
    return f.to_batch((volume - volume.min()) / (volume.max() - volume.min()))


def test_the_layouts_are_the_official_ones():
    with torch.device("meta"):
        nets = {"v2": VisionTransformer(), "v1": ResNet(has_shortcut_bias=True)}
    layouts = {"v2": lay_out_vit(), "v1": f.lay_out_resnet(has_shortcut_bias=True)}
    for version, net in nets.items():
        assert {name: tuple(x.shape) for name, x in net.state_dict().items()} == layouts[version]
    assert len(layouts["v2"]) == 137
    assert sum(x.numel() for x in nets["v2"].parameters()) == 88_340_736
    assert len(layouts["v1"]) == 318 + 4  # MONAI's convolutions beside the first blocks have a bias


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone."])
def test_version_2_gives_token_0_of_an_independent_pass(prefix, small, compute, volumes, agree, tmp_path):
    tensors = small_vit()
    found = compute("brainiac", write(tmp_path / "BrainIAC.ckpt", tensors, prefix))
    agree(found, [run_vit(prepare_v2(*volumes.load(i)), tensors, 2, 3) for i in range(3)])


def test_version_1_gives_the_pool_of_an_independent_pass(small, compute, volumes, agree, tmp_path):
    tensors = small_resnet()
    found = compute("brainiac_v1", write(tmp_path / "v1.ckpt", tensors))
    plain = (1, 2, 2, 2), (1, 1, 1, 1)
    agree(found, [f.run_resnet(prepare_v1(*volumes.load(i)), tensors, DEPTHS, *plain) for i in range(3)])


def test_safetensors_give_what_a_checkpoint_gives(small, compute, tmp_path):
    tensors = small_vit()
    save_file({f"backbone.{name}": x for name, x in tensors.items()}, tmp_path / "a.safetensors")
    of_checkpoint = compute("brainiac", write(tmp_path / "a.ckpt", tensors))
    assert np.array_equal(compute("brainiac", tmp_path / "a.safetensors"), of_checkpoint)


@pytest.mark.parametrize(("asked", "given"), [("brainiac", small_resnet), ("brainiac_v1", small_vit)])
def test_the_other_versions_file_is_refused_in_one_sentence(asked, given, small, compute, tmp_path):
    path = write(tmp_path / "other.ckpt", given())
    with pytest.raises(CheckpointError) as caught:
        compute(asked, path)
    assert "other.ckpt: does not fit" in str(caught.value)
    assert "missing: " in str(caught.value)
    assert "unexpected: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["one less", "one more", "one of another shape"])
def test_every_tensor_and_no_other_is_loaded(change, small, compute, tmp_path):
    tensors = small_vit()
    if change == "one less":
        del tensors["blocks.1.norm1.bias"]
    if change == "one more":
        tensors["blocks.1.norm_cross_attn.weight"] = torch.zeros(24)
    if change == "one of another shape":
        tensors["norm.bias"] = torch.zeros(25)
    fault = {
        "one less": "missing: blocks.1.norm1.bias",
        "one more": "unexpected: blocks.1.norm_cross_attn.weight",
        "one of another shape": "of another shape: norm.bias",
    }[change]
    with pytest.raises(CheckpointError, match=fault):
        compute("brainiac", write(tmp_path / "a.ckpt", tensors))


def test_weights_that_are_no_numbers_give_no_features(small, compute, tmp_path):
    tensors = small_vit()
    tensors["norm.bias"][3] = float("nan")
    with pytest.raises(CheckpointError, match="brainiac: its features are not finite"):
        compute("brainiac", write(tmp_path / "a.ckpt", tensors))


def test_a_checkpoint_without_a_backbone_is_refused(small, compute, tmp_path):
    path = write(tmp_path / "a.ckpt", small_vit(), prefix="encoder.")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: no tensor's name begins with 'backbone\.'"):
        compute("brainiac", path)
