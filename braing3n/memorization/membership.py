"""Membership inference by distance: do samples lie nearer to training volumes than to held-out ones?

Whoever has the samples and a scan may ask this. The attack is that of Chen et al. (2020, "GAN-Leaks") where
only samples are known: the nearest sample's distance is the score.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from braing3n.diffusion.intervals import resample
from braing3n.memorization.contracts import MEMBERSHIP
from braing3n.memorization.neighbours import Rows, find_nearest
from braing3n.memorization.settings import MemorizationSettings


def infer_membership(
    tokens: np.ndarray,
    volume_list: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    settings: MemorizationSettings,
) -> pd.DataFrame:
    """AUC of telling training volumes from held-out ones by the distance to the nearest sample.

    A volume is held against samples of its modality. A pool is a modality, or all of them, where only volumes
    of one modality are compared. Beside each stands a control without held-out people, two random halves of
    the training people, whose AUC is .5 whatever the generator has learned.

    Args:
        tokens: (N, n_tokens, d), rows in the volume list's order; samples: (M, n_tokens, d).
    """
    n_numbers = math.prod(tokens.shape[1:])
    tokens, samples = tokens.reshape(-1, n_numbers), samples.reshape(-1, n_numbers)
    table = volume_list[["modality", "split", "person_id", "group_id"]].reset_index(drop=True)
    table = table.assign(distance=math.nan, is_train=(table["split"] == "train").to_numpy())
    counts = sample_table["modality"].value_counts()
    for modality in sorted(table["modality"].unique()):
        rows = np.flatnonzero(table["modality"] == modality)
        pool = Rows(samples, np.flatnonzero(sample_table["modality"] == modality))
        owners = table["group_id"].to_numpy()[rows], np.full(len(pool), "")
        _, distance = find_nearest(Rows(tokens, rows), pool, *owners, f"membership ({modality})")
        table.loc[rows, "distance"] = distance
    groups = np.unique(table.loc[table["is_train"], "group_id"])
    half = np.random.default_rng(settings.seed).permutation(groups)[: len(groups) // 2]
    table = table[table["distance"].notna()].assign(is_in_half=lambda part: part["group_id"].isin(half))
    found = []
    for pool in ("all", *sorted(table["modality"].unique())):
        own = table[(table["modality"] == pool) | (pool == "all")]
        row = {"pool": pool, "n_samples": int(counts.sum() if pool == "all" else counts[pool])}
        found.append(row | {"comparison": "samples"} | _compare_distances(own, "is_train", settings))
        members = own[own["is_train"]]
        found.append(
            row | {"comparison": "members only"} | _compare_distances(members, "is_in_half", settings)
        )
    return pd.DataFrame(found, columns=list(MEMBERSHIP))


def _compare_distances(table: pd.DataFrame, column: str, settings: MemorizationSettings) -> dict:
    """The AUC of one column by distance, its interval from draws of groups, and counts."""
    distance, is_member = table["distance"].to_numpy(), table[column].to_numpy()
    stratum = table["modality"].to_numpy()
    auc, low, high = resample(
        lambda k: compute_auc(distance[k], is_member[k], stratum[k]),
        table["group_id"].to_numpy(),
        settings.n_draws,
        settings.seed,
    )
    n_members = int(is_member.sum())
    row = {"auc": auc, "low": low, "high": high, "n_people": table["person_id"].nunique()}
    row |= {"n_members": n_members, "n_others": len(table) - n_members}
    is_missing = not math.isfinite(auc)
    return row | {"reason": f"{n_members} volumes against {len(table) - n_members}" if is_missing else ""}


def compute_auc(distance: np.ndarray, is_member: np.ndarray, stratum: np.ndarray) -> float:
    """Of all pairs of a member and another of one stratum, the share in which the member is nearer.

    Ties count half; NaN where there is no pair. All arguments are (n,).
    """
    n_nearer = n_pairs = 0.0
    for name in np.unique(stratum):
        own = stratum == name
        n, n_members = int(own.sum()), int(is_member[own].sum())
        ranks = rankdata(-distance[own])[is_member[own]]
        n_nearer += ranks.sum() - n_members * (n_members + 1) / 2
        n_pairs += n_members * (n - n_members)
    return n_nearer / n_pairs if n_pairs else math.nan
