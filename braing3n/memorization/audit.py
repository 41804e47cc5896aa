"""The audit's table (one row a volume or sample and pool), and the summary that the paper prints."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.config import MemorizationSettings
from braing3n.contracts import CONTRACTS
from braing3n.errors import ContractError
from braing3n.memorization.neighbours import find_nearest

COMPARISONS = ("real-real", "held-out-real", "synthetic-real")


def audit_samples(
    tokens: np.ndarray,
    volume_list: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    settings: MemorizationSettings,
) -> pd.DataFrame:
    """Nearest training latents of training volumes, held-out volumes and samples.

    Only the training split is the pool, since only it could be memorized. A person's own scans are
    left out, or repeat scans would make the threshold collapse. Each comparison stands over the whole
    pool ("all") and within each modality, for rare modalities are many of the samples and few of the pool.

    Args:
        tokens: (N, n_tokens, d), rows in the volume list's order; samples: (M, n_tokens, d).

    Raises:
        ContractError: numbers of rows or token shapes differ.
    """
    if len(tokens) != len(volume_list) or len(samples) != len(sample_table):
        raise ContractError(
            f"memorization: {len(tokens)} latents for {len(volume_list)} volumes, {len(samples)} samples for "
            f"{len(sample_table)} rows; rerun the latents and diffusion stages."
        )
    if tokens.shape[1:] != samples.shape[1:]:
        raise ContractError(
            f"memorization: latents are {tokens.shape[1:]} and samples {samples.shape[1:]}; "
            "rerun the diffusion stage."
        )
    tokens, samples = tokens.reshape(len(tokens), -1), samples.reshape(len(samples), -1)
    is_train = (volume_list["split"] == "train").to_numpy()
    tables = []
    for pool in ("all", *sorted(volume_list.loc[is_train, "modality"].unique())):
        is_here = ((volume_list["modality"] == pool) | (pool == "all")).to_numpy()
        is_asked = ((sample_table["modality"] == pool) | (pool == "all")).to_numpy()
        splits = is_train & is_here, ~is_train & is_here
        asked = samples[is_asked], sample_table[is_asked]
        tables.append(_audit_pool(pool, tokens, volume_list, *splits, *asked, settings.percentile))
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=list(CONTRACTS["memorization"]))
    return pd.concat(tables, ignore_index=True)


def _audit_pool(
    pool, tokens, volume_list, is_pool, is_held_out, samples, sample_table, percentile
) -> pd.DataFrame:
    pool_rows = np.flatnonzero(is_pool)
    people = volume_list["person_id"].to_numpy()
    nobody = np.full(len(samples), None, dtype=object)
    queries = {
        "real-real": (tokens[is_pool], people[is_pool], volume_list.loc[is_pool, ["volume_id", "modality"]]),
        "held-out-real": (
            tokens[is_held_out],
            people[is_held_out],
            volume_list.loc[is_held_out, ["volume_id", "modality"]],
        ),
        "synthetic-real": (samples, nobody, sample_table[["sample_id", "modality"]]),
    }
    tables, threshold = [], float("nan")
    for comparison, (latents, owner, items) in queries.items():
        nearest, distance = find_nearest(
            latents, tokens[is_pool], owner, people[is_pool], f"{comparison} ({pool})"
        )
        if comparison == "real-real" and np.isfinite(distance).any():
            threshold = float(np.nanpercentile(distance, percentile))
        has_one = nearest >= 0
        found = volume_list["volume_id"].to_numpy()[pool_rows[nearest[has_one]]]
        tables.append(
            pd.DataFrame(
                {
                    "comparison": comparison,
                    "pool": pool,
                    "item_id": items.iloc[:, 0].to_numpy()[has_one],
                    "modality": items.iloc[:, 1].to_numpy()[has_one],
                    "nearest_id": found,
                    "distance": distance[has_one],
                    "threshold": threshold,
                    "is_below_threshold": distance[has_one] < threshold,
                }
            )
        )
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def summarise_audit(table: pd.DataFrame) -> pd.DataFrame:
    """One row a pool: numbers, mean distances, ratio of means, and items below the threshold."""
    rows = []
    for pool, group in table.groupby("pool", sort=False):
        row = {"pool": pool, "threshold": group["threshold"].iloc[0]}
        for comparison in COMPARISONS:
            distances = group.loc[group["comparison"] == comparison]
            name = comparison.replace("-", "_")
            row[f"n_{name}"] = len(distances)
            row[f"mean_{name}"] = distances["distance"].mean()
            row[f"median_{name}"] = distances["distance"].median()
            row[f"min_{name}"] = distances["distance"].min()
            row[f"n_below_{name}"] = int(distances["is_below_threshold"].sum())
        row["ratio"] = row["mean_synthetic_real"] / row["mean_real_real"]
        row["ratio_held_out"] = row["mean_held_out_real"] / row["mean_real_real"]
        rows.append(row)
    return pd.DataFrame(rows)
