"""The audit's table: one row a volume or sample and pool."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from braing3n.core.errors import ContractError
from braing3n.memorization.contracts import MEMORIZATION
from braing3n.memorization.neighbours import Rows, find_nearest
from braing3n.memorization.settings import MemorizationSettings


def audit_samples(
    tokens: np.ndarray,
    volume_list: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    settings: MemorizationSettings,
    more: dict[str, tuple[np.ndarray, pd.DataFrame]] | None = None,
    reference: str = "real-real",
) -> pd.DataFrame:
    """Nearest training latents of training volumes, held-out volumes and samples.

    Only the training split is the pool, since only it could be memorized. Volumes of one group are never
    neighbours: a person's repeat scans, or one brain under two ids, would make the threshold collapse. Each
    comparison stands over the whole pool ("all") and within each modality, for rare modalities are many of
    the samples and few of the pool.

    Args:
        tokens: (N, n_tokens, d), rows in the volume list's order; samples: (M, n_tokens, d).
        more: comparison -> other latents (n, n_tokens, d) that are asked about, and what they are: item_id,
            person_id, group_id and modality.
        reference: the comparison whose percentile is the threshold.

    Raises:
        ContractError: numbers of rows or token shapes differ, or a group is in training and held out.
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
    is_train = (volume_list["split"] == "train").to_numpy()
    leaked = set(volume_list.loc[is_train, "group_id"]) & set(volume_list.loc[~is_train, "group_id"])
    if leaked:
        raise ContractError(
            f"memorization: group {min(leaked)} is in training and held out; rerun the manifest stage."
        )
    n_numbers = math.prod(tokens.shape[1:])
    tokens = tokens.reshape(-1, n_numbers)
    sampled = sample_table[["sample_id", "modality"]].rename(columns={"sample_id": "item_id"})
    asked = {"synthetic-real": (samples, sampled.assign(person_id="", group_id="")), **(more or {})}
    tables = []
    for pool in ("all", *sorted(volume_list.loc[is_train, "modality"].unique())):
        is_here = ((volume_list["modality"] == pool) | (pool == "all")).to_numpy()
        queries = {
            "real-real": (tokens, volume_list, is_here & is_train),
            "held-out-real": (tokens, volume_list, is_here & ~is_train),
        }
        for name, (latents, table) in asked.items():
            items = table.rename(columns={"item_id": "volume_id"}).reset_index(drop=True)
            is_asked = ((items["modality"] == pool) | (pool == "all")).to_numpy()
            queries[name] = latents.reshape(-1, n_numbers), items, is_asked
        tables.append(audit_pool(pool, queries, settings.percentile, reference))
    return pd.concat(tables, ignore_index=True)[list(MEMORIZATION)]


def audit_pool(
    pool: str, queries: dict[str, tuple], percentile: float, reference: str = "real-real"
) -> pd.DataFrame:
    """One pool's rows.

    Args:
        queries: comparison -> latents (N, D), what they are (a table of ids), and which are asked;
            `real-real` is the pool itself.
        reference: the comparison whose percentile is the threshold, which is NaN where it has no row.
    """
    tokens, volumes, is_pool = queries["real-real"]
    in_pool, pool_rows = volumes[is_pool], Rows(tokens, np.flatnonzero(is_pool))
    tables = []
    for comparison, (latents, items, is_asked) in queries.items():
        asked = items[is_asked]
        nearest, distance = find_nearest(
            pool_rows if comparison == "real-real" else Rows(latents, np.flatnonzero(is_asked)),
            pool_rows,
            asked["group_id"].to_numpy(),
            in_pool["group_id"].to_numpy(),
            f"{comparison} ({pool})",
        )
        has_one = nearest >= 0
        table = asked.loc[has_one, ["volume_id", "person_id", "group_id", "modality"]].assign(
            comparison=comparison,
            pool=pool,
            nearest_id=in_pool["volume_id"].to_numpy()[nearest[has_one]],
            distance=distance[has_one],
        )
        tables.append(table.rename(columns={"volume_id": "item_id"}))
    found = pd.concat(tables, ignore_index=True)
    known = found.loc[found["comparison"] == reference, "distance"]
    threshold = float(np.percentile(known, percentile)) if len(known) else float("nan")
    return found.assign(
        threshold=threshold, percentile=percentile, is_below_threshold=found["distance"] < threshold
    )
