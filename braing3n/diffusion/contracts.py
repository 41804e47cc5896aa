"""The table that `diffusion` writes."""

from __future__ import annotations

from braing3n.core.contracts import MODALITIES, Contract

SAMPLES = Contract(
    "samples",
    {
        "sample_id": (str, "unique"),
        "arm": (str, None),
        "disease": (str, None),
        "sex": (str, ("F", "M", "")),
        "modality": (str, MODALITIES),
        "site": (str, None),
        "age_years": (float, (0, 130)),
        "idh1": (str, ("wildtype", "mutant", "")),
    },
)
