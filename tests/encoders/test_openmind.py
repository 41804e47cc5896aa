"""OpenMind's ResEnc-L and Primus-M: the official structure, and an independent pass."""

from functools import partial

import formulas as f
import numpy as np
import pytest
import torch
from torch.nn import functional

from braing3n.core.errors import CheckpointError
from braing3n.nets.foreign.primus import Primus
from braing3n.nets.foreign.resenc import ResidualEncoder

SHAPE, WIDTHS, DEPTHS = (64, 96, 64), (4, 6, 8, 8, 12, 12), (1, 2, 1, 1, 1, 2)


def lay_out_resenc(widths=(32, 64, 128, 256, 320, 320), depths=(1, 3, 4, 6, 6, 6)):
    """Every tensor once, as `conv` and `norm`."""

    def lay_out(name, n_in, n_out, kernel, has_bias=True):
        convolution = f.lay_out_conv(f"{name}.conv", n_in, n_out, kernel, has_bias)
        return convolution | f.lay_out_norm(f"{name}.norm", n_out)

    layout, n_in = lay_out("stem.convs.0", 1, widths[0], 3), widths[0]
    for k, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for i in range(depth):
            name = f"stages.{k}.blocks.{i}"
            layout |= lay_out(f"{name}.conv1", n_in, width, 3) | lay_out(f"{name}.conv2", width, width, 3)
            if n_in != width:  # behind an average over 2^3 voxels, which has no tensor
                layout |= lay_out(f"{name}.skip.1", n_in, width, 1, has_bias=False)
            n_in = width
    return layout


def convolve(x, t, name, stride=1):
    kernel = t[f"{name}.conv.weight"]
    x = functional.conv3d(x, kernel, t.get(f"{name}.conv.bias"), stride, kernel.shape[-1] // 2)
    mean, variance = x.mean(dim=(2, 3, 4), keepdim=True), x.var(dim=(2, 3, 4), correction=0, keepdim=True)
    scale, shift = (t[f"{name}.norm.{part}"][:, None, None, None] for part in ("weight", "bias"))
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def rectify(x):
    return torch.where(x > 0, x, 0.01 * x)


def run_resenc(x, t, depths=DEPTHS):
    x = rectify(convolve(x, t, "stem.convs.0"))
    for k, depth in enumerate(depths):
        for i in range(depth):
            name, stride = f"stages.{k}.blocks.{i}", 2 if k and i == 0 else 1
            y = convolve(rectify(convolve(x, t, f"{name}.conv1", stride)), t, f"{name}.conv2")
            if stride == 2:
                b, c, d, h, w = x.shape
                x = x.reshape(b, c, d // 2, 2, h // 2, 2, w // 2, 2).mean(dim=(3, 5, 7))
            if f"{name}.skip.1.conv.weight" in t:
                x = convolve(x, t, f"{name}.skip.1")
            x = rectify(x + y)
    return x.mean(dim=(2, 3, 4))


def write(path, tensors):
    """As nnssl saves it: every tensor under two names, and all of them again below the decoder."""
    state = {}
    for name, tensor in tensors.items():
        twin = name.replace(".conv.", ".all_modules.0.").replace(".norm.", ".all_modules.1.")
        for prefix in ("encoder.", "decoder.encoder."):
            state |= {prefix + name: tensor, prefix + twin: tensor}
    state["decoder.transpconvs.0.weight"] = torch.zeros(12, 12, 2, 2, 2)
    plan = {"architecture_plans": {"arch_class_name": "ResEncL"}, "key_to_encoder": "encoder.stages"}
    content = {"network_weights": state, "nnssl_adaptation_plan": plan, "trainer_name": "BaseMAETrainer"}
    torch.save(content, path)
    return path


@pytest.fixture
def small(monkeypatch):
    net = partial(ResidualEncoder, widths=WIDTHS, depths=DEPTHS)
    monkeypatch.setattr("braing3n.nets.foreign.resenc.ResidualEncoder", net)
    monkeypatch.setattr("braing3n.nets.foreign.inputs.FULL_SHAPE", SHAPE)


def prepare(image, mask, shape=SHAPE):
    """S-A-R, and a z-score over the box of what is not dark, whose background counts."""
    volume = f.resample(f.restore(image, mask), shape)[::-1, ::-1].transpose(2, 1, 0)
    places = volume.nonzero()
    box = volume[tuple(slice(axis.min(), axis.max() + 1) for axis in places)]
    assert (box == 0).any()
    return f.to_batch((volume - box.mean()) / box.std())


def lay_out_primus(width=864, depth=16, n_places=20, has_extras=True):
    """The encoder; extras: the factors behind a block's two parts, and the norm within attention."""
    hidden = int(width * 8 / 3)
    layout = f.lay_out_conv("down_projection.proj", 1, width, 8, has_bias=True)
    layout["eva.pos_embed"] = (1, n_places**3, width)
    for i in range(depth):
        name = f"eva.blocks.{i}"
        layout |= f.lay_out_norm(f"{name}.norm1", width) | f.lay_out_norm(f"{name}.norm2", width)
        for part in ("q_proj", "k_proj", "v_proj", "proj"):
            layout |= f.lay_out_linear(f"{name}.attn.{part}", width, width, has_bias=part != "k_proj")
        layout |= f.lay_out_linear(f"{name}.mlp.fc1_g", width, hidden)
        layout |= f.lay_out_linear(f"{name}.mlp.fc1_x", width, hidden)
        layout |= f.lay_out_norm(f"{name}.mlp.norm", hidden) | f.lay_out_linear(
            f"{name}.mlp.fc2", hidden, width
        )
        if has_extras:
            layout |= {f"{name}.gamma_1": (width,), f"{name}.gamma_2": (width,)}
            layout |= f.lay_out_norm(f"{name}.attn.norm", width)
    return layout | f.lay_out_norm("eva.norm", width)


def rotate(x, places):
    """Channels of one head (n, c) as complex numbers, a third of them turned by the place on each axis."""
    numbers = torch.view_as_complex(x.double().reshape(len(x), -1, 2))
    n = numbers.shape[1] // 3
    speeds = 10_000.0 ** (-torch.arange(n).double() / n)
    angles = torch.cat([axis[:, None] * speeds for axis in places], dim=1)
    return torch.view_as_real(numbers * torch.polar(torch.ones_like(angles), angles)).flatten(1).float()


def run_primus(volume, t, depth, n_heads, n_places):
    """The mean over tokens, which go along the second axis slowest, then the first, then the third."""
    grid = functional.conv3d(volume, t["down_projection.proj.weight"], t["down_projection.proj.bias"], 8)[0]
    d, h, w = grid.shape[1:]
    places = [torch.tensor(p).double() for p in zip(*np.ndindex(h, d, w), strict=True)]
    x = torch.stack([grid[:, int(j), int(i), int(k)] for i, j, k in zip(*places, strict=True)])
    cube = t["eva.pos_embed"][0].reshape(n_places, n_places, n_places, -1).double().numpy()
    learned = np.stack([f.resample(part, (h, d, w)) for part in np.moveaxis(cube, -1, 0)], axis=-1)
    x = x + torch.from_numpy(learned).flatten(0, 2).float()
    for i in range(depth):
        name, mixed = f"eva.blocks.{i}", []
        y = f.norm(x, t, f"{name}.norm1")
        parts = (f.linear(y, t, f"{name}.attn.{part}_proj").chunk(n_heads, dim=1) for part in "qkv")
        for q, k, v in zip(*parts, strict=True):
            mixed.append(f.attend(rotate(q, places), rotate(k, places), v))
        y = torch.cat(mixed, dim=1)
        y = f.norm(y, t, f"{name}.attn.norm") if f"{name}.attn.norm.bias" in t else y
        x = x + f.linear(y, t, f"{name}.attn.proj") * t.get(f"{name}.gamma_1", 1)
        y = f.norm(x, t, f"{name}.norm2")
        gate = f.linear(y, t, f"{name}.mlp.fc1_g")
        y = f.norm(gate * torch.sigmoid(gate) * f.linear(y, t, f"{name}.mlp.fc1_x"), t, f"{name}.mlp.norm")
        x = x + f.linear(y, t, f"{name}.mlp.fc2") * t.get(f"{name}.gamma_2", 1)
    return f.norm(x, t, "eva.norm").mean(dim=0, keepdim=True)


def write_primus(path, tensors):
    others = {
        "decoder.norm.weight": torch.ones(3),
        "up_projection.a": torch.ones(3),
        "mask_token": torch.ones(1),
    }
    torch.save({"network_weights": tensors | others, "trainer_name": "BaseEvaMAETrainer"}, path)
    return path


def test_the_layouts_are_the_official_ones():
    with torch.device("meta"):
        nets = {
            "resenc": ResidualEncoder(),
            "primus": Primus(),
            "plain": Primus(20, 8, 864, 16, 12, False, False),
        }
    layouts = {
        "resenc": lay_out_resenc(),
        "primus": lay_out_primus(),
        "plain": lay_out_primus(has_extras=False),
    }
    for name, net in nets.items():
        assert {key: tuple(x.shape) for key, x in net.state_dict().items()} == layouts[name]
    assert [len(layouts[name]) for name in ("resenc", "primus")] == [224, 373]
    assert sum(x.numel() for x in nets["resenc"].parameters()) == 90_296_576
    assert sum(x.numel() for x in nets["primus"].parameters()) == 150_997_536


@pytest.mark.parametrize("has_extras", [True, False])
@pytest.mark.parametrize("n_places", [2, 4])
def test_primus_gives_the_mean_of_its_tokens(
    n_places, has_extras, compute, volumes, agree, tmp_path, monkeypatch
):
    """Of a grid of 4 x 5 x 3 tokens, with positions learned for cubes that are smaller or larger."""
    net = partial(Primus, n_places=n_places, width=36, depth=2, n_heads=2)
    monkeypatch.setattr("braing3n.nets.foreign.primus.Primus", net)
    monkeypatch.setattr("braing3n.nets.foreign.inputs.FULL_SHAPE", (24, 40, 32))
    tensors = f.fill(lay_out_primus(36, 2, n_places, has_extras))
    found = compute("openmind", write_primus(tmp_path / "a.pth", tensors))
    inputs = [prepare(*volumes.load(i), (24, 40, 32)) for i in range(3)]
    agree(found, [run_primus(x, tensors, 2, 2, n_places) for x in inputs])
    del tensors["eva.blocks.1.mlp.norm.bias"]
    with pytest.raises(CheckpointError, match=r"missing: eva\.blocks\.1\.mlp\.norm\.bias"):
        compute("openmind", write_primus(tmp_path / "a.pth", tensors))


def test_it_gives_the_mean_of_an_independent_pass(small, compute, volumes, agree, tmp_path):
    tensors = f.fill(lay_out_resenc(WIDTHS, DEPTHS))
    found = compute("openmind", write(tmp_path / "checkpoint_final.pth", tensors))
    agree(found, [run_resenc(prepare(*volumes.load(i)), tensors) for i in range(3)])


def test_other_files_are_refused(small, compute, tmp_path):
    tensors = f.fill(lay_out_resenc(WIDTHS, DEPTHS))
    del tensors["stages.5.blocks.1.conv2.norm.bias"]
    with pytest.raises(CheckpointError, match=r"missing: stages\.5\.blocks\.1\.conv2\.norm\.bias"):
        compute("openmind", write(tmp_path / "a.pth", tensors))
    torch.save({"network_weights": {"backbone.a": torch.zeros(8)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: no tensor's name begins with 'encoder\.'"):
        compute("openmind", tmp_path / "other.pth")
