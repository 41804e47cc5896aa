"""Find one brain under two people's ids: near-duplicates among all volumes of a modality, at 4 mm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from braing3n.core.contracts import read_table
from braing3n.core.runtime import track
from braing3n.manifest.contracts import NEAR_DUPLICATES
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.dataset import PackedShard, list_indices
from braing3n.volumes.pack import average_blocks, crop_or_pad

SPACING_MM = 4.0
DETAIL_SIGMA = 1.0  # voxels; what is smoother is contrast and shading, which scanners share and not brains
LEVELS_PER_DEVIATION = 25  # 8 bits hold five deviations
MIN_SHARE = 0.7  # of the volumes in whose brain a voxel must lie
MIN_VOLUMES = 3  # fewer have no mean to differ from
BLOCK_VOLUMES = 2048


def find_near_duplicates(
    tables: list[Path], inventory_dir: Path, volumes_dir: Path, spacing_mm: float, threshold: float
) -> pd.DataFrame:
    """Pairs of volumes of one modality under two people's ids whose brains look the same.

    Each volume is averaged to 4 mm, its smooth part and the mean of all volumes of its modality are taken
    away, and what is left, a brain's own folds, is correlated. Memory: 77 kB a volume of 160 x 192 x 160 mm.

    Args:
        tables: the shards' preprocess tables; inventories and packed volumes have the same names in theirs.
        spacing_mm: of the packed volumes.
        threshold: the smallest correlation that counts.

    Returns:
        The table `near_duplicates`, the closest pair first.
    """
    volumes, details = read_details(list_indices(tables, volumes_dir), spacing_mm)
    inventories = [Path(inventory_dir) / path.parent.name / f"{path.stem}.tsv" for path in tables]
    volumes = volumes.merge(_read_people(inventories, tables), on="volume_id", validate="one_to_one")
    pairs = []
    for modality, part in volumes.groupby("modality", sort=True):
        people = part["person_id"].astype("category").cat.codes.to_numpy()
        rows = part.index.to_numpy()
        for one, other, correlation in find_pairs(_pick_voxels(details, rows), people, threshold):
            first, second = sorted((rows[one], rows[other]), key=lambda row: volumes.at[row, "volume_id"])
            pairs.append(_describe(volumes.loc[first], volumes.loc[second], modality, correlation))
    table = pd.DataFrame(pairs, columns=list(NEAR_DUPLICATES))
    return table.sort_values(
        ["correlation", "volume_id", "other_volume_id"], ascending=[False, True, True], ignore_index=True
    )


def read_details(indices: list[Path], spacing_mm: float) -> tuple[pd.DataFrame, np.ndarray]:
    """The ids of all packed volumes, and their details int8 (N, D, H, W) at 4 mm."""
    shards = [PackedShard(path) for path in indices]
    ids = pd.concat([shard.table[["volume_id"]] for shard in shards], ignore_index=True)
    factor = max(1, round(SPACING_MM / spacing_mm))
    details = None
    for n, (image, mask) in enumerate(track(_read(shards), "near-duplicates", len(ids))):
        detail = take_detail(image, mask, factor)
        if details is None:
            details = np.zeros((len(ids), *detail.shape), np.int8)
        details[n] = detail
    return ids, details if details is not None else np.zeros((0, 1, 1, 1), np.int8)


def _read(shards: list[PackedShard]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for shard in shards:
        yield from (shard.load(row) for row in range(len(shard.table)))


def take_detail(image: np.ndarray, mask: np.ndarray, factor: int) -> np.ndarray:
    """What is finer than the surroundings in the brain, as int8 (D, H, W) / factor; 0 outside the brain."""
    shape = tuple(-(-n // factor) * factor for n in image.shape)
    share = average_blocks(crop_or_pad(mask.astype(np.float32), shape), factor)
    inside = share > 0.25
    small = average_blocks(crop_or_pad(np.where(mask, image, 0).astype(np.float32), shape), factor)
    small = np.where(inside, small / np.maximum(share, 0.25), 0)
    smooth = ndimage.gaussian_filter(small, DETAIL_SIGMA)
    smooth /= np.maximum(ndimage.gaussian_filter(inside.astype(np.float32), DETAIL_SIGMA), 0.1)
    detail = np.where(inside, small - smooth, 0)
    deviation = detail[inside].std() if inside.any() else 0.0
    if not deviation > 0:
        return np.zeros(detail.shape, np.int8)
    return np.clip(np.round(LEVELS_PER_DEVIATION * detail / deviation), -127, 127).astype(np.int8)


def _pick_voxels(details: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The details of some volumes at the voxels that lie in most of their brains: int8 (N, voxels)."""
    n_inside = np.zeros(details.shape[1:], np.int64)
    for row in rows:
        n_inside += details[row] != 0
    chosen = n_inside >= MIN_SHARE * len(rows)
    return np.stack([details[row][chosen] for row in rows])


def find_pairs(details: np.ndarray, people: np.ndarray, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs (i < j) of different people whose details correlate, block by block.

    details: int8 (N, voxels); people: one code a volume. Two blocks of float32 are in memory at a time.
    """
    if len(details) < MIN_VOLUMES:
        return []
    mean = details.mean(axis=0, dtype=np.float32)

    def prepare(start: int) -> np.ndarray:
        block = details[start : start + BLOCK_VOLUMES].astype(np.float32) - mean
        block -= block.mean(axis=1, keepdims=True)
        return block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-6)

    pairs = []
    for start in range(0, len(details), BLOCK_VOLUMES):
        one = prepare(start)
        for behind in range(start, len(details), BLOCK_VOLUMES):
            other = one if behind == start else prepare(behind)
            likeness = one @ other.T
            for i, j in zip(*np.nonzero(likeness >= threshold), strict=True):
                if start + i < behind + j and people[start + i] != people[behind + j]:
                    pairs.append((start + int(i), behind + int(j), float(likeness[i, j])))
    return pairs


def _read_people(inventories: list[Path], tables: list[Path]) -> pd.DataFrame:
    """Who each kept volume is of, by the inventories, and the digest of its raw file."""
    from braing3n.manifest.tables import read_inventories

    received = read_inventories(inventories)[["volume_id", "person_id", "group_id"]]
    results = pd.concat([read_table(path, PREPROCESS) for path in tables], ignore_index=True)
    kept = results.loc[results["status"] == "kept", ["volume_id", "modality", "raw_sha256"]]
    return kept.merge(received, on="volume_id")


def _describe(one: pd.Series, other: pd.Series, modality: str, correlation: float) -> dict:
    is_same_file = one["raw_sha256"] != "" and one["raw_sha256"] == other["raw_sha256"]
    return {
        "volume_id": one["volume_id"],
        "other_volume_id": other["volume_id"],
        "modality": modality,
        "correlation": round(min(correlation, 1.0), 4),
        "person_id": one["person_id"],
        "other_person_id": other["person_id"],
        "is_same_file": bool(is_same_file),
        "is_same_group": bool(one["group_id"] == other["group_id"]),
    }


def describe_pairs(pairs: pd.DataFrame, threshold: float) -> str:
    """One sentence for the log."""
    if not len(pairs):
        return f"manifest: no two people's volumes correlate by {threshold:g} or more at 4 mm."
    first = pairs.iloc[0]
    return (
        f"manifest: {len(pairs)} pairs of volumes under two people's ids look like one brain (correlation "
        f"{threshold:g} or more at 4 mm), such as {first['volume_id']} and {first['other_volume_id']} "
        f"({first['correlation']:.2f}); each pair stays on one side of the split."
    )
