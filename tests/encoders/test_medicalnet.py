"""MedicalNet: the official structure, an independent pass of the dilated net, and no other net's."""

import zlib
from functools import partial

import formulas as f
import numpy as np
import pytest
import torch

from braing3n.core.errors import CheckpointError
from braing3n.nets.foreign.resnet import ResNet

SHAPE, DEPTHS = (40, 48, 36), (1, 1, 2, 2)
THEIRS = ((1, 2, 1, 1), (1, 1, 2, 4))  # strides and dilations of the four layers
MONAIS = ((1, 2, 2, 2), (1, 1, 1, 1))


def make_net(**options):
    return f.fill(f.lay_out_resnet(DEPTHS, 8, **options))


def write(path, tensors, prefix="module."):
    """As the authors' release: a dictionary of one state, saved before PyTorch saved archives."""
    state = {prefix + name: tensor for name, tensor in tensors.items()}
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr("braing3n.nets.foreign.resnet.ResNet", partial(ResNet, depths=DEPTHS, width=8))
    monkeypatch.setattr("braing3n.nets.foreign.inputs.FULL_SHAPE", SHAPE)


def prepare(image, mask, outside=0.0):
    volume = f.resample(f.restore(image, mask), SHAPE)
    return f.to_batch(np.where(volume > 0, f.z_score(volume, volume > 0), outside))


def test_the_layout_is_the_official_one():
    with torch.device("meta"):
        net = ResNet()
    layout = f.lay_out_resnet()
    assert {name: tuple(x.shape) for name, x in net.state_dict().items()} == layout
    assert len(layout) == 318
    assert sum(x.numel() for x in net.parameters()) == 46_155_072


def test_it_is_the_dilated_net_with_a_strided_stem(small, compute, volumes, agree, tmp_path):
    tensors = make_net()
    found = compute("medicalnet", write(tmp_path / "resnet_50.pth", tensors))
    inputs = [prepare(*volumes.load(i)) for i in range(3)]
    agree(found, [f.run_resnet(x, tensors, DEPTHS, *THEIRS) for x in inputs])
    others = np.concatenate([f.run_resnet(x, tensors, DEPTHS, *MONAIS) for x in inputs])
    assert np.abs(found - others).max() > 1e-2  # the same file in MONAI's net


def test_noise_outside_the_brain_is_normal_and_the_same_each_time(small, compute, volumes, agree, tmp_path):
    tensors = make_net()
    path = write(tmp_path / "resnet_50.pth", tensors)
    found = compute("medicalnet", path, medicalnet_background="noise")
    assert np.array_equal(found, compute("medicalnet", path, medicalnet_background="noise"))
    seeds = [zlib.crc32(volumes.load(i)[0].tobytes()) for i in range(3)]  # of the volume, wherever it stands
    noise = [torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).numpy() for seed in seeds]
    inputs = [prepare(*volumes.load(i), noise[i]) for i in range(3)]
    agree(found, [f.run_resnet(x, tensors, DEPTHS, *THEIRS) for x in inputs])


def test_the_mask_alone_says_where_the_brain_is(volumes):
    """A brain voxel of mean intensity, 0 as what lies outside is, stays in the brain."""
    from braing3n.encoders.foreign.medicalnet import prepare as ours

    image, mask = (torch.from_numpy(part.copy()) for part in volumes.load(0))
    image[5, 6, 4] = 0
    shown = ours(image, mask)[0]
    assert shown.shape == (160, 192, 160)
    assert shown[88, 104, 79] != 0  # the middle of that voxel
    assert abs(float(shown[shown != 0].mean())) < 1e-4
    assert float(shown[shown != 0].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert shown[0].abs().max() == 0


def test_other_files_are_refused_in_one_sentence(small, compute, tmp_path):
    with pytest.raises(CheckpointError, match=r"unexpected: layer1\.0\.downsample\.0\.bias, ") as caught:
        compute("medicalnet", write(tmp_path / "a.pth", make_net(has_shortcut_bias=True)))
    assert "\n" not in str(caught.value)
    shallow = f.fill(f.lay_out_resnet((1, 1, 1, 2), 8))
    with pytest.raises(CheckpointError, match=r"missing: layer3\.1\.bn1\.bias"):
        compute("medicalnet", write(tmp_path / "a.pth", shallow))
