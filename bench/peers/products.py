"""The matrix products that a training step needs, and how fast this machine multiplies their shapes alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

LARGEST = 8192  # of a product's sizes that is timed; what is left out takes as long again
MIN_SECONDS, MIN_CALLS = 0.1, 3  # a shape is timed at least so long and so often


class Product(NamedTuple):
    """n products at once of (rows, inner) and (inner, columns)."""

    n: int
    rows: int
    inner: int
    columns: int
    dtype: torch.dtype


class ProductRecorder(TorchDispatchMode):
    """Within, counts the products of each shape, convolutions and attention as the products that they are."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[Product] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in PRODUCTS:
            for shape in PRODUCTS[name](result, *args):
                self.counts[Product(*shape, args[0].dtype)] += 1
        return result


def _list_product(result: Tensor, a: Tensor, b: Tensor, *rest: object) -> Iterator[tuple[int, ...]]:
    n = a.shape[0] if a.ndim == 3 else 1
    yield n, a.shape[-2], a.shape[-1], b.shape[-1]


def _list_sum(result: Tensor, bias: Tensor, a: Tensor, b: Tensor, *rest: object) -> Iterator[tuple[int, ...]]:
    yield from _list_product(result, a, b)


def _list_convolution(result: Tensor, x: Tensor, weight: Tensor, *rest: object) -> Iterator[tuple[int, ...]]:
    """A convolution's rows are the voxels of its result, its inner numbers the kernel's."""
    yield 1, result.numel() // result.shape[1], weight[0].numel(), weight.shape[0]


def _list_convolution_backward(
    result: tuple, gradient: Tensor, x: Tensor, weight: Tensor, *rest: object
) -> Iterator[tuple[int, ...]]:
    rows, inner, columns = gradient.numel() // gradient.shape[1], weight[0].numel(), weight.shape[0]
    needs_x, needs_weight, _ = rest[-1]
    if needs_x:
        yield 1, rows, columns, inner
    if needs_weight:
        yield 1, columns, rows, inner


def _list_attention(
    result: tuple, q: Tensor, k: Tensor, v: Tensor, *rest: object
) -> Iterator[tuple[int, ...]]:
    n, n_q, n_k, width = q.shape[0] * q.shape[1], q.shape[2], k.shape[2], q.shape[3]
    yield n, n_q, width, n_k
    yield n, n_q, n_k, width


def _list_attention_backward(
    result: tuple, gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: object
) -> Iterator[tuple[int, ...]]:
    n, n_q, n_k, width = q.shape[0] * q.shape[1], q.shape[2], k.shape[2], q.shape[3]
    yield n, n_q, width, n_k
    yield n, n_q, n_k, width
    yield n, n_k, n_q, width
    yield n, n_k, n_q, width


PRODUCTS: dict[str, Callable[..., Iterator[tuple[int, ...]]]] = {
    "mm": _list_product,
    "bmm": _list_product,
    "addmm": _list_sum,
    "baddbmm": _list_sum,
    "convolution": _list_convolution,
    "convolution_backward": _list_convolution_backward,
    "_scaled_dot_product_flash_attention_for_cpu": _list_attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _list_attention_backward,
}


def count_operations(counts: Counter[Product]) -> float:
    """Operations of all, a multiply-add being two."""
    return sum(2.0 * times * p.n * p.rows * p.inner * p.columns for p, times in counts.items())


def time_products(counts: Counter[Product]) -> tuple[float, float]:
    """Seconds, and seconds of processors, of all: each shape timed alone, by the faster of its ways."""
    timed = {product: min(_time_ways(product)) for product in counts}
    return tuple(sum(times * timed[product][i] for product, times in counts.items()) for i in range(2))


def _time_ways(product: Product) -> Iterator[tuple[float, float]]:
    """The times of one product as a matrix product and, in float32, as a convolution over one pixel."""
    sizes = [product.rows, product.inner, product.columns]
    m, k, n = (min(size, LARGEST) for size in sizes)
    times = product.rows * product.inner * product.columns / (m * k * n)
    a, b = torch.ones(product.n, m, k, dtype=product.dtype), torch.ones(product.n, k, n, dtype=product.dtype)
    if product.n > 1:
        yield _time(lambda: torch.bmm(a, b), times)
        return
    yield _time(lambda: torch.mm(a[0], b[0]), times)
    if product.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        pixels, kernel = a.transpose(1, 2)[:, :, None], b[0].T.contiguous()[..., None, None]
        yield _time(lambda: functional.conv2d(pixels, kernel), times)


@torch.no_grad()
def _time(call: Callable[[], object], times: float) -> tuple[float, float]:
    """The mean seconds, and seconds of processors, of a call, so many times over."""
    call()
    n_calls, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while n_calls < MIN_CALLS or time.perf_counter() - start < MIN_SECONDS:
        call()
        n_calls += 1
    spent = time.perf_counter() - start, time.process_time() - cpu_start
    return spent[0] / n_calls * times, spent[1] / n_calls * times
