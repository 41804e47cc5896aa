"""The tables of docs/performance.md, and the counts behind them."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def floor():
    """bench/floor.py as a module."""
    spec = importlib.util.spec_from_file_location("bench_floor", ROOT / "bench" / "floor.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_document_holds_what_the_program_prints(floor):
    text = floor.DOC.read_text().split(floor.BEGIN)[1].split(floor.END)[0]
    assert text.strip() == floor.describe(0.4).strip(), "run: python bench/floor.py --write"


def test_operations_agree_with_the_layers_sizes(floor):
    # A token passes the patch's embedding, 12 layers of 4 + 8 squares of the width, and attention to all.
    width, n, n_voxels = 1152, 1200, 16**3
    expected = 2 * n * (12 * 12 * width**2 + n_voxels * width) + 12 * 4 * n**2 * width
    assert floor.count_costs()["encode"].n_flops == expected


def test_operators_take_the_longer_of_operations_and_bytes(floor):
    a, b = (torch.empty(256, 256, dtype=torch.bfloat16, device="meta") for _ in range(2))
    with floor.OperatorBound() as product:
        a @ b
    assert product.n_bytes == 3 * 256 * 256 * 2
    assert product.seconds == pytest.approx(product.n_bytes / 3.35e12)  # small: bytes take longer
    a, b = (torch.empty(8192, 8192, dtype=torch.bfloat16, device="meta") for _ in range(2))
    with floor.OperatorBound() as product:
        a.t() @ b
    assert product.seconds == pytest.approx(2 * 8192**3 / 989e12)


def test_nothing_is_predicted_faster_than_its_bounds(floor):
    for cost in floor.add_up_paper(floor.count_costs()).values():
        hours = floor.predict_hours(cost, 0.9)
        assert hours >= cost.seconds / 3600 >= cost.floor_s / 3600 > 0
