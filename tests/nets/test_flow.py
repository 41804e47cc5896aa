"""Integration: both solvers in closed form and against torchdiffeq, and the way back."""

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

from braing3n.nets.flow import integrate, trace_back


@pytest.mark.parametrize("n", [1, 7, 100])
def test_steps_along_a_linear_velocity_are_powers(n):
    a, x = -1.3, torch.randn(2, 3, 4)
    times = torch.linspace(0, 1, n + 1).tolist()
    torch.testing.assert_close(
        integrate(lambda x, t: a * x, x, times), (1 + a / n) ** n * x, rtol=1e-5, atol=1e-5
    )


def velocity(x, t):
    return torch.sin(3 * x + 5 * t) - 0.5 * x.mean(dim=1, keepdim=True)


def test_steps_are_those_of_torchdiffeq():
    x, times = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([0, 0.1, 0.15, 0.6, 1.0]).double()
    expected = odeint(lambda t, x: velocity(x, t), x, times, method="euler")[-1]
    found = integrate(lambda x, t: velocity(x, t).double(), x, times.tolist())
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_adams_bashforth_steps_along_a_linear_velocity_are_its_recurrence():
    a, n, x = -1.3, 12, torch.randn(2, 3, 4)
    found = integrate(lambda x, t: a * x, x, torch.linspace(0, 1, n + 1).tolist(), "adams_bashforth")
    before, now = 1.0, 1 + a / n  # of x, for equal steps
    for _ in range(n - 1):
        before, now = now, now + a / n * (1.5 * now - 0.5 * before)
    torch.testing.assert_close(found, now * x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("adams_bashforth", 2)])
def test_the_error_falls_by_the_solvers_order(solver, order):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0]).double()
    expected = odeint(lambda t, x: velocity(x, t), x, ends, method="dopri5", rtol=1e-10, atol=1e-12)[-1]

    def miss(n):
        times = torch.linspace(0, 1, n + 1).double() ** 1.5  # steps of unequal lengths
        return (integrate(velocity, x, times.tolist(), solver) - expected).abs().mean().item()

    assert miss(20) / miss(80) == pytest.approx(4**order, rel=0.35)


def test_adams_bashforth_follows_a_velocity_that_is_linear_in_time_whatever_the_steps():
    """All it misses is what the first step, Euler's, does: the slope times half that step's square."""
    times, a, b = [0.1, 0.2, 0.55, 0.6, 1.0], 2.0, -3.0
    found = integrate(
        lambda x, t: torch.full_like(x, a + b * t), torch.zeros(1, 1, 1), times, "adams_bashforth"
    )
    exact = a * (1.0 - 0.1) + b * (1.0**2 - 0.1**2) / 2
    assert found.item() == pytest.approx(exact - b * 0.1**2 / 2, abs=1e-6)


def test_adams_bashforth_evaluates_once_a_step():
    asked = []
    integrate(lambda x, t: asked.append(t) or x, torch.ones(1, 1, 1), [0, 0.1, 0.4, 1], "adams_bashforth")
    assert asked == [0, 0.1, 0.4]


@pytest.mark.parametrize("solver", ["euler", "adams_bashforth"])
def test_a_step_of_no_length_changes_nothing(solver):
    x = torch.randn(2, 3, 4)
    found = integrate(velocity, x, [0, 0, 0.1, 0.1, 0.4, 1, 1], solver)
    torch.testing.assert_close(found, integrate(velocity, x, [0, 0.1, 0.4, 1], solver))


@pytest.mark.parametrize("n", [10, 100])
def test_the_way_back_ends_where_the_steps_began(n):
    x, times = torch.randn(2, 3, 4), torch.linspace(0, 1, n + 1).tolist()
    end = integrate(velocity, x, times)
    start, moved = trace_back(velocity, end, times)
    torch.testing.assert_close(start, x, rtol=0, atol=1e-3)
    assert moved < 1e-4
    for now, then in zip(reversed(times[:-1]), reversed(times[1:]), strict=True):
        end = end - (then - now) * velocity(end, now)  # a step the other way
    assert (end - x).abs().max() > 5e-3


def test_steps_too_long_to_be_undone_are_reported():
    """dx/dt = 3x in one step: each iteration is three times farther from the fixed point than the last."""
    x = torch.ones(1, 1, 1)
    end = integrate(lambda y, t: 3 * y, x, [0, 1])
    start, moved = trace_back(lambda y, t: 3 * y, end, [0, 1])
    assert moved > 1
    assert abs(start.item() - 1) > 1
    assert np.isnan(trace_back(lambda y, t: y * torch.nan, end, [0, 1])[1])
