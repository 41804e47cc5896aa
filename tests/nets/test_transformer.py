"""What the transformers are made of, against float64."""

import pytest
import torch
from torch.nn import functional

from braing3n.nets import transformer
from braing3n.nets.transformer import MOST_TOKENS_WRITTEN_OUT, Linear, attend


@pytest.mark.parametrize("library", ["oneDNN", "MKL"])
@pytest.mark.parametrize("shape", [(2, 7, 12), (1, 1, 12), (3, 40, 12)])
def test_a_linear_layer_and_its_gradients_are_those_of_float64(shape, library, monkeypatch):
    monkeypatch.setattr(transformer, "_PREFERS_ONEDNN", library == "oneDNN")
    torch.manual_seed(0)
    layer, x = Linear(12, 20), torch.randn(*shape, requires_grad=True)
    image = layer(x)
    assert image.is_contiguous()
    wanted_of = [part.detach().double().requires_grad_() for part in (x, layer.weight, layer.bias)]
    wanted = functional.linear(*wanted_of)
    torch.testing.assert_close(image.double(), wanted, rtol=1e-5, atol=1e-6)
    weights = torch.randn(image.shape)
    found = torch.autograd.grad((image * weights).sum(), [x, layer.weight, layer.bias])
    expected = torch.autograd.grad((wanted * weights).sum(), wanted_of)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_autocast_and_float64_keep_their_precision():
    layer, x = Linear(12, 20), torch.randn(2, 7, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64


def test_a_slice_of_tokens_is_read_where_it_lies():
    layer, x = Linear(12, 20), torch.randn(2, 7, 12)
    torch.testing.assert_close(layer(x[:, 3:]), layer(x)[:, 3:])


@pytest.mark.parametrize("n_tokens", [20, MOST_TOKENS_WRITTEN_OUT + 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float32, 1e-5)])
def test_attention_and_its_gradients_are_those_of_float64(n_tokens, dtype, tolerance):
    """Queries, keys and values, written out or fused, against softmax(q k / sqrt(C)) v."""
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, n_tokens, 16, dtype=torch.float64) for _ in range(3)]
    theirs = [part.clone().requires_grad_() for part in parts]
    weights = torch.einsum("bhmc,bhnc->bhmn", theirs[0], theirs[1]) / 4
    expected = torch.einsum("bhmn,bhnc->bhmc", weights.exp() / weights.exp().sum(-1, keepdim=True), theirs[2])
    ours = [part.to(dtype).requires_grad_() for part in parts]
    found = attend(*ours)
    assert found.dtype == dtype
    found.double().sin().sum().backward()
    expected.sin().sum().backward()
    pairs = [(found, expected), *((one.grad, other.grad) for one, other in zip(ours, theirs, strict=True))]
    for one, other in pairs:
        assert (one.double() - other).norm() < tolerance * other.norm()
