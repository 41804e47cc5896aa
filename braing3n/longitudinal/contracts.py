"""The tables that `longitudinal` writes: pairs of visits, and forecasts."""

from __future__ import annotations

from braing3n.core.contracts import PERSON_COLUMNS, SPLITS, Contract

# What is known at the earlier visit.
BASELINE_COLUMNS = {
    "disease": (str, None),
    "sex": (str, ("F", "M", "")),
    "age_years": (float, (0, 130)),
    "cdr": (float, (0, 3)),
}

PAIRS = Contract(
    "pairs",
    {
        "volume_id": (str, None),
        "later_volume_id": (str, None),
        **PERSON_COLUMNS,
        "split": (str, SPLITS),
        **BASELINE_COLUMNS,
        "years": (float, (0, 130)),
        "scanner": (str, ("same", "other", "unknown")),
    },
)

FORECASTS = Contract(
    "forecasts",
    {
        "forecast_id": (str, "unique"),
        "volume_id": (str, None),
        **PERSON_COLUMNS,
        "split": (str, SPLITS),
        **BASELINE_COLUMNS,
        "years": (float, (0, 130)),
        "later_volume_id": (str, None),
    },
)
