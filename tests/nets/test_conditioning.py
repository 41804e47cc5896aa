"""The DiT's block and time code against facebookresearch/DiT's formulas in float64; how a block starts."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from braing3n.config import DiffusionSettings
from braing3n.nets.conditioning import TIME_SCALE, ConditionedTransformer, ModulatedBlock
from braing3n.nets.transformer import encode_scalars

WIDTH, N_HEADS, GRID, D = 24, 3, (2, 2, 2), 5
SIZES = DiffusionSettings(depth=3, width=WIDTH, n_heads=N_HEADS)


def test_every_block_starts_as_the_identity_and_its_branches_do_not_start_at_zero():
    """adaLN-Zero closes the gates; what lies behind them is random."""
    net = ConditionedTransformer(SIZES, [3, 2], {"age": 10.0}, D, GRID)
    net.initialise()
    x, condition = torch.randn(2, 8, WIDTH), torch.randn(2, WIDTH)
    assert len(net.blocks) == SIZES.depth
    for block in net.blocks:
        assert torch.equal(block(x, condition), x)
        for branch in (block.attention(block.norm1(x)), block.mlp(block.norm2(x))):
            assert branch.abs().mean() > 0.01
    torch.nn.init.normal_(net.blocks[1].modulate.weight)
    assert not torch.allclose(net.blocks[1](x, condition), x, atol=0.1)


def normalise(x):
    """A layer norm without weights, 1e-6 under the root."""
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)


def run_block(w, x, condition):
    """`DiTBlock` of the official code for one sample, tokens (n, width), after the condition's SiLU.

    One thing differs there: its MLP has the tanh approximation of GELU, ours GELU itself.
    """

    def linear(name, rows):
        return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = np.split(
        linear("modulate", condition), 6
    )
    q, k, v = np.split(linear("attention.qkv", normalise(x) * (1 + scale_msa) + shift_msa), 3, axis=1)
    heads = []
    for part in np.split(np.arange(WIDTH), N_HEADS):
        weights = softmax(q[:, part] @ k[:, part].T / math.sqrt(WIDTH / N_HEADS), axis=1)
        heads.append(weights @ v[:, part])
    x = x + gate_msa * linear("attention.project", np.concatenate(heads, axis=1))
    hidden = linear("mlp.0", normalise(x) * (1 + scale_mlp) + shift_mlp)
    return x + gate_mlp * linear("mlp.2", hidden * (1 + erf(hidden / math.sqrt(2))) / 2)


def test_a_block_is_that_of_the_official_formulas_in_float64():
    torch.manual_seed(0)
    block = ModulatedBlock(WIDTH, N_HEADS, 4.0).double().requires_grad_(False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, condition = torch.randn(2, 7, WIDTH).double(), torch.randn(2, WIDTH).double()
    w = {name: parameter.numpy() for name, parameter in block.named_parameters()}
    expected = [run_block(w, *pair) for pair in zip(x.numpy(), condition.numpy(), strict=True)]
    np.testing.assert_allclose(block(x, condition).numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n_channels", [256, 33])
def test_the_time_code_is_the_official_one_with_sines_before_cosines(n_channels):
    """`timestep_embedding` of times up to 1000; the layer behind it has its columns in that order.

    Ours is computed in single precision, in which an angle of 1000 is good to 6e-5.
    """
    t = torch.tensor([0.0, 0.013, 0.5, 0.77, 1.0])
    found = encode_scalars(TIME_SCALE * t, n_channels).double().numpy()
    half = n_channels // 2
    frequencies = np.exp(-math.log(10000) * np.arange(half) / half)
    angles = 1000 * t.double().numpy()[:, None] * frequencies
    np.testing.assert_allclose(found[:, :half], np.sin(angles), atol=2e-4)
    np.testing.assert_allclose(found[:, half : 2 * half], np.cos(angles), atol=2e-4)
    assert found.shape[1] == n_channels
    assert not found[:, 2 * half :].any()
