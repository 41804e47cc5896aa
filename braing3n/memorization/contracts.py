"""The tables that `memorization` writes."""

from __future__ import annotations

from braing3n.core.contracts import MODALITIES, PERSON_COLUMNS, Contract

# `other-arms-real`: samples of MCI and PD, arms that Table 8 has not; `synthetic-real` are those of its 13.
COMPARISONS = (
    "real-real",
    "held-out-real",
    "synthetic-real",
    "other-arms-real",
    "reconstructed-real",
    "forecast-real",
)

MEMORIZATION = Contract(
    "memorization",
    {
        "comparison": (str, COMPARISONS),
        "pool": (str, None),
        "item_id": (str, None),
        **PERSON_COLUMNS,
        "modality": (str, MODALITIES),
        "nearest_id": (str, None),
        "distance": (float, (0, float("inf"))),
        "threshold": (float, (0, float("inf"))),
        "percentile": (float, (0, 100)),
        "is_below_threshold": (bool, None),
    },
)

COPIES = Contract(
    "copies",
    {
        "comparison": (str, COMPARISONS),
        "item_id": (str, None),
        **PERSON_COLUMNS,
        "modality": (str, MODALITIES),
        "nearest_id": (str, None),
        "correlation": (float, (-1.001, 1.001)),
        "is_mirrored": (bool, None),
        "threshold": (float, (-1.001, 1.001)),
        "is_flagged": (bool, None),
    },
)

# `samples`: training volumes against held-out ones; `other arms`: the same by samples of MCI and PD;
# `members only`: training volumes against each other, in random halves.
MEMBERSHIP = Contract(
    "membership",
    {
        "pool": (str, None),
        "comparison": (str, ("samples", "members only", "other arms")),
        "auc": (float, (0, 1)),
        "low": (float, (0, 1)),
        "high": (float, (0, 1)),
        "n_members": (int, (0, 10**7)),
        "n_others": (int, (0, 10**7)),
        "n_samples": (int, (0, 10**7)),
        "n_people": (int, (0, 10**7)),
        "reason": (str, None),
    },
)

# Disguised copies of training volumes: of so many, how many are flagged with their own source as the nearest.
# The row of held-out people has false alarms.
PLANTED = Contract(
    "planted",
    {
        "detector": (str, None),
        "disguise": (str, None),
        "n_asked": (int, (0, 10**7)),
        "n_found": (int, (0, 10**7)),
    },
)
