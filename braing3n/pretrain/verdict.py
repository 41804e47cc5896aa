"""What an encoder's loss on hidden patches is worth, beside its baselines'."""

from __future__ import annotations

import pandas as pd

ENCODER = "mae"
CLAIMED = "modality_mean_image"  # which an encoder that looks at visible patches must beat


def add_encoder(table: pd.DataFrame, loss: float, n_training_volumes: int) -> pd.DataFrame:
    """The same table with the encoder's own validation loss."""
    row = {"predictor": ENCODER, "loss": loss, "n_volumes": table["n_volumes"].iloc[0]}
    return pd.concat(
        [table, pd.DataFrame([row | {"n_training_volumes": n_training_volumes}])], ignore_index=True
    )


def find_fault(table: pd.DataFrame) -> str:
    """One sentence where the encoder learned nothing, or less than its claim; else empty."""
    loss = dict(zip(table["predictor"], table["loss"], strict=True))
    ours, zero, mean = (loss[name] for name in (ENCODER, "zero", "mean_image"))
    if ours >= min(zero, mean):
        return (
            "The encoder learned nothing from the patches that it sees: its mean squared error on hidden "
            f"patches of held-out volumes is {ours:.3f}; predictions that are the same for everybody reach "
            f"{mean:.3f} (the training mean image) and {zero:.3f} (zero). Its features are those of no "
            "trained encoder."
        )
    if ours >= loss[CLAIMED]:
        return (
            "The encoder does not beat the mean image of a volume's modality: its mean squared error on "
            f"hidden patches of held-out volumes is {ours:.3f}, that of the mean image {loss[CLAIMED]:.3f}."
        )
    return ""
