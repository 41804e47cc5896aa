"""Integration of a velocity: forwards by Euler's method, and backwards along the same steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
N_FIXED_POINTS = 8  # an error falls by a step's length times the velocity's steepness at each; a few suffice


def integrate(velocity: Velocity, x: Tensor, times: Sequence[float]) -> Tensor:
    """Euler steps from x (B, T, d) along `velocity(x, t)`, from the first of the times to the last."""
    for now, then in pairwise(times):
        x = x + velocity(x, now).float() * (then - now)
    return x


def trace_back(velocity: Velocity, x: Tensor, times: Sequence[float], tolerance: float = 1e-5) -> Tensor:
    """The start from which `integrate` with the same times arrives at x (B, T, d).

    A step y -> y + h v(y, t) is undone by the fixed point of y = x - h v(y, t), not by a step the other way,
    which would miss the start by an error of first order.

    Args:
        tolerance: a fixed point is found where the largest number moves by less.
    """
    for then, now in pairwise(reversed(times)):
        y = x
        for _ in range(N_FIXED_POINTS):
            previous, y = y, x - velocity(y, now).float() * (then - now)
            if (y - previous).abs().max() < tolerance:
                break
        x = y
    return x
