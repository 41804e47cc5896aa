"""The table that `fidelity` writes."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, Contract

DISTANCES = Contract(
    "distances",
    {
        "arm": (str, None),
        "comparison": (str, ("gen-vs-real", "gen-vs-recons", "recons-vs-real")),
        "quantity": (str, None),
        "value": (float, (0, float("inf"))),
        "floor": (float, (0, float("inf"))),
        "floor_low": (float, (0, float("inf"))),
        "floor_high": (float, (0, float("inf"))),
        "n_samples": (int, (0, 10**7)),
        **COUNT_COLUMNS,
        "n_floor_people": (int, (0, 10**7)),
        "n_others": (int, (0, 10**7)),
        "n_features": (int, (0, 10**6)),
        "rank": (int, (0, 10**6)),
        "reason": (str, None),
        "floor_reason": (str, None),
    },
)
