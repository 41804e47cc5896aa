"""BrainSegFounder: the official structure, an independent pass, and what its channels get."""

from functools import partial

import formulas as f
import numpy as np
import pytest
import torch
from torch.nn import functional

from braing3n.core.errors import CheckpointError
from braing3n.nets.foreign.swin import SwinTransformer

WIDTH, HEADS, WINDOW = 6, (1, 2, 3, 6), 7
# Of odd and even edges, above and below a window; whole windows, padded ones and shifted ones.
SHAPE = (16, 30, 32)
# Neighbours that a merging joins in MONAI before 1.5: two of them twice.
MERGED = ("000", "100", "010", "001", "101", "010", "001", "111")


def lay_out_swin(n_channels=1, width=48, heads=(3, 6, 12, 24), depth=2):
    layout = f.lay_out_conv("patch_embed.proj", n_channels, width, 2, has_bias=True)
    for k, n_heads in enumerate(heads):
        stage, c = f"layers{k + 1}.0", width * 2**k
        for i in range(depth):
            name = f"{stage}.blocks.{i}"
            layout |= f.lay_out_norm(f"{name}.norm1", c) | f.lay_out_norm(f"{name}.norm2", c)
            layout[f"{name}.attn.relative_position_bias_table"] = ((2 * WINDOW - 1) ** 3, n_heads)
            layout[f"{name}.attn.relative_position_index"] = (WINDOW**3, WINDOW**3)
            layout |= f.lay_out_linear(f"{name}.attn.qkv", c, 3 * c)
            layout |= f.lay_out_linear(f"{name}.attn.proj", c, c)
            layout |= f.lay_out_linear(f"{name}.mlp.linear1", c, 4 * c)
            layout |= f.lay_out_linear(f"{name}.mlp.linear2", 4 * c, c)
        layout |= f.lay_out_linear(f"{stage}.downsample.reduction", 8 * c, 2 * c, has_bias=False)
        layout |= f.lay_out_norm(f"{stage}.downsample.norm", 8 * c)
    return layout


def number_offsets():
    """The row of the bias table of each pair of places in a window, from their three differences."""
    places = np.stack(np.unravel_index(np.arange(WINDOW**3), (WINDOW,) * 3))
    d, h, w = places[:, :, None] - places[:, None] + WINDOW - 1
    return torch.from_numpy(d * (2 * WINDOW - 1) ** 2 + h * (2 * WINDOW - 1) + w)


def make_swin(n_channels, seed=0):
    tensors = f.fill(lay_out_swin(n_channels, WIDTH, HEADS), seed)
    for name in tensors:
        if name.endswith("relative_position_index"):
            tensors[name] = number_offsets()
    return tensors


def attend_in_windows(x, t, name, n_heads, is_shifted):
    """x (d, h, w, c): one window after another, places beyond the edge included as zeros."""
    edges = [min(n, WINDOW) for n in x.shape[:3]]
    shifts = [WINDOW // 2 if is_shifted and n > WINDOW else 0 for n in x.shape[:3]]
    sizes = [-(-n // edge) * edge for n, edge in zip(x.shape[:3], edges, strict=True)]
    padded = torch.zeros(*sizes, x.shape[3])
    padded[: x.shape[0], : x.shape[1], : x.shape[2]] = x
    out, table = torch.zeros_like(padded), t[f"{name}.attn.relative_position_bias_table"]
    rows = number_offsets()[: np.prod(edges), : np.prod(edges)]
    corners = np.ndindex(*(size // edge for size, edge in zip(sizes, edges, strict=True)))
    for corner in corners:
        steps = np.stack(np.unravel_index(np.arange(np.prod(edges)), edges))
        rolled = steps + (np.array(corner) * edges)[:, None]  # where the window's tokens lie after the roll
        regions = [  # 0: before the last window; 1, 2: in it, from this end of the volume or the other
            np.where(r < size - edge, 0, np.where(r < size - shift, 1, 2)) if shift else 0 * r
            for r, size, edge, shift in zip(rolled, sizes, edges, shifts, strict=True)
        ]
        is_apart = sum(r[:, None] != r[None] for r in regions) > 0
        here = [
            torch.from_numpy((r + shift) % size) for r, shift, size in zip(rolled, shifts, sizes, strict=True)
        ]
        bias = table[rows].permute(2, 0, 1) - 100.0 * torch.from_numpy(is_apart)
        mixed = f.self_attend(padded[tuple(here)], t, f"{name}.attn", n_heads, bias)
        out[tuple(here)] = f.linear(mixed, t, f"{name}.attn.proj")
    return out[: x.shape[0], : x.shape[1], : x.shape[2]]


def run_swin(volume, t):
    """The mean over the last stage's tokens, each of mean 0 and deviation 1."""
    kernel, bias = t["patch_embed.proj.weight"], t["patch_embed.proj.bias"]
    x = functional.conv3d(volume, kernel, bias, stride=2)[0].permute(1, 2, 3, 0)
    for k, n_heads in enumerate(HEADS):
        for i in range(2):
            name = f"layers{k + 1}.0.blocks.{i}"
            x = x + attend_in_windows(f.norm(x, t, f"{name}.norm1"), t, name, n_heads, is_shifted=i == 1)
            x = x + f.perceptron(f.norm(x, t, f"{name}.norm2"), t, f"{name}.mlp")
        even = torch.zeros(*(n + n % 2 for n in x.shape[:3]), x.shape[3])
        even[: x.shape[0], : x.shape[1], : x.shape[2]] = x
        joined = torch.cat([even[int(a) :: 2, int(b) :: 2, int(c) :: 2] for a, b, c in MERGED], dim=-1)
        name = f"layers{k + 1}.0.downsample"
        x = f.linear(f.norm(joined, t, f"{name}.norm"), t, f"{name}.reduction")
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    return x.mean(dim=(0, 1, 2))[None]


def write(path, tensors, prefix="module.swinViT."):
    """As the authors' training saves it, with its heads and the optimiser beside the encoder."""
    state = {prefix + name: tensor for name, tensor in tensors.items()}
    state |= {"module.rotation_head.weight": torch.zeros(4, 8), "module.conv.0.bias": torch.zeros(3)}
    optimiser = {"state": {0: {"exp_avg": torch.ones(2)}}}
    torch.save({"epoch": 1, "state_dict": state, "optimizer": optimiser}, path)
    return path


@pytest.fixture
def small(monkeypatch):
    net = partial(SwinTransformer, width=WIDTH, n_heads=HEADS)
    monkeypatch.setattr("braing3n.nets.foreign.swin.SwinTransformer", net)
    monkeypatch.setattr("braing3n.nets.foreign.inputs.FULL_SHAPE", SHAPE)


def prepare(image, mask, n_channels):
    """One volume as a channel, and what a channel without one holds."""
    volume = f.resample(f.restore(image, mask), SHAPE)
    if n_channels == 4:
        return np.where(volume != 0, f.z_score(volume, volume != 0), 0), 0.0
    inside = np.sort(volume[volume > 0])
    brightest = inside[int(0.999 * (len(inside) - 1))]
    return (np.clip(volume * 1000 / brightest, -1000, 1000)[::-1, ::-1] + 1000) / 2000, 0.5


def test_the_layout_is_the_official_one():
    net = SwinTransformer(1)
    layout = lay_out_swin()
    assert {name: tuple(x.shape) for name, x in net.state_dict().items()} == layout
    assert len(layout) == 126
    assert torch.equal(net.layers2[0].blocks[1].attn.relative_position_index, number_offsets())
    assert round(sum(x.numel() for x in net.parameters()) / 1e6, 2) == 8.06


@pytest.mark.parametrize("n_channels", [2, 4])
def test_a_volume_in_every_channel(n_channels, small, compute, volumes, agree, tmp_path):
    tensors = make_swin(n_channels)
    found = compute("brainsegfounder", write(tmp_path / "a.pt", tensors))
    channels = [prepare(*volumes.load(i), n_channels)[0] for i in range(3)]
    agree(found, [run_swin(f.to_batch(*[one] * n_channels), tensors) for one in channels])


@pytest.mark.parametrize(("n_channels", "slots"), [(2, {"T1": 0, "T2": 1}), (4, {"T1": 2, "T2": 3})])
def test_a_volume_in_its_contrasts_channel(n_channels, slots, small, compute, volumes, agree, tmp_path):
    tensors = make_swin(n_channels)
    found = compute("brainsegfounder", write(tmp_path / "a.pt", tensors), channel_fill="slot")
    expected = []
    for i, modality in enumerate(volumes.table["modality"]):
        filled, empty = prepare(*volumes.load(i), n_channels)
        channels = [np.full(SHAPE, empty) for _ in range(n_channels)]
        channels[slots[modality]] = filled
        expected.append(run_swin(f.to_batch(*channels), tensors))
    agree(found, expected)


def test_older_names_and_a_whole_segmentation_net_give_the_same(small, compute, tmp_path):
    tensors = make_swin(4)
    found = compute("brainsegfounder", write(tmp_path / "a.pt", tensors))
    older = {name.replace("mlp.linear", "mlp.fc"): x for name, x in tensors.items()}
    assert np.array_equal(compute("brainsegfounder", write(tmp_path / "b.pt", older)), found)
    assert np.array_equal(compute("brainsegfounder", write(tmp_path / "c.pt", tensors, "swinViT.")), found)


def test_nothing_loads_silently(small, compute, tmp_path):
    for prefix in ("module.swinViT.swinViT.", "module.encoder."):
        path = write(tmp_path / "a.pt", make_swin(2), prefix)
        with pytest.raises(CheckpointError, match=r"a\.pt: (has 0 input channels|no tensor's name)"):
            compute("brainsegfounder", path)
    with pytest.raises(CheckpointError, match="has 3 input channels, neither UK Biobank's 2 nor BraTS's 4"):
        compute("brainsegfounder", write(tmp_path / "a.pt", make_swin(3)))
    tensors = make_swin(2)
    del tensors["layers3.0.blocks.1.attn.relative_position_bias_table"]
    with pytest.raises(CheckpointError, match=r"missing: layers3\.0\.blocks\.1\.attn\.relative"):
        compute("brainsegfounder", write(tmp_path / "a.pt", tensors))
