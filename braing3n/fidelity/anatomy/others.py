"""Volumes that a tool of others measured (SynthSeg, MindGlide, DLMUSE), from a table that the user brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braing3n.core.errors import ContractError
from braing3n.fidelity.anatomy.compare import EMPTY, Measured
from braing3n.fidelity.anatomy.effects import N_DRAWS, PERCENTILES
from braing3n.fidelity.contracts import SETS

CORRELATION = "r with ours"
KEYS = ("set", "item_id")
MIN_VOLUMES = 3  # behind a correlation


def read_measured(path: Path, tool: str, samples: pd.DataFrame, labels: pd.DataFrame) -> Measured:
    """A TSV, one row a volume: `set`, `item_id`, and each further column a volume in ml.

    An empty cell or `n/a` is a volume that is not relied on.

    Args:
        path: `set` is generated, reconstructed or real; `item_id` a `sample_id`, or a `volume_id`.

    Raises:
        ContractError: it cannot be read, lacks a column, holds what is no volume, names a volume twice or one
            that is not in the run.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=dict.fromkeys(KEYS, str))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path}: cannot be read as a TSV ({error}).") from None
    names = tuple(name for name in table.columns if name not in KEYS)
    if missing := [name for name in KEYS if name not in table]:
        raise ContractError(f"{path}: has no column '{missing[0]}'; it needs {' and '.join(KEYS)}.")
    words = [name for name in names if not pd.api.types.is_numeric_dtype(table[name])]
    if not names or words:
        what = f"column '{words[0]}' holds no numbers" if words else "names no volumes"
        raise ContractError(f"{path}: {what}; each column beside {' and '.join(KEYS)} is a volume in ml.")
    for name in names:
        if len(bad := table.loc[(table[name] < 0) | np.isinf(table[name].astype(float)), name]):
            raise ContractError(f"{path}: column '{name}' holds {bad.iloc[0]:g}; volumes are ml, 0 or more.")
    if (repeated := table.duplicated(list(KEYS))).any():
        raise ContractError(f"{path}: {' '.join(table.loc[repeated, list(KEYS)].iloc[0])} is there twice.")
    ids = {"generated": samples["sample_id"], "reconstructed": labels["volume_id"]}
    ids["real"] = ids["reconstructed"]
    ml, is_seen = {}, {}
    for name in SETS:
        part = table[table["set"] == name].set_index("item_id")
        if len(unknown := part.index.difference(ids[name])):
            raise ContractError(f"{path}: {name} {unknown[0]} is no volume of this run.")
        ml[name] = part[list(names)].reindex(ids[name]).to_numpy(float)
        is_seen[name] = ids[name].isin(part.index).to_numpy()
    if len(other := table.loc[~table["set"].isin(SETS), "set"]):
        raise ContractError(f"{path}: set '{other.iloc[0]}' is none of {', '.join(SETS)}.")
    return Measured(tool, names, ml, is_seen)


def correlate(ours: Measured, theirs: Measured, seed: int) -> pd.DataFrame:
    """Pearson's r of each volume that has the same name, by set, with 95 % of resamplings of volumes."""
    rows = []
    for name in SETS:
        for volume in (volume for volume in theirs.names if volume in ours.names):
            pair = np.column_stack([one.ml[name][:, one.names.index(volume)] for one in (ours, theirs)])
            pair = pair[np.isfinite(pair).all(axis=1)]
            row: dict[str, Any] = {
                "arm": "",
                "tool": theirs.tool,
                "comparison": name,
                "quantity": CORRELATION,
            }
            row |= {"volume": volume, "reason": "", "floor_reason": "", **EMPTY}
            row |= {"n_first": len(pair), "n_first_left_out": 0, "n_second": len(pair)}
            row |= {"n_second_left_out": 0}
            if len(pair) < MIN_VOLUMES:
                row["reason"] = f"{len(pair)} {name} volumes are measured by both"
            else:
                drawn = np.random.default_rng(seed).integers(len(pair), size=(N_DRAWS, len(pair)))
                row["value"] = float(_correlate(pair[None])[0])
                row["reason"] = (
                    "" if np.isfinite(row["value"]) else f"one tool gives all {name} volumes alike"
                )
            if not row["reason"]:
                row["value_low"], row["value_high"] = np.nanpercentile(_correlate(pair[drawn]), PERCENTILES)
            rows.append(row)
    return pd.DataFrame(rows)


def _correlate(pairs: np.ndarray) -> np.ndarray:
    """Pearson's r (B,) of pairs (B, n, 2); NaN where one does not vary."""
    centred = pairs - pairs.mean(axis=1, keepdims=True)
    squares = (centred**2).sum(axis=1).prod(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(squares > 0, centred.prod(axis=2).sum(axis=1) / np.sqrt(squares), np.nan)
