"""Copies of training volumes in disguises that are known: what each detector finds of them is its power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from braing3n.memorization.contracts import PLANTED
from braing3n.memorization.copies import PLANTED_COPIES
from braing3n.memorization.neighbours import Rows, find_nearest

N_SHIFTED = 2  # voxels of about 4 mm, along each axis
HELD_OUT = "held-out people, not copied"


def _move(volume: np.ndarray) -> np.ndarray:
    return ndimage.shift(volume, N_SHIFTED, order=0)


# What is done to a volume (d, h, w), z-scored, 0 outside the brain, on voxels of about 4 mm.
DISGUISES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "none": lambda volume, rng: volume,
    "noise of 0.1 deviations": lambda volume, rng: volume + rng.normal(0, 0.1, volume.shape),
    "noise of 0.3 deviations": lambda volume, rng: volume + rng.normal(0, 0.3, volume.shape),
    "gain of 1.3, offset of 0.2": lambda volume, rng: np.where(volume == 0, 0, 1.3 * volume + 0.2),
    "blur of 1 voxel": lambda volume, rng: ndimage.gaussian_filter(volume, 1.0),
    f"shift of {N_SHIFTED} voxels along each axis": lambda volume, rng: _move(volume),
    "left and right exchanged": lambda volume, rng: volume[::-1],
    "exchanged and shifted": lambda volume, rng: _move(volume[::-1]),
}


@dataclass(frozen=True)
class Planted:
    """Disguised copies.

    Attributes:
        table: one row a copy: item_id, source_id, modality and disguise.
        volumes: float16 (n, d, h, w).
    """

    table: pd.DataFrame
    volumes: np.ndarray


def plant_copies(volume_list: pd.DataFrame, load: Callable[[int], np.ndarray], n: int, seed: int) -> Planted:
    """Every disguise of at most n training volumes, drawn at random where their modality has held-out people.

    Args:
        load: gives a row of the volume list on voxels of about 4 mm, (d, h, w).
    """
    is_train = volume_list["split"] == "train"
    judged = volume_list.loc[~is_train, "modality"].unique()
    rows = np.flatnonzero(is_train & volume_list["modality"].isin(judged))
    rng = np.random.default_rng(seed)
    found, volumes = [], []
    for row in np.sort(rng.permutation(rows)[:n]):
        item, volume = volume_list.iloc[row], load(int(row))
        for disguise, change in DISGUISES.items():
            name = item["volume_id"]
            found.append((f"{name}, {disguise}", name, item["modality"], disguise))
            volumes.append(change(volume, rng).astype(np.float16))
    table = pd.DataFrame(found, columns=["item_id", "source_id", "modality", "disguise"])
    return Planted(table, np.array(volumes, np.float16))


def ask_detector(
    known: np.ndarray, volume_list: pd.DataFrame, asked: np.ndarray, planted: pd.DataFrame, description: str
) -> pd.DataFrame:
    """The nearest training volume of the same modality, of held-out volumes and of planted copies.

    Args:
        known: (N, D), rows in the volume list's order, may lie on disk; asked: (n, D) of the planted copies.

    Returns:
        One row a volume: item_id, group_id (empty of a copy), modality, nearest_id and distance.
    """
    is_train, tables = (volume_list["split"] == "train").to_numpy(), []
    for modality in sorted(set(planted["modality"])):
        is_here = (volume_list["modality"] == modality).to_numpy()
        trained, held_out = np.flatnonzero(is_here & is_train), np.flatnonzero(is_here & ~is_train)
        own = np.flatnonzero(planted["modality"] == modality)
        real = volume_list.iloc[held_out][["volume_id", "group_id"]].rename(columns={"volume_id": "item_id"})
        copies = planted.iloc[own][["item_id"]].assign(group_id="")
        owners = volume_list["group_id"].to_numpy()[trained]
        for items, rows in ((real, Rows(known, held_out)), (copies, Rows(asked, own))):
            nearest, distance = find_nearest(
                rows,
                Rows(known, trained),
                items["group_id"].to_numpy(),
                owners,
                f"{description} ({modality})",
            )
            names = volume_list["volume_id"].to_numpy()[trained][nearest]
            tables.append(items.assign(modality=modality, nearest_id=names, distance=distance))
    columns = ["item_id", "group_id", "modality", "nearest_id", "distance"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def read_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `ask_detector` that a table of `tabulate_copies` holds; the distance is 1 - correlation."""
    own = table[table["comparison"].isin(["held-out-real", PLANTED_COPIES])]
    own = own.assign(distance=1 - own["correlation"])
    return own[["item_id", "group_id", "modality", "nearest_id", "distance"]].reset_index(drop=True)


def tabulate_planted(
    found: dict[str, pd.DataFrame], planted: pd.DataFrame, percentile: float, seed: int
) -> pd.DataFrame:
    """One row a detector and disguise: how many copies are found, that is, flagged beside their own source.

    A copy is flagged below the percentile of held-out people of its modality, for all detectors alike. The
    last disguise has the false alarms: held-out people of either random half at the other half's percentile.

    Args:
        found: detector -> what `ask_detector` gives.
    """
    rows = []
    for detector, everybody in found.items():
        table = everybody[everybody["modality"].isin(planted["modality"])]
        if not len(table):
            continue
        is_real = table["group_id"] != ""
        own = planted.merge(table, on=["item_id", "modality"], validate="one_to_one")
        thresholds = own["modality"].map(_find_thresholds(table[is_real], percentile))
        is_found = (own["distance"] < thresholds) & (own["nearest_id"] == own["source_id"])
        for disguise, part in is_found.groupby(own["disguise"], sort=False):
            rows.append((detector, disguise, len(part), int(part.sum())))
        n_false = _count_false(table[is_real], percentile, seed)
        rows.append((detector, HELD_OUT, int(is_real.sum()), n_false))
    return pd.DataFrame(rows, columns=list(PLANTED))


def _find_thresholds(held_out: pd.DataFrame, percentile: float) -> pd.Series:
    """The percentile of the distances of each modality."""
    return held_out.groupby("modality")["distance"].quantile(percentile / 100)


def _count_false(held_out: pd.DataFrame, percentile: float, seed: int) -> int:
    """Held-out volumes of either half of the groups that are flagged at the other half's percentile."""
    groups = np.unique(held_out["group_id"])
    half = np.random.default_rng(seed).permutation(groups)[: len(groups) // 2]
    is_in_half, n_false = held_out["group_id"].isin(half), 0
    for is_asked in (is_in_half, ~is_in_half):
        thresholds = _find_thresholds(held_out[~is_asked], percentile)
        asked = held_out[is_asked]
        n_false += int((asked["distance"] < asked["modality"].map(thresholds)).sum())
    return n_false
