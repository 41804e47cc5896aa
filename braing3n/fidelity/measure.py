"""Every arm's distances: generated, reconstructed and real, each beside a floor and its numbers.

A Fréchet distance between small sets is biased upwards, the more the smaller they are. So a distance and its
floor have the same numbers on both sides. A draw deals the arm's real people into `people`, as many as there
are samples, and `others`: the distance of the samples to the others is the value, that of the people to the
same others the floor. Brackets hold 95 % of the draws: they say what other real people would change.
Real people are those of the corpus, as in the paper, of training, or held out: samples that are nearer to
training people than to the others repeat them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.errors import ContractError
from braing3n.fidelity.arms import (
    ARMS,
    REFERENCES,
    Arm,
    choose_real,
    select_real,
    select_reference,
    select_samples,
)
from braing3n.fidelity.formulas.frechet import measure_frechet
from braing3n.fidelity.formulas.kernels import choose_sigma, measure_kid, measure_mmd
from braing3n.fidelity.formulas.neighbourhoods import N_NEAREST, measure_neighbourhoods
from braing3n.fidelity.settings import FidelitySettings

QUANTITY = "Fréchet distance on MAE features"
NO_RECONSTRUCTIONS = "reconstructions were not encoded (no --tokens given)"
# What stands on the samples' side, and on the real side.
COMPARISONS = {
    "gen-vs-real": ("generated", "real"),
    "gen-vs-recons": ("generated", "reconstructed"),
    "recons-vs-real": ("reconstructed", "real"),
}
EMPTY: dict[str, Any] = {
    **dict.fromkeys(("value", "low", "high", "floor", "floor_low", "floor_high", "floor_95"), np.nan),
    **dict.fromkeys(("rank", "n_floor_people", "n_others"), 0),
}
Numbers = Callable[[np.ndarray, np.ndarray], Sequence[float]]


@dataclass(frozen=True)
class Judge:
    """What is measured between two sets of features.

    Attributes:
        quantities: names of the numbers.
        prepare: from features of an arm's real people, what measures them between two sets.
        comparisons: in which they are measured.
        n_draws: of people; None: as many as are set.
        references: whose real people it is measured on.
    """

    quantities: tuple[str, ...]
    prepare: Callable[[np.ndarray], Numbers]
    comparisons: tuple[str, ...] = tuple(COMPARISONS)
    n_draws: int | None = None
    references: tuple[str, ...] = REFERENCES


FRECHET = Judge((QUANTITY,), lambda _: lambda x, y: (measure_frechet(x, y),))


def _prepare_more(real: np.ndarray) -> Numbers:
    sigma = choose_sigma(real)

    def measure(x: np.ndarray, y: np.ndarray) -> Sequence[float]:
        return measure_kid(x, y), measure_mmd(x, y, sigma), *measure_neighbourhoods(x, y).values()

    return measure


MORE = Judge(
    tuple(f"{name} on MAE features" for name in ("KID", "MMD", "precision", "recall", "density", "coverage")),
    _prepare_more,
    ("gen-vs-real",),
    n_draws=20,
)


def measure_arms(
    generated: np.ndarray,
    samples: pd.DataFrame,
    real: np.ndarray,
    reconstructed: np.ndarray | None,
    labels: pd.DataFrame,
    settings: FidelitySettings,
    judge: Judge = FRECHET,
    why_not: str = "",
) -> pd.DataFrame:
    """A row an arm, reference, comparison and quantity; what cannot be measured has a reason.

    Args:
        generated: (M, F) features of the samples, whose conditions are `samples`; (M, k, F): k rows a volume.
        real: (N, F) features, and reconstructed: (N, F) of the same volumes through the tokenizer,
            rows in the order of `labels`; of the latter only those of `list_real` are read.

        why_not: the reason why this is not measured in any arm.

    Raises:
        ContractError: features and tables differ in length.
    """
    if len(generated) != len(samples) or len(real) != len(labels):
        raise ContractError(
            "fidelity: features and tables differ in length; rerun the latents and diffusion stages."
        )
    rows: list[dict] = []
    for arm, reference in itertools.product(ARMS, judge.references):
        is_sample = select_samples(arm, samples)
        chosen = choose_real(arm, labels, int(is_sample.sum()), settings, reference)
        features = {"generated": generated[is_sample], "real": real, "reconstructed": reconstructed}
        base = {**_describe(arm, reference, labels, settings), "n_features": generated.shape[-1]}
        base["n_samples"] = is_sample.sum()
        measured = _leave_out(judge, why_not) if why_not else _measure_arm(features, chosen, settings, judge)
        rows.extend({**base, **row} for row in measured)
    return pd.DataFrame(rows)


def _describe(arm: Arm, reference: str, labels: pd.DataFrame, settings: FidelitySettings) -> dict:
    is_real = select_real(arm, labels, settings.age_window_years) & select_reference(labels, reference)
    people = labels.loc[is_real, "person_id"]
    return {
        "arm": arm.title,
        "reference": reference,
        "n_people": people.nunique(),
        "n_volumes": len(people),
    }


def _measure_arm(features: dict, chosen: np.ndarray, settings: FidelitySettings, judge: Judge) -> list[dict]:
    n_samples, n_real = len(features["generated"]), len(chosen)
    has_floor = n_real >= n_samples + settings.min_people
    no_floor = f"{n_real} unrelated people leave fewer than {settings.min_people} beside {n_samples}"
    rows: list[dict] = []
    floors: dict[str, np.ndarray] = {}  # what lies on the real side -> theirs, (draws, quantities)
    for comparison in judge.comparisons:
        first, second = COMPARISONS[comparison]
        row: dict[str, Any] = {"comparison": comparison, "reason": "", **EMPTY}
        row["floor_reason"] = "" if has_floor else no_floor
        if features[first] is None or features[second] is None:
            row["reason"] = NO_RECONSTRUCTIONS
        elif n_real < settings.min_people:
            row["reason"] = f"{n_real} unrelated real people, fewer than {settings.min_people}"
        elif n_samples < 2:
            row["reason"] = f"{n_samples} samples of this arm"
        elif first != "generated" and not has_floor:
            row["reason"] = no_floor
        else:
            found = _measure_pair(
                features, first, second, chosen, n_samples * has_floor, settings, judge, floors
            )
            rows += [row | part for part in found]
            continue
        rows += [row | {"quantity": name} for name in judge.quantities]
    return rows


def _leave_out(judge: Judge, why_not: str) -> list[dict]:
    """The rows of what cannot be measured at all."""
    return [
        {"comparison": comparison, "quantity": name, "reason": why_not, "floor_reason": why_not, **EMPTY}
        for comparison in judge.comparisons
        for name in judge.quantities
    ]


def _measure_pair(features, first, second, chosen, n_people, settings, judge: Judge, floors) -> list[dict]:
    """For each quantity the mean over the draws, and the floor's mean and interval where there is one."""
    rng, values, new = np.random.default_rng(settings.seed), [], []
    measure = judge.prepare(features[second][chosen])
    for _ in range(min(judge.n_draws or settings.n_draws, settings.n_draws) if n_people else 1):
        drawn = rng.permutation(chosen)
        people, others = drawn[:n_people], features[second][drawn[n_people:]]
        asked = features[first] if first == "generated" else features[first][people]
        values.append(measure(asked, others))
        if n_people and second not in floors:
            new.append(measure(features[second][people], others))
    of_all = floors.setdefault(second, np.reshape(new, (-1, len(judge.quantities))))
    n_rows = [part.size // part.shape[-1] for part in (asked, others)]
    found = {"n_floor_people": n_people, "n_others": len(others)}
    found["rank"] = min(n_rows[0] - 1, n_rows[1] - 1, others.shape[-1])
    return [
        {"quantity": name, **found, **_summarise(np.array(values)[:, k], of_all[:, k])}
        for k, name in enumerate(judge.quantities)
    ]


def _summarise(values: np.ndarray, floors: np.ndarray) -> dict[str, Any]:
    if not np.isfinite(values).all():
        return {"reason": f"a set has {N_NEAREST} volumes or fewer"}
    found: dict[str, Any] = {"value": values.mean()}
    if len(floors):
        found["low"], found["high"] = np.percentile(values, [2.5, 97.5])
        found["floor"] = floors.mean()
        found["floor_low"], found["floor_95"], found["floor_high"] = np.percentile(floors, [2.5, 95, 97.5])
    return found
