"""A distance beside its floor: real people dealt into those in the samples' place and the others.

A distance between small sets is biased, the more the smaller they are, so it is compared with nothing but a
distance of the same counts. All volumes of a person are dealt together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

FEW_PEOPLE = 64  # below it a number is flagged
Distance = Callable[[np.ndarray, np.ndarray], float]


def deal_people(
    generated: np.ndarray, real: np.ndarray, n_draws: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of generated people, of as many real ones in their place, and of all other real people.

    Half of the real people at most stand in that place; where that is fewer than the generated ones, of
    these as many are drawn.

    Args:
        generated: (N,) and real: (M,), whose row each is.
    """
    rng = np.random.default_rng(seed)
    names, real_names = np.unique(generated), np.unique(real)
    n = min(len(names), len(real_names) // 2)
    for _ in range(n_draws):
        chosen, dealt = rng.permutation(names)[:n], rng.permutation(real_names)
        yield (
            np.flatnonzero(np.isin(generated, chosen)),
            np.flatnonzero(np.isin(real, dealt[:n])),
            np.flatnonzero(np.isin(real, dealt[n:])),
        )


def measure_beside_floor(
    distance: Distance,
    generated: np.ndarray,
    real: np.ndarray,
    people: tuple[np.ndarray, np.ndarray],
    n_draws: int,
    seed: int,
) -> dict[str, float]:
    """A distance over draws of people: its mean and 95 % of the draws, and of real people in the same place.

    Args:
        distance: of two arrays of features (n, F), (m, F).
        generated: (N, k, F), k rows a volume, and real: (M, k, F).
        people: whose volume each is, (N,) and (M,).

    Returns:
        matched, low and high of the generated people; floor, floor_low, floor_high and floor_95 (the 95th
        percentile) of the real ones; n_dealt, the people in their place.
    """
    values, floors, dealt = [], [], 0
    for drawn, in_place, others in deal_people(*people, n_draws, seed):
        beside = _flatten(real[others])
        values.append(distance(_flatten(generated[drawn]), beside))
        floors.append(distance(_flatten(real[in_place]), beside))
        dealt = len(np.unique(people[1][in_place]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    floor_low, floor_95, floor_high = np.nanpercentile(floors, [2.5, 95, 97.5])
    found = {"matched": np.mean(values), "low": low, "high": high, "floor": np.mean(floors)}
    found |= {"floor_low": floor_low, "floor_high": floor_high, "floor_95": floor_95}
    return {name: float(value) for name, value in found.items()} | {"n_dealt": dealt}


def _flatten(features: np.ndarray) -> np.ndarray:
    return features.reshape(-1, features.shape[-1])
