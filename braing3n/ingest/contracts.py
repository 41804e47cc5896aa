"""The tables that `ingest` writes: records, and the scans that a cohort leaves out."""

from __future__ import annotations

from braing3n.core.contracts import RECORD_COLUMNS, SCAN_COLUMNS, Contract

RECORDS = Contract("records", RECORD_COLUMNS)

LEFT_OUT = Contract(
    "left_out",
    {
        **{name: rule for name, rule in SCAN_COLUMNS.items() if name not in ("volume_id", "modality")},
        "modality": (str, None),
        "path": (str, "unique"),
        "reason": (str, None),
    },
)
