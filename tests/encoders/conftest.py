"""What the tests of others' encoders share: a few volumes, and settings that name a file of weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from braing3n.config import LatentsSettings
from braing3n.encoders import compute_features

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes


@pytest.fixture
def volumes():
    """Three volumes of noise in a ball, whose box has corners outside it."""
    made = InventedVolumes(n=3, shape=(10, 12, 9))
    places = np.indices(made.shape) / (np.array(made.shape) - 1)[:, None, None, None] * 2 - 1
    made.mask &= (places**2).sum(axis=0) < 0.9
    made.images = [np.where(made.mask, image, 0).astype(np.float32) for image in made.images]
    return made


@pytest.fixture
def compute(volumes, tmp_path):
    """compute(encoder, path, **options of latents.foreign): features of the three volumes."""

    def run(name, path, **options):
        foreign = {"weights": {name: str(path)} if path else {}, **options}
        settings = LatentsSettings.model_validate({"batch_size": 2, "foreign": foreign})
        return compute_features(name, volumes, settings, {}, torch.device("cpu"), tmp_path / "part")

    return run


@pytest.fixture
def agree():
    """Whether features are those of a reference to 1e-5 of their scale, and no two volumes' alike."""

    def check(found, expected):
        expected = np.concatenate([np.asarray(row) for row in expected])
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        scale = np.abs(expected).max()
        assert np.abs(found - expected).max() < 1e-5 * max(1, scale)
        assert np.abs(expected[0] - expected[1]).max() > 1e-3 * scale

    return check
