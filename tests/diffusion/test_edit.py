"""Counterfactuals: unchanged conditions give the person back, and what differs is what was changed."""

import warnings

import pandas as pd
import pytest
import torch
from small_dit import GRID, SETTINGS, D

from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.edit import change_conditions
from braing3n.diffusion.model import DiT
from braing3n.diffusion.sample import Arm, list_samples, sample_tokens
from braing3n.diffusion.train import train_dit
from braing3n.nets.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
SAMPLING = SETTINGS.sampling.model_copy(update={"n_steps": 100, "precision": "float32"})


@pytest.fixture
def trained(latents, tmp_path):
    (tmp_path / "inputs").write_text("")
    options = SETTINGS.optimiser.model_copy(update={"n_epochs": 100})
    settings = SETTINGS.model_copy(update={"optimiser": options, "ema_decay": 0.9})
    train_dit(latents, settings, tmp_path / "runs", tmp_path / "d.safetensors", [tmp_path / "inputs"])
    return load_model(DiT, tmp_path / "d.safetensors")


def describe(n, **conditions):
    return pd.concat([list_samples([Arm("own", **({"modality": "T1"} | conditions))], n)], ignore_index=True)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_unchanged_conditions_give_the_person_back(trained, latents, guidance):
    settings = SAMPLING.model_copy(update={"guidance": guidance})
    tokens = torch.from_numpy(latents.tokens[:4]).float()
    own = describe(4, disease="AD", sex="F", age_years=70.0)
    back = change_conditions(trained, tokens, own, own, settings)
    scale = trained.token_scale[0]
    missed = ((back - tokens) / scale).abs().max()
    assert missed < 1e-3
    other = change_conditions(trained, tokens, own, own.assign(disease="HC", age_years=30.0), settings)
    assert ((other - tokens) / scale).abs().max() > 10 * missed
    none = change_conditions(trained, tokens, own, own.assign(disease="HC", age_years=30.0), settings, 0.0)
    assert ((none - tokens) / scale).abs().max() < 1e-3


def test_steps_too_long_for_the_guidance_are_warned_of(trained, latents):
    settings = SAMPLING.model_copy(update={"guidance": 40.0, "n_steps": 2})
    tokens, own = torch.from_numpy(latents.tokens[:2]).float(), describe(2, disease="AD", sex="F")
    with pytest.warns(RuntimeWarning, match="not kept.*more steps or less guidance"):
        change_conditions(trained, tokens, own, own, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        change_conditions(trained, tokens, own, own, SAMPLING)


def test_a_samples_counterfactual_is_the_sample_of_the_same_noise(trained):
    """What abduction finds is the noise that the sample was drawn from."""
    own = describe(3, disease="AD", sex="F")
    new = own.assign(disease="HC")
    cpu = torch.device("cpu")
    start, expected = (sample_tokens(trained, table, SAMPLING, cpu) for table in (own, new))
    found = change_conditions(trained, start, own, new, SAMPLING)
    assert (found - expected).abs().max() < 0.02 * (start - expected).abs().max()


def test_strength_leads_from_the_person_to_the_change(trained, latents):
    tokens = torch.from_numpy(latents.tokens[:2]).float()
    own = describe(2, disease="AD")
    moved = [
        (change_conditions(trained, tokens, own, own.assign(disease="HC"), SAMPLING, s) - tokens)
        .norm()
        .item()
        for s in (0.25, 0.5, 1.0, 2.0)
    ]
    assert moved == sorted(moved)
    assert moved[0] < 0.5 * moved[-1]


def test_edits_take_eulers_steps_whatever_the_solver_of_samples(model, latents):
    """Only those are undone one by one on the way back."""
    tokens, own = torch.from_numpy(latents.tokens[:2]).float(), describe(2, disease="AD")
    few = SAMPLING.model_copy(update={"n_steps": 8})
    found = [
        change_conditions(model, tokens, own, own.assign(disease="HC"), options)
        for options in (few, few.model_copy(update={"solver": "adams_bashforth"}))
    ]
    assert torch.equal(*found)


def test_another_modality_has_its_own_statistics(labels):
    """Before its blocks learn, the flow knows no condition: a T2 is the T1 in units of the T2s."""
    net = DiT(SETTINGS, build_vocabularies(labels, SETTINGS), D, GRID)
    net.token_mean[0], net.token_scale[0] = 1.0, 0.5  # T1
    net.token_mean[2], net.token_scale[2] = 10.0, 2.0  # T2
    tokens, own = 1 + 0.5 * torch.randn(3, 8, D, generator=torch.Generator().manual_seed(0)), describe(3)
    found = change_conditions(net, tokens, own, own.assign(modality="T2"), SAMPLING)
    torch.testing.assert_close(found, 10 + 2 * (tokens - 1) / 0.5, rtol=0, atol=5e-3)
