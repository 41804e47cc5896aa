"""The audit's table (one row a volume or sample and pool), and the summary that the paper prints."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import betabinom

from braing3n.core.errors import ContractError
from braing3n.memorization.contracts import MEMORIZATION
from braing3n.memorization.neighbours import Rows, find_nearest
from braing3n.memorization.settings import MemorizationSettings

COMPARISONS = ("real-real", "held-out-real", "synthetic-real")


def audit_samples(
    tokens: np.ndarray,
    volume_list: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    settings: MemorizationSettings,
) -> pd.DataFrame:
    """Nearest training latents of training volumes, held-out volumes and samples.

    Only the training split is the pool, since only it could be memorized. Volumes of one group are never
    neighbours: a person's repeat scans, or one brain under two ids, would make the threshold collapse. Each
    comparison stands over the whole pool ("all") and within each modality, for rare modalities are many of
    the samples and few of the pool.

    Args:
        tokens: (N, n_tokens, d), rows in the volume list's order; samples: (M, n_tokens, d).

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
    tokens, samples = tokens.reshape(-1, n_numbers), samples.reshape(-1, n_numbers)
    items = sample_table[["sample_id", "modality"]].rename(columns={"sample_id": "volume_id"})
    sampled = items.assign(person_id="", group_id="").reset_index(drop=True)
    tables = []
    for pool in ("all", *sorted(volume_list.loc[is_train, "modality"].unique())):
        is_here = ((volume_list["modality"] == pool) | (pool == "all")).to_numpy()
        is_asked = ((sampled["modality"] == pool) | (pool == "all")).to_numpy()
        queries = {
            "real-real": (tokens, volume_list, is_here & is_train),
            "held-out-real": (tokens, volume_list, is_here & ~is_train),
            "synthetic-real": (samples, sampled, is_asked),
        }
        tables.append(_audit_pool(pool, queries, settings.percentile))
    return pd.concat(tables, ignore_index=True)[list(MEMORIZATION)]


def _audit_pool(pool: str, queries: dict[str, tuple], percentile: float) -> pd.DataFrame:
    """One pool's rows; queries are (latents, what they are, which are asked), the first the pool itself."""
    tokens, volumes, is_pool = queries["real-real"]
    in_pool = volumes[is_pool]
    tables, threshold = [], float("nan")
    for comparison, (latents, items, is_asked) in queries.items():
        asked = items[is_asked]
        nearest, distance = find_nearest(
            Rows(latents, np.flatnonzero(is_asked)),
            Rows(tokens, np.flatnonzero(is_pool)),
            asked["group_id"].to_numpy(),
            in_pool["group_id"].to_numpy(),
            f"{comparison} ({pool})",
        )
        if comparison == "real-real" and np.isfinite(distance).any():
            threshold = float(np.nanpercentile(distance, percentile))
        has_one = nearest >= 0
        table = asked.loc[has_one, ["volume_id", "person_id", "group_id", "modality"]].assign(
            comparison=comparison,
            pool=pool,
            nearest_id=in_pool["volume_id"].to_numpy()[nearest[has_one]],
            distance=distance[has_one],
            threshold=threshold,
            is_below_threshold=distance[has_one] < threshold,
        )
        tables.append(table.rename(columns={"volume_id": "item_id"}))
    return pd.concat(tables, ignore_index=True)


def summarise_audit(table: pd.DataFrame) -> pd.DataFrame:
    """One row a pool: numbers, mean distances, ratio of means, and items below the threshold.

    `n_below_expected` is how many of as many held-out people as there are samples would lie below it, and
    `n_below_low` and `n_below_high` bound 95 % of what such a draw gives: see `_expect_below`.
    """
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
        real = group[group["comparison"] == "real-real"].drop_duplicates("person_id")
        row["n_people_of_shared_groups"] = int(real["group_id"].duplicated(keep=False).sum())
        held_out = group[group["comparison"] == "held-out-real"]
        rows.append(row | _expect_below(held_out, row["n_synthetic_real"]))
    return pd.DataFrame(rows)


def _expect_below(held_out: pd.DataFrame, n_samples: int) -> dict[str, float]:
    """How many of `n_samples` would lie below the threshold if they did so as held-out people do.

    A person with several volumes counts once, with the share of them that lies below. The interval is that of
    the beta-binomial law (Jeffreys prior): it holds the chance in the samples and in the few held-out people.
    """
    share = held_out.groupby("person_id")["is_below_threshold"].mean()
    n_people, n_below = len(share), float(share.sum())
    expected = low = high = float("nan")
    if n_people:
        expected = n_samples * n_below / n_people
        low, high = betabinom.ppf([0.025, 0.975], n_samples, n_below + 0.5, n_people - n_below + 0.5)
    numbers = {"n_below_expected": expected, "n_below_low": low, "n_below_high": high}
    return {"n_held_out_people": n_people, **numbers}
