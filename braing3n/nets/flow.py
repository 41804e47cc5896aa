"""Integration of a velocity: forwards by one of two solvers, and backwards along Euler's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from braing3n.core.settings import Solver

Velocity = Callable[[Tensor, float], Tensor]
Watch = Callable[[list[tuple[float, float]]], Iterable[Any]]  # passes the steps on, as a progress bar does
N_FIXED_POINTS = 40  # at most: an error falls by a step's length times the velocity's steepness at each


def integrate(
    velocity: Velocity, x: Tensor, times: Sequence[float], solver: Solver = "euler", watch: Watch = iter
) -> Tensor:
    """Steps from x (B, T, d) along `velocity(x, t)`, from the first of the times to the last.

    Args:
        solver: `euler`, of first order, or `adams_bashforth`, of second: the velocity of the step before
            corrects each step (Hairer et al. 1993, section III.1), so that neither evaluates more than
            once a step. The first step is Euler's in both.
    """
    before: tuple[Tensor, float] | None = None
    for now, then in watch(list(pairwise(times))):
        step = then - now
        if step == 0:  # many steps are not apart in float32
            continue
        v = slope = velocity(x, now).float()
        if solver == "adams_bashforth":
            if before is not None:
                slope = v + step / (2 * before[1]) * (v - before[0])
            before = v, step
        x = x + slope * step
    return x


def trace_back(
    velocity: Velocity, x: Tensor, times: Sequence[float], tolerance: float = 1e-5, watch: Watch = iter
) -> tuple[Tensor, float]:
    """The start from which `integrate` with the same times arrives at x (B, T, d) by Euler's steps.

    A step y -> y + h v(y, t) is undone by the fixed point of y = x - h v(y, t), not by a step the other way,
    which would miss the start by an error of first order.

    Args:
        tolerance: a fixed point is found where the largest number moves by less.

    Returns:
        The start, and by how much the largest number of any step still moved at the last iteration: far
        above the tolerance where steps are so long that the fixed points were not reached.
    """
    worst = 0.0
    for then, now in watch(list(pairwise(reversed(times)))):
        y = x
        for _ in range(N_FIXED_POINTS):
            previous, y = y, x - velocity(y, now).float() * (then - now)
            moved = float((y - previous).abs().max())
            if moved < tolerance:
                break
        x, worst = y, worst if moved <= worst else moved  # NaN, too, is reported
    return x, worst
