"""Invented labels and tokens, and an untrained DiT that reads its conditions."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.model import DiT
from braing3n.diffusion.train import Latents

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes
from small_dit import GRID, SETTINGS, D


@pytest.fixture
def labels():
    return InventedVolumes().table.assign(idh1="")


@pytest.fixture
def latents(labels):
    tokens = np.random.default_rng(0).normal(2.0, [1, 5, 0.2], (len(labels), 8, D)).astype(np.float16)
    return Latents(tokens, GRID, labels)


@pytest.fixture
def model(labels):
    """A DiT whose zero-initialised layers are made random, so that conditions matter."""
    torch.manual_seed(0)
    net = DiT(SETTINGS, build_vocabularies(labels, SETTINGS), D, GRID)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.requires_grad_(False)


@pytest.fixture
def float64_model(model, monkeypatch):
    """A model whose velocity is an invented function in float64 of all it is given; `calls` counts."""
    weights = torch.randn(6, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    calls = []

    def invent_velocity(x, t, codes, age_years):
        calls.append(len(x))
        given = torch.cat([codes.double(), age_years.nan_to_num(-7.0)[:, None].double()], dim=1)
        return torch.sin(x * (given @ weights)[:, None] + t[:, None, None])

    monkeypatch.setattr(model, "forward", invent_velocity)
    model.calls = calls
    return model
