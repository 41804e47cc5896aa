"""The products that a step's share of the machine is reckoned from."""

import importlib
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from braing3n.nets.transformer import Attention, Linear

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def products(monkeypatch):
    """bench/peers/products.py as a module."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("peers.products")


def record(products, net, x, precision=torch.float32):
    with products.ProductRecorder() as recorder:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = net(x).square().mean()
        loss.backward()
    assert {product.dtype for product in recorder.counts} == {precision}
    return recorder.counts


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [nn.Linear, Linear])
def test_a_linear_layers_step_is_three_products(kind, precision, products):
    net = nn.Sequential(kind(24, 40), kind(40, 16))
    counts = record(products, net, torch.randn(3, 5, 24), precision)
    # Forward and weights' gradients of both, and the gradient of what lies between.
    assert products.count_operations(counts) == 2 * 15 * (2 * 24 * 40 + 3 * 40 * 16)


def test_a_convolutions_step_is_three_products(products):
    net = nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.Conv3d(4, 8, 3, padding=1, stride=2))
    counts = record(products, net, torch.randn(1, 2, 8, 8, 8))
    first, second = 512 * 2 * 27 * 4, 64 * 4 * 27 * 8
    assert products.count_operations(counts) == 2 * (2 * first + 3 * second)


def test_attentions_step_is_two_products_and_four(products):
    net, n, width = Attention(32, n_heads=4), 20, 32
    counts = record(products, net, torch.randn(2, n, width, requires_grad=True))
    layers, attention = n * (3 + 1) * width**2, n * n * width
    assert products.count_operations(counts) == 2 * 2 * (3 * layers + 6 * attention)


def test_each_shape_takes_the_faster_of_its_ways(products, monkeypatch):
    takes = iter([(4.0, 5.0), (3.0, 6.0), (10.0, 20.0), (50.0, 50.0)])  # float32 has two ways, the others one

    def take(call, times):
        call()
        return tuple(times * seconds for seconds in next(takes))

    monkeypatch.setattr(products, "_time", take)
    shapes = [(1, 8, 8, 8, torch.float32), (1, 8, 8, 8, torch.bfloat16), (3, 8, 8, 8, torch.float32)]
    counts = dict(zip([products.Product(*shape) for shape in shapes], (2, 1, 1), strict=True))
    assert products.time_products(counts) == (2 * 3 + 10 + 50, 2 * 6 + 20 + 50)


def test_what_is_too_large_is_timed_in_part(products, monkeypatch):
    monkeypatch.setattr(products, "LARGEST", 1000)
    monkeypatch.setattr(products, "_time", lambda call, times: (call().numel() * times, times))
    seconds = products.time_products({products.Product(1, 4000, 3000, 500, torch.bfloat16): 1})
    assert seconds == (1000 * 500 * 4 * 3, 4 * 3)


def test_a_time_is_the_calls_mean(products):
    seconds, _ = products._time(lambda: time.sleep(0.02), 3.0)
    assert 0.06 <= seconds < 0.3
