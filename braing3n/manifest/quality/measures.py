"""Quality numbers of all volumes, and how far each is off the others of its cohort and modality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.manifest.contracts import QUALITY
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.contracts import VOLUMES
from braing3n.volumes.dataset import list_indices

MIN_COMPARED = 10  # with fewer, a median and its deviation say nothing
OUTLYING = 3.5  # robust deviations; Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Measure:
    """A quality number: its short and full name, whether more of it is worse, what difference matters."""

    short: str
    title: str
    is_more_worse: bool
    resolution: float  # the least deviation taken: where nearly all agree, trifles would stick out
    n_digits: int


MEASURES = {
    "atlas_dice": Measure("Dice", "Dice with the atlas", False, 0.005, 3),
    "atlas_mutual_information": Measure("MI", "mutual information with the atlas (nats)", False, 0.01, 3),
    "centre_mutual_information": Measure(
        "MI with centre", "mutual information with the visit's first scan (nats)", False, 0.02, 3
    ),
    "size_mismatch": Measure("size", "brain's volume in SRI24 off the atlas's (log ratio)", True, 0.02, 3),
    "missing_share": Measure(
        "missing", "share of the atlas's inner brain that the mask lacks", True, 0.002, 3
    ),
    "atlas_coverage": Measure("in view", "share of the atlas's brain in view", False, 0.01, 3),
    "noise": Measure("noise", "noise over median", True, 0.002, 3),
    "bias_field_range": Measure("bias", "bias-field range", True, 0.02, 2),
    "clipped_share": Measure("clipped", "share of voxels capped as too bright", True, 1e-4, 5),
    "saturated_share": Measure("saturated", "brain share at the highest value", True, 0.002, 3),
    "cropped_brain_share": Measure("cropped", "brain share cropped", True, 0.005, 3),
}


def gather_quality(tables: list[Path], volumes_dir: Path) -> pd.DataFrame:
    """The quality of all volumes that preprocessing kept, judged within cohort and modality.

    Args:
        tables: the shards' preprocess tables.
        volumes_dir: the packed volumes' indices have the tables' names there.

    Returns:
        `judge_quality`'s columns beside those of the preprocess tables.
    """
    results = pd.concat([read_table(path, PREPROCESS) for path in tables], ignore_index=True)
    indices = [read_table(path, VOLUMES) for path in list_indices(tables, volumes_dir)]
    packed = pd.concat(indices, ignore_index=True)[["volume_id", "cropped_brain_share"]]
    kept = results[results["status"] == "kept"].merge(packed, on="volume_id", how="left")
    return judge_quality(kept.sort_values("volume_id", ignore_index=True))


def judge_quality(volumes: pd.DataFrame) -> pd.DataFrame:
    """Add how far each number is off its cohort's and modality's median, and the worst of them.

    `<number>_z` is the distance to the median over 1.4826 times the median absolute deviation, positive where
    it is worse; missing where fewer than 10 volumes of the cohort and modality have the number.
    `outlier_score` is the largest, `outlier_measure` its number, `n_compared` the volumes of the group.
    """
    judged = volumes.copy()
    groups = [judged["cohort"], judged["modality"]]
    for name, measure in MEASURES.items():
        judged[f"{name}_z"] = judged[name].groupby(groups).transform(_measure_distance, measure).astype(float)
    scores = judged[[f"{name}_z" for name in MEASURES]].to_numpy()
    is_judged = np.isfinite(scores).any(axis=1)
    worst = np.where(np.isfinite(scores), scores, -np.inf)
    judged["outlier_score"] = np.where(is_judged, worst.max(axis=1, initial=-np.inf), np.nan)
    names = np.array(list(MEASURES))
    judged["outlier_measure"] = np.where(is_judged, names[worst.argmax(axis=1)] if len(judged) else "", "")
    judged["n_compared"] = judged.groupby(groups)["volume_id"].transform("size").astype(int)
    return judged


def _measure_distance(values: pd.Series, measure: Measure) -> pd.Series:
    if values.notna().sum() < MIN_COMPARED:
        return pd.Series(np.nan, values.index)
    from_median = values - values.median()
    deviation = max(MAD_TO_DEVIATION * from_median.abs().median(), measure.resolution)
    return (from_median if measure.is_more_worse else -from_median) / deviation


def take_columns(quality: pd.DataFrame) -> pd.DataFrame:
    """The table `quality`: what its contract names, and each number's distance."""
    return quality[[*QUALITY, *(f"{name}_z" for name in MEASURES)]]
