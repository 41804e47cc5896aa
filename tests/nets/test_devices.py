"""Each network's forward pass on a GPU is the CPU's to 1e-3; where there is no GPU, the tests say so."""

import copy

import pytest
import torch

from braing3n.config import DiffusionSettings, LongitudinalSettings, PretrainSettings, TokenizerSettings
from braing3n.core.contracts import MODALITIES
from braing3n.diffusion.conditions import Vocabularies
from braing3n.diffusion.model import DiT
from braing3n.longitudinal.model import Bridge
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer

GRID, D, N = (2, 3, 2), 4, 3
SIZES = {"depth": 2, "width": 48, "n_heads": 4}
WORDS = Vocabularies(("HC", "AD"), ("F", "M"), MODALITIES, ("a",), ("wildtype", "mutant"))
DEVICES = [
    "cpu",  # the comparison itself
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
    ),
]


def make_encoder():
    decoder = {"decoder_depth": 1, "decoder_width": 24, "decoder_n_heads": 2}
    net = MaskedAutoencoder(PretrainSettings(patch_size=8, **SIZES, **decoder), (16, 24, 16))
    return net, MaskedAutoencoder.encode, (torch.randn(N, 1, 16, 24, 16),)


def make_tokenizer():
    net = Tokenizer(TokenizerSettings(d=D, widths=(16, 8, 8), n_blocks=1), 48, 8, GRID)
    return net, Tokenizer.decode, (torch.randn(N, 12, D),)


def make_dit():
    codes = torch.tensor([[0, 1, 2, 0, 1], [2, 2, 0, 1, 2], [1, 0, 3, 1, 0]])
    given = torch.randn(N, 12, D), torch.rand(N), codes, torch.tensor([60.0, torch.nan, 30.0])
    return DiT(DiffusionSettings(**SIZES), WORDS, D, GRID), DiT.forward, given


def make_bridge():
    numbers = torch.tensor([60.0, torch.nan, 80.0]), torch.tensor([0.0, 0.5, torch.nan]), torch.rand(N)
    given = torch.randn(N, 12, D), torch.rand(N), torch.tensor([[0, 1], [1, 2], [2, 0]]), *numbers
    return Bridge(LongitudinalSettings(**SIZES), D, GRID), Bridge.forward, given


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [make_encoder, make_tokenizer, make_dit, make_bridge])
def test_a_forward_pass_is_that_of_the_cpu(make, device):
    torch.manual_seed(0)
    net, forward, given = make()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    moved = copy.deepcopy(net).to(device)
    with torch.no_grad():
        expected = forward(net, *given)
        found = forward(moved, *(part.to(device) for part in given))
    assert found.device.type == device
    assert expected.std() > 0.01
    assert (found.cpu() - expected).abs().max() < 1e-3 * expected.abs().max()
