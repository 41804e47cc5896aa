"""The table that `preprocess` writes, one row a scan."""

from __future__ import annotations

from braing3n.core.contracts import QUALITY_COLUMNS, SCAN_COLUMNS, Contract

PREPROCESS = Contract(
    "preprocess",
    {
        **SCAN_COLUMNS,
        "status": (str, ("kept", "excluded")),
        "reason": (str, None),
        "path": (str, None),
        "mask_path": (str, None),
        "picture_path": (str, None),
        "raw_sha256": (str, None),
        "n_refused": (int, (0, 1000)),
        "volume_sha256": (str, None),
        "native_brain_ml": (float, (0, 20000)),
        "affine_determinant": (float, None),
        **QUALITY_COLUMNS,
        "steps": (str, None),
        "segmentations": (str, None),
    },
)
