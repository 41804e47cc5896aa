"""The table that `sweep` writes."""

from __future__ import annotations

from braing3n.core.contracts import SCORE_COLUMNS, Contract

SWEEP = Contract(
    "sweep",
    {
        "arm": (str, None),
        "reading": (str, ("mean", "flattened")),
        "n_features": (int, (1, 10**8)),
        "task": (str, None),
        "title": (str, None),
        **SCORE_COLUMNS,
    },
)
