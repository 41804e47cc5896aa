"""The index of a packed shard, and the volume list that says which volumes are trained on."""

from __future__ import annotations

from braing3n.core.contracts import PERSON_COLUMNS, SCAN_COLUMNS, SPLITS, Contract

VOLUMES = Contract(
    "volumes",
    {
        "volume_id": (str, "unique"),
        "row": (int, (0, 10**6)),
        "crc32": (int, (0, 2**32 - 1)),
        "mean": (float, None),
        "deviation": (float, None),
        "far_voxels": (str, None),
        "n_brain_voxels": (int, (0, 10**9)),
        "cropped_brain_share": (float, (0, 1)),
    },
)

# Written by `manifest`; it lies here since whoever opens packed volumes reads it.
VOLUME_LIST = Contract(
    "volume_list",
    {
        **SCAN_COLUMNS,
        "shard": (int, (0, 10**5)),
        **PERSON_COLUMNS,
        "split": (str, SPLITS),
        "path": (str, None),
        "mask_path": (str, None),
        "native_brain_ml": (float, (0, 20000)),
    },
)
