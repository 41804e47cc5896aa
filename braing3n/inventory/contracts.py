"""The table that `inventory` writes: what its shards list, one row a scan."""

from __future__ import annotations

from braing3n.core.contracts import FORMATS, PERSON_COLUMNS, SCAN_COLUMNS, SPACES, Contract

INVENTORY = Contract(
    "inventory",
    {
        **{name: rule for name, rule in SCAN_COLUMNS.items() if name != "volume_id"},
        "path": (str, "unique"),
        "stamp": (str, None),
        "source_format": (str, FORMATS),
        "axes": (str, None),
        "is_bias_corrected": (int, (0, 1)),
        "is_defaced": (int, (0, 1)),
        "is_stripped": (int, (0, 1)),
        "raw_space": (str, SPACES),
        **PERSON_COLUMNS,
        "segmentations": (str, None),
        "spares": (str, None),
    },
)
