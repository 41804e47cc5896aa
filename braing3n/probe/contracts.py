"""The tables that `probe` writes."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, SCORE_COLUMNS, Contract

# `everyone`, or only the `unseen` people of the splits that no model is trained on.
PROBE = {"task": (str, None), "slice": (str, None), "people": (str, ("everyone", "unseen"))}

# Of no relation; `p_holm` is corrected for all that is compared at once, NaN outside that family.
P_VALUES = {"p_value": (float, (0, 1)), "p_holm": (float, (0, 1))}

COLUMNS = Contract("columns", {"volume_id": (str, "unique")})

PREDICTIONS = Contract(
    "predictions",
    {
        "encoder": (str, None),
        **PROBE,
        "unit_id": (str, None),
        "fold": (int, (-1, 10**3)),
        "class_name": (str, None),
        "prediction": (float, None),
        "is_converged": (bool, None),
        "reason": (str, None),  # why the encoder has no features
    },
)

HALVES = Contract(
    "halves",
    {
        "encoder": (str, None),
        **PROBE,
        "metric": (str, ("auc", "r2", "mae", "r")),
        "deal": (int, (0, 10**3)),
        "first": (float, None),
        "second": (float, None),
    },
)

SCORES = Contract(
    "scores",
    {
        "encoder": (str, None),
        **PROBE,
        "title": (str, None),
        "source": (str, ("paper", "pair", "own", "control")),
        **SCORE_COLUMNS,
        **P_VALUES,
    },
)

DIFFERENCES = Contract(
    "differences",
    {
        "encoder": (str, None),
        "other": (str, None),
        **PROBE,
        "metric": (str, ("auc", "r2", "mae", "r")),
        "difference": (float, None),
        "low": (float, None),
        "high": (float, None),
        "low_corrected": (float, None),
        "high_corrected": (float, None),
        **P_VALUES,
        **COUNT_COLUMNS,
    },
)

# The same table for what is no encoder: what age and sex, or site and scanner alone, say of a task.
RIVALS = Contract(
    "rivals",
    {"rival": (str, None), **PROBE, "title": (str, None), "columns": (str, None), **SCORE_COLUMNS},
)

# The same table for other readouts of an encoder.
READOUTS = Contract(
    "readouts",
    {"encoder": (str, None), "readout": (str, None), **PROBE, "title": (str, None), **SCORE_COLUMNS},
)

CHECKS = Contract(
    "checks",
    {
        "encoder": (str, None),
        **PROBE,
        "title": (str, None),
        "check": (str, None),
        "group": (str, None),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        "p_value": (float, (0, 1)),
        "n_people": (int, (0, 10**7)),
        "note": (str, None),
    },
)

FAIRNESS = Contract(
    "fairness",
    {
        "encoder": (str, None),
        **PROBE,
        "title": (str, None),
        "metric": (str, ("auc", "mae")),
        "attribute": (str, None),
        "group": (str, None),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        "n_people": (int, (0, 10**7)),
        "note": (str, None),
    },
)

CONTROLS = Contract(
    "controls",
    {
        "control": (str, None),
        "measure": (str, None),
        "value": (float, None),
        "low": (float, None),
        "high": (float, None),
        **COUNT_COLUMNS,
        "n_cases": (int, (0, 10**7)),
        "n_controls": (int, (0, 10**7)),
        "expected": (str, None),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
)
