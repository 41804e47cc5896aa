"""The table that `pretrain` writes: the masked loss beside its baselines."""

from __future__ import annotations

from braing3n.core.contracts import Contract

MASKED_LOSS = Contract(
    "masked_loss",
    {
        "predictor": (str, "unique"),
        "loss": (float, (0, float("inf"))),
        "n_volumes": (int, (0, 10**7)),
        "n_training_volumes": (int, (0, 10**7)),
    },
)
