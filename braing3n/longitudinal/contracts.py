"""The tables that `longitudinal` writes: pairs of visits, forecasts, and what these are worth."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, PERSON_COLUMNS, SPLITS, Contract

# Where errors of forecasts are measured; regions are those of the atlas, CSF is that of the true later visit.
WHOLE = ("volume", "CSF")
REGIONS = ("ventricles", "cortex", "medial temporal", "deep grey", "cerebellum")

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

# Without a scanner a row is of all pairs. `value` of an age change is in years, of a slope in years a year,
# of an error in z units; guidance is missing where nothing is forecast.
AGEING = Contract(
    "ageing",
    {
        "method": (str, ("forecast", "true later visit", "no change", "mean change of the age group")),
        "quantity": (str, ("age change", "slope", "r", *(f"error, {name}" for name in (*WHOLE, *REGIONS)))),
        "guidance": (float, (0, float("inf"))),
        "scanner": (str, ("", "same", "other", "unknown")),
        "years": (float, (0, 130)),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        **COUNT_COLUMNS,
        "probe_mae_years": (float, (0, 200)),
        "n_probe_people": (int, (0, 10**7)),
        "reason": (str, None),
    },
)

# Figures 4 and 7 in numbers, in z units of decoded volumes. `change` is the mean absolute difference from the
# same person's 0-year forecast, and of a true later visit that from the earlier one; `error` that of a
# forecast from the true visit of the same time. Guidance is missing where nothing is forecast.
CHANGES = Contract(
    "changes",
    {
        "person_id": (str, None),
        "disease": (str, None),
        "method": (str, ("forecast", "true later visit")),
        "guidance": (float, (0, float("inf"))),
        "years": (float, (0, 130)),
        "change": (float, (0, float("inf"))),
        "error": (float, (0, float("inf"))),
    },
)
