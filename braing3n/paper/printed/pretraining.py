"""What the masked autoencoder predicts of hidden patches, beside predictors that need no encoder."""

from __future__ import annotations

import math

import pandas as pd

from braing3n.paper.printed.tables import PrintedTable, format_number
from braing3n.paper.results import Results, explain_missing
from braing3n.pretrain.verdict import ENCODER

# Names of the contract's predictors, in the order of the table.
_SHOWN = {
    ENCODER: "masked autoencoder",
    "zero": "zero everywhere",
    "mean_image": "training mean image",
    "modality_mean_image": "mean image of its modality",
    "in_painting": "in-painting by 5 principal components, ridge from the visible voxels",
}


def build_masked_loss(results: Results) -> PrintedTable:
    """The encoder's loss on hidden patches, each baseline's, and whether the encoder beats it."""
    found = results.read("masked_loss")
    name, title = "masked_loss", "Hidden patches of held-out volumes, predicted"
    source = "pretrain/masked_loss.parquet"
    if found is None:
        return PrintedTable(name, title, pd.DataFrame([{"Predictor": explain_missing(name)}]), source)
    found = found.set_index("predictor")
    ours, rows = found.loc[ENCODER, "loss"], []
    for key, shown in _SHOWN.items():
        row = found.loc[key]
        rows.append(
            {
                "Predictor": shown,
                "Mean squared error": format_number(row["loss"], 4),
                "The encoder beats it": "-" if key == ENCODER else _judge(ours, row["loss"]),
                "Volumes": f"{int(row['n_volumes']):,}",
                "Training volumes": f"{int(row['n_training_volumes']):,}",
            }
        )
    notes = [
        "The same validation volumes, hidden patches and units (z, or of a normalised patch) for all.",
        "The claim is the mean image of the modality: an encoder that does not beat it has learned no more "
        "than which modality it sees.",
    ]
    return PrintedTable(name, title, pd.DataFrame(rows), source, notes)


def _judge(ours: float, theirs: float) -> str:
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return "n/a: the validation split is empty"
    return "met" if ours < theirs else "not met"
