"""Floating-point operations of a model, counted without computing them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def count_flops(function: Callable[[], object]) -> int:
    """The floating-point operations of matrix products, attention and convolutions; a multiply-add is two.

    function builds a model and calls it, backward where training is meant; its tensors have shapes and
    no memory (`torch.device("meta")`), so the paper's sizes take a second. All else (norms, activations, the
    optimiser) is left out, as is usual.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()
