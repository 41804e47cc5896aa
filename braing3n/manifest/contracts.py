"""The tables that `manifest` writes."""

from __future__ import annotations

from braing3n.core.contracts import (
    COUNT_COLUMNS,
    LABEL_COLUMNS,
    MODALITIES,
    QUALITY_COLUMNS,
    SCAN_COLUMNS,
    Contract,
)

SEGMENTATIONS = Contract(
    "segmentations",
    {
        "volume_id": (str, None),
        "cohort": (str, None),
        "label": (str, None),
        "path": (str, None),
        "raw_path": (str, None),
        "native_ml": (float, (0, 20000)),
        "carried_share": (float, (0, 10)),
        "reason": (str, None),
    },
)

QUALITY = Contract(
    "quality",
    {
        **SCAN_COLUMNS,
        "status": (str, ("kept", "excluded")),
        "reason": (str, None),
        "decision": (str, ("keep", "drop", "")),
        "outlier_score": (float, None),
        "outlier_measure": (str, None),
        "n_compared": (int, (0, 10**7)),
        "native_brain_ml": (float, (0, 20000)),
        "affine_determinant": (float, None),
        **QUALITY_COLUMNS,
        "cropped_brain_share": (float, (0, 1)),
        "steps": (str, None),
    },
)

NEAR_DUPLICATES = Contract(
    "near_duplicates",
    {
        "volume_id": (str, None),
        "other_volume_id": (str, None),
        "modality": (str, MODALITIES),
        "correlation": (float, (-1, 1)),
        "person_id": (str, None),
        "other_person_id": (str, None),
        "is_same_file": (bool, None),
        "is_same_group": (bool, None),
    },
)

LABELS = Contract("labels", LABEL_COLUMNS)

EXCLUSIONS = Contract(
    "exclusions", {"volume_id": (str, "unique"), "cohort": (str, None), "reason": (str, None)}
)

FLOW = Contract(
    "flow",
    {
        "cohort": (str, None),
        "stage": (str, None),
        "received": (int, (0, 10**7)),
        "kept": (int, (0, 10**7)),
        "excluded": (int, (0, 10**7)),
        "reason": (str, None),
    },
)

COUNTS = Contract(
    "counts",
    {
        "cohort": (str, "unique"),
        "kind": (str, None),
        **COUNT_COLUMNS,
        "expected_volumes": (int, (0, 10**7)),
        "expected_people": (int, (0, 10**7)),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
)
