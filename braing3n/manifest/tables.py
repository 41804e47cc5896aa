"""Build the volume list (what is trained on) and the label table (what is known about it)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braing3n.core.accounting import check_accounting, check_groups
from braing3n.core.bids import volume_id
from braing3n.core.contracts import TASK_COLUMNS, check_table, read_table, write_table
from braing3n.core.errors import ContractError
from braing3n.ingest.contracts import LEFT_OUT, RECORDS
from braing3n.inventory.contracts import INVENTORY
from braing3n.manifest.contracts import EXCLUSIONS, FLOW, LABELS, NEAR_DUPLICATES, QUALITY, SEGMENTATIONS
from braing3n.manifest.people import assign_split, check_splits, describe_copies, join_people
from braing3n.manifest.quality.measures import gather_quality, take_columns
from braing3n.manifest.quality.review import read_review, settle_decisions
from braing3n.manifest.settings import ManifestSettings
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.contracts import VOLUME_LIST

RAW = ["path", "source_format", "is_bias_corrected", "is_defaced", "is_stripped", "raw_space"]
IDENTITY = ["cohort", "subject_id", "session_id", "run", "modality"]


@dataclass(frozen=True)
class ListOutputs:
    """The tables that come with the volume list."""

    volumes: Path
    flow: Path
    excluded: Path
    segmentations: Path
    quality: Path


def build_volume_list(
    inventories: list[Path],
    tables: list[Path],
    volumes_dir: Path,
    near_duplicates: Path,
    review: Path,
    settings: ManifestSettings,
    outputs: ListOutputs,
) -> None:
    """The kept volumes of all shards with people and splits; accounting, exclusions and quality beside.

    Args:
        volumes_dir: of the packed volumes, whose indices record what the crop lost.
        review: what a person decided; see `review.py`.

    Raises:
        ContractError: kept and excluded do not add up to received, or nothing was kept.
    """
    received = read_inventories(inventories)
    results = pd.concat([_read_shard(path) for path in tables], ignore_index=True)
    is_kept = results["status"] == "kept"
    check_accounting(
        received["volume_id"],
        results.loc[is_kept, "volume_id"],
        results.loc[~is_kept, "volume_id"],
        "manifest",
    )
    if not is_kept.any():
        raise ContractError("manifest: no volume was kept; the reasons stand in the preprocess tables.")
    volumes = results[is_kept].merge(received[["volume_id", "person_id", "group_id"]], on="volume_id")
    for sentence in describe_copies(volumes):
        print(sentence)
    # What is dropped now still identifies people, so that a review moves nobody to another split.
    volumes = join_people(volumes, read_table(near_duplicates, NEAR_DUPLICATES))
    quality = settle_decisions(
        gather_quality(tables, volumes_dir), read_review(review), settings.max_outlier_score
    )
    dropped = quality.loc[quality["status"] == "excluded", ["volume_id", "cohort", "reason"]]
    volumes = volumes[~volumes["volume_id"].isin(dropped["volume_id"])]
    if not len(volumes):
        raise ContractError("manifest: the review and manifest.max_outlier_score leave no volume.")
    volumes["split"] = [assign_split(group_id, settings) for group_id in volumes["group_id"]]
    check_groups(volumes["group_id"], volumes["split"], "manifest")
    check_splits(volumes)
    volumes = volumes.sort_values("volume_id", ignore_index=True)
    write_table(volumes[list(VOLUME_LIST)], outputs.volumes, VOLUME_LIST)
    flows = _count_flow(results, "preprocess"), _count_flow(quality, "manifest")
    write_table(pd.concat(flows, ignore_index=True), outputs.flow, FLOW)
    lost = pd.concat([results.loc[~is_kept, ["volume_id", "cohort", "reason"]], dropped])
    write_table(lost.sort_values("volume_id", ignore_index=True), outputs.excluded, EXCLUSIONS)
    write_table(list_segmentations(received, results), outputs.segmentations, SEGMENTATIONS)
    write_table(take_columns(quality), outputs.quality, QUALITY)


def read_inventories(paths: list[Path]) -> pd.DataFrame:
    """The scans of all shards, each with its volume_id."""
    frames = [pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False) for path in paths]
    frame = check_table(pd.concat(frames, ignore_index=True), INVENTORY, "inventories")
    frame.insert(0, "volume_id", [volume_id(*row) for row in frame[IDENTITY].itertuples(index=False)])
    return frame


def _read_shard(path: Path) -> pd.DataFrame:
    """A preprocess table with its shard's number, which its file name gives."""
    return read_table(path, PREPROCESS).assign(shard=int(Path(path).stem.removeprefix("shard-")))


def list_segmentations(received: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """What was delineated, where it lies in SRI24 and how much of it arrived; or why it did not."""
    rows = []
    raw = dict(zip(received["volume_id"], received["segmentations"], strict=True))
    for scan in results[results["segmentations"] != ""].itertuples():
        raw_paths = json.loads(raw[scan.volume_id])
        for name, item in sorted(json.loads(scan.segmentations).items()):
            row = {"volume_id": scan.volume_id, "cohort": scan.cohort, "label": name, "reason": ""}
            row |= {"native_ml": float("nan"), "carried_share": float("nan"), "raw_path": raw_paths[name]}
            rows.append(row | item)
    table = pd.DataFrame(rows, columns=list(SEGMENTATIONS))
    return table.sort_values(["volume_id", "label"], ignore_index=True)


def _count_flow(results: pd.DataFrame, stage: str) -> pd.DataFrame:
    """Received, kept and excluded by cohort; one row more for each reason of exclusion."""
    rows = []
    for cohort, part in results.groupby("cohort", sort=True):
        is_kept = part["status"] == "kept"
        counts = {"received": len(part), "kept": int(is_kept.sum()), "excluded": int((~is_kept).sum())}
        rows.append({"cohort": cohort, "stage": stage, **counts, "reason": ""})
        for reason, n in part.loc[~is_kept, "reason"].value_counts(sort=False).sort_index().items():
            none = {"received": 0, "kept": 0, "excluded": int(n)}
            rows.append({"cohort": cohort, "stage": stage, **none, "reason": reason})
    return pd.DataFrame(rows)


def build_ingest_flow(records: list[Path], exclusions: list[Path], out: Path) -> None:
    """The accounting of ingest: scans found, taken, and left out by a cohort's rules, with the reasons."""
    taken = pd.concat([read_table(path, RECORDS) for path in records])["cohort"].value_counts()
    lost = pd.concat([read_table(path, LEFT_OUT) for path in exclusions], ignore_index=True)
    # What follows the semicolon names the one scan that was taken instead.
    lost["reason"] = [reason.partition(";")[0] for reason in lost["reason"]]
    rows = []
    for cohort in sorted({*taken.index, *lost["cohort"]}):
        reasons = lost.loc[lost["cohort"] == cohort, "reason"].value_counts(sort=False).sort_index()
        n_kept, n_lost = int(taken.get(cohort, 0)), int(reasons.sum())
        counts = {"received": n_kept + n_lost, "kept": n_kept, "excluded": n_lost}
        rows.append({"cohort": cohort, "stage": "ingest", **counts, "reason": ""})
        for reason, n in reasons.items():
            none = {"received": 0, "kept": 0, "excluded": int(n)}
            rows.append({"cohort": cohort, "stage": "ingest", **none, "reason": reason})
    write_table(pd.DataFrame(rows), out, FLOW)


def build_label_table(volume_list: Path, records: list[Path], out: Path) -> None:
    """What is known about each listed volume, in the list's order.

    Raises:
        ContractError: a listed volume has no record.
    """
    volumes = read_table(volume_list, VOLUME_LIST)
    known = pd.concat([read_table(path, RECORDS) for path in records], ignore_index=True)
    known = known.drop(columns=[*IDENTITY, *RAW, "person_id", "group_id"])
    labels = volumes.drop(columns=["shard", "path", "mask_path"]).merge(known, on="volume_id", how="left")
    if labels["qc_flag"].isna().any():
        lost = labels.loc[labels["qc_flag"].isna(), "volume_id"].iloc[0]
        raise ContractError(f"manifest: {lost} has no record; rerun its cohort's ingest.")
    for name in labels.columns:
        if labels[name].dtype != float and TASK_COLUMNS.get(name) is not float:
            labels[name] = labels[name].fillna("")
    labels["site"] = _name_sites(labels)
    write_table(_read_controls(labels), out, LABELS)


def _name_sites(labels: pd.DataFrame) -> pd.Series:
    """`cohort/site`: equal names in two cohorts are two sites, of other scanners or other places."""
    return (labels["cohort"] + "/" + labels["site"]).where(labels["site"] != "", "")


def _read_controls(labels: pd.DataFrame) -> pd.DataFrame:
    """Planted controls become numbers where all their cells are numbers."""
    for name in [column for column in labels.columns if column.startswith("control_")]:
        numbers = pd.to_numeric(labels[name].replace("", None), errors="coerce")
        if numbers.notna().sum() == (labels[name] != "").sum():
            labels[name] = numbers.astype(float)
    return labels
