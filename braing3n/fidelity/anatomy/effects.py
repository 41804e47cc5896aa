"""Effect sizes and age slopes of two sets of people, with intervals and a floor of the same numbers.

A set is an array (n, 1 + K): age in years, then K volumes in ml, a row a person. As in
`fidelity.measure`, a draw deals the real people into `people`, as many as there are samples, and `others`:
the value is the samples' against the others, the floor that of the people against the same others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

N_DRAWS = 1000  # of people, behind intervals and floors
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Effect:
    """What is measured of each set by itself, and between two.

    Attributes:
        quantity: its name.
        of_one: sets (..., n, 1 + K) -> (..., K).
        of_two: two sets -> (..., K).
    """

    quantity: str
    of_one: Callable[[np.ndarray], np.ndarray]
    of_two: Callable[[np.ndarray, np.ndarray], np.ndarray]


def measure_g(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hedges' g (..., K): the difference of means in pooled deviations, less the bias of small numbers.

    Hedges 1981 (Journal of Educational Statistics 6). NaN where nobody differs.
    """
    n, m = first.shape[-2], second.shape[-2]
    squares = sum((len_ - 1) * x[..., 1:].var(axis=-2, ddof=1) for len_, x in ((n, first), (m, second)))
    deviation = np.sqrt(squares / (n + m - 2))
    gap = first[..., 1:].mean(axis=-2) - second[..., 1:].mean(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(deviation > 0, gap / deviation, np.nan) * (1 - 3 / (4 * (n + m) - 9))


def measure_slope(people: np.ndarray) -> np.ndarray:
    """Ml a year of age (..., K), by least squares; NaN where all have one age."""
    centred = people - people.mean(axis=-2, keepdims=True)
    age_years, ml = centred[..., :1], centred[..., 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = (age_years**2).sum(axis=-2)
        return np.where(squares > 0, (age_years * ml).sum(axis=-2) / squares, np.nan)


SIZE = Effect("Hedges' g", lambda people: people[..., 1:].mean(axis=-2), measure_g)
SLOPE = Effect("ml a year", measure_slope, lambda a, b: measure_slope(a) - measure_slope(b))


def compare_sets(
    effect: Effect, first: np.ndarray, second: np.ndarray, n_people: int, is_dealt: bool, seed: int
) -> dict[str, np.ndarray]:
    """An effect between a set and people, with 95 % of resamplings of both, beside its floor.

    Args:
        first: (n, 1 + K).
        second: (N, 1 + K), of N people.
        n_people: of them, in the samples' place; 0: there is no floor, and all N are the others.
        is_dealt: the first set is of the same N people, and its part is what the draw puts in the samples'
            place; else it is the samples, and all of them count.

    Returns:
        first and second (of each set by itself), value, and floor, each with `_low` and `_high` (K,); the
        floor is NaN where there is none.
    """
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.tile(np.arange(len(second)), (N_DRAWS, 1)), axis=1)
    people, others = dealt[:, :n_people], dealt[:, n_people:]
    n_first = n_people if is_dealt else len(first)
    again = first[rng.integers(len(first), size=(N_DRAWS, n_first))]
    beside = second[rng.integers(len(second), size=(N_DRAWS, others.shape[1]))]
    values = effect.of_two(first[people] if is_dealt else first[None], second[others])
    nothing = np.full((1, first.shape[1] - 1), np.nan)
    floors = effect.of_two(second[people], second[others]) if n_people else nothing
    return {
        **_summarise("first", effect.of_one(first), effect.of_one(again)),
        **_summarise("second", effect.of_one(second), effect.of_one(beside)),
        **_summarise("value", values.mean(axis=0), effect.of_two(again, beside)),
        **_summarise("floor", floors.mean(axis=0), floors),
    }


def _summarise(name: str, value: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """A value and the interval of its draws (n, K); a draw where nobody differs is left out."""
    ends = np.full((2, draws.shape[1]), np.nan)
    has_draws = np.isfinite(draws).any(axis=0)
    ends[:, has_draws] = np.nanpercentile(draws[:, has_draws], PERCENTILES, axis=0)
    return {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
