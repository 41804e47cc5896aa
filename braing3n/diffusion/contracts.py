"""The tables that `diffusion` writes: samples, and what is read in them."""

from __future__ import annotations

from braing3n.core.contracts import COUNT_COLUMNS, MODALITIES, Contract

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

JUDGED = Contract(
    "judged",
    {
        "measure": (str, ("age", "modality", "sex", "disease", "diversity")),
        "arm": (str, None),
        "value": (float, (-1, float("inf"))),
        "low": (float, (-1, 1)),
        "high": (float, (-1, 1)),
        "reference": (float, (-1, 1)),
        "n_samples": (int, (0, 10**7)),
        **COUNT_COLUMNS,
        "expected": (str, None),
        "verdict": (str, ("met", "not met", "n/a")),
        "note": (str, None),
    },
)
