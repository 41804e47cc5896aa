"""The tables that `fidelity` writes."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, Contract
from braing3n.fidelity.arms import REFERENCES

SETS = ("generated", "reconstructed", "real")

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

# What differs between two sets of volumes, in ml (`fidelity/anatomy`): of each set by itself (a mean, or ml a
# year of age), between the two (Hedges' g, or ml a year), and the same of real people in the samples' place.
ANATOMY = Contract(
    "anatomy",
    {
        **dict.fromkeys(("arm", "tool", "comparison", "quantity", "volume"), (str, None)),
        **{
            f"{name}{end}": (float, None)
            for name in ("first", "second", "value", "floor")
            for end in ("", "_low", "_high")
        },
        **dict.fromkeys(("n_first", "n_first_left_out", "n_second", "n_second_left_out"), (int, (0, 10**7))),
        **dict.fromkeys(("n_floor_people", "n_others"), (int, (0, 10**7))),
        **dict.fromkeys(("reason", "floor_reason"), (str, None)),
    },
)

# Each volume that was segmented, in ml of SRI24 space; both sides are added.
SEGMENTED = Contract(
    "segmented",
    {
        "set": (str, SETS),
        "item_id": (str, None),
        "separation": (float, (0, float("inf"))),
        "is_reliable": (bool, None),
        **dict.fromkeys(("csf", "grey", "white", "ventricles"), (float, None)),
        **dict.fromkeys(("cortex", "medial_temporal", "deep_grey", "cerebellum"), (float, None)),
    },
)
