"""Invented people on coarse voxels, and a detector that is trained on some of them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from braing3n.fidelity.coarse import halve
from braing3n.memorization.contrastive.audit import open_detector
from braing3n.memorization.contrastive.train import CoarseSource
from braing3n.memorization.settings import ContrastiveSettings

SHAPE = (20, 24, 20)
N_TRAIN, N_HELD_OUT = 60, 200
SETTINGS = ContrastiveSettings(width=16, n_numbers=32, n_steps=600, batch_size=20)
PLACES = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
BRAIN = (PLACES**2).sum(axis=0) < 0.8


def make_person(seed):
    """What all have, and smooth structure of one's own; z units, 0 outside the brain."""
    own = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2.0)
    volume = 3 * np.exp(-(PLACES**2).sum(axis=0)) + PLACES[1] + 0.7 * own / own.std()
    inside = volume[BRAIN]
    return np.where(BRAIN, (volume - inside.mean()) / inside.std(), 0).astype(np.float32)


def make_source(volumes, digest="invented"):
    """The first 60 are trained on; a T1 of each person."""
    n = len(volumes)
    ids = [f"v{k}" for k in range(n)]
    table = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1"})
    table["split"] = np.where(np.arange(n) < N_TRAIN, "train", "test")

    def read(batches, device):
        for rows in batches:
            yield torch.from_numpy(np.stack([halve(volumes[row]) for row in rows]))[:, None].to(device)

    return CoarseSource(table, read, digest)


@pytest.fixture(scope="package")
def people():
    return np.stack([make_person(seed) for seed in range(N_TRAIN + N_HELD_OUT)])


@pytest.fixture(scope="package")
def source(people):
    return make_source(people)


@pytest.fixture(scope="package")
def detector(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive")
    with open_detector(source, SETTINGS, folder / "checkpoints", folder / "net.safetensors") as opened:
        yield opened
