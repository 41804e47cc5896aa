"""The table that `fidelity` writes."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, Contract
from braing3n.fidelity.arms import REFERENCES

DISTANCES = Contract(
    "distances",
    {
        "arm": (str, None),
        "reference": (str, REFERENCES),
        "comparison": (str, ("gen-vs-real", "gen-vs-recons", "recons-vs-real")),
        "quantity": (str, None),
        **dict.fromkeys(("value", "low", "high"), (float, None)),
        **dict.fromkeys(("floor", "floor_low", "floor_high", "floor_95"), (float, None)),
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
