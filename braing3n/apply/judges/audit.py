"""Whether a folder of generated volumes holds copies of a folder of training volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import betabinom

from braing3n.apply.judges.features import encode, open_model
from braing3n.apply.judges.folders import VolumeFolder, open_folders, tabulate_left_out
from braing3n.apply.judges.tables import REPORT, draw_pairs, write_results
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import make_folder
from braing3n.core.scratch import open_scratch
from braing3n.encoders.voxels import average_voxels
from braing3n.fidelity.coarse import FINE_MM, coarsen, halve
from braing3n.fidelity.floors import FEW_PEOPLE
from braing3n.memorization.audit import audit_pool
from braing3n.memorization.contracts import MEMBERSHIP
from braing3n.memorization.contrastive.audit import TRAINED, audit_codes, open_detector
from braing3n.memorization.contrastive.train import CoarseSource
from braing3n.memorization.copies import Queries, tabulate_copies
from braing3n.memorization.membership import infer_membership
from braing3n.memorization.settings import ContrastiveSettings, MemorizationSettings
from braing3n.memorization.summary import count_duplicates, expect_below

COMPARISONS = {"generated": "synthetic-real", "held-out": "held-out-real", "train": "real-real"}
LATENT, VOXELS, COPIES = (
    "L2 in the model's latent",
    "L2 of coarse voxels",
    "correlation over shifts and mirrors",
)
N_PAIRS_SHOWN = 6


@dataclass(frozen=True)
class Audit:
    """An audit that a user requests."""

    generated: Path
    train: Path
    out: Path
    held_out: Path | None = None
    model: Path | None = None
    percentile: float = 1.0
    n_reference: int = 1000
    seed: int = 2025
    n_steps: int = 0


def audit_folders(asked: Audit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure summary and membership, which are returned, and write them with what they come from.

    Files: `summary`, `nearest`, `copies`, `membership` and `left_out`, each `.parquet`, and `nearest.png`.
    With steps to train it, the contrastive detector's rows are `contrastive.parquet`. Without held-out
    people the table of membership is empty.

    Raises:
        BrainG3nError: a folder cannot be used; a single bad file is left out and reported.
    """
    model, box = open_model(asked.model)
    folders = {"generated": asked.generated, "train": asked.train}
    if asked.held_out is not None:
        folders = {"generated": asked.generated, "held-out": asked.held_out, "train": asked.train}
    found = open_folders(folders, box)
    if both := set(found["train"].people) & set(found["held-out"].people if "held-out" in found else []):
        raise BrainG3nError(f"--held-out: {min(both)} is in --train, too; a person held out is in neither.")
    make_folder(asked.out)

    def embed(volume: np.ndarray) -> np.ndarray:
        if model is not None:
            return encode(model, volume, is_latent=True).ravel()
        return average_voxels(volume, volume != 0)

    edge = max(1, round(FINE_MM / measure_spacing(found["train"])))
    sets = {role: read_set(one, embed, edge) for role, one in found.items()}
    nearest = measure_distances(sets, asked.percentile)
    copies = measure_copies(sets, asked)
    name = LATENT if model is not None else VOXELS
    rows = [
        summarise(nearest, "distance", "is_below_threshold", name),
        summarise(copies, "correlation", "is_flagged", COPIES),
    ]
    tables = {"nearest": nearest, "copies": copies}
    if asked.n_steps:
        tables["contrastive"] = measure_contrastive(sets, asked)
        rows.append(summarise(tables["contrastive"], "distance", "is_below_threshold", TRAINED))
    summary, membership = pd.DataFrame(rows), infer_members(sets, asked)
    tables |= {"summary": summary, "membership": membership}
    if not asked.n_steps and (asked.out / REPORT).exists():  # of an audit before, with steps
        (asked.out / "contrastive.parquet").unlink(missing_ok=True)
    write_results(asked.out, "memorization audit", tables | {"left_out": tabulate_left_out(found)}, found)
    pairs = copies[copies["comparison"] == "synthetic-real"].sort_values("correlation", ascending=False)
    shown = {role: found[role] for role in ("generated", "train")}
    renamed = pairs.rename(columns={"item_id": "generated", "nearest_id": "nearest"})
    draw_pairs(shown, renamed, asked.out / "nearest.png", N_PAIRS_SHOWN)
    return summary, membership


def measure_spacing(one: VolumeFolder) -> float:
    """The mean edge of a voxel in mm."""
    assert one.box is not None
    return float(np.linalg.norm(np.reshape(one.box.step, (3, 3)), axis=0).mean())


def read_set(one: VolumeFolder, embed: Callable[[np.ndarray], np.ndarray], edge: int) -> dict[str, Any]:
    """A folder's volumes as rows (N, D) and coarse (N, d, h, w), float16, with ids and owners."""
    rows, coarse = [], []
    for volume in one.drop_faulty(f"{one.role}: features"):
        rows.append(embed(volume).astype(np.float32))
        coarse.append(coarsen(volume, edge).astype(np.float16))
    is_real = one.role != "generated"
    owners = one.people if is_real else np.full(len(one), "")
    table = pd.DataFrame({"volume_id": one.names, "person_id": owners, "group_id": owners, "modality": ""})
    return {"rows": np.stack(rows), "coarse": np.stack(coarse), "table": table}


def measure_distances(sets: dict[str, dict], percentile: float) -> pd.DataFrame:
    """The audit's rows of the nearest neighbour, as those of a run without pools by modality."""
    order = sorted(sets, key=lambda role: role != "train")
    queries = {
        COMPARISONS[role]: (part["rows"], part["table"], np.full(len(part["rows"]), True))
        for role, part in ((role, sets[role]) for role in order)
    }
    return audit_pool("all", queries, percentile).drop(columns=["group_id", "modality", "pool"])


def measure_copies(sets: dict[str, dict], asked: Audit) -> pd.DataFrame:
    """The copy detector's rows."""

    def ask(part: dict) -> Queries:
        table = part["table"]
        names, owners = table["volume_id"].to_numpy(), table["person_id"].to_numpy()
        return Queries(names, owners, lambda i: part["coarse"][i].astype(np.float32))

    queries = {COMPARISONS[role]: ask(part) for role, part in sets.items()}
    found = tabulate_copies(queries, asked.percentile, asked.n_reference, asked.seed)
    return found.rename(columns={"owner": "person_id"})


def infer_members(sets: dict[str, dict], asked: Audit) -> pd.DataFrame:
    """How well the distance to the nearest generated volume separates training volumes from held-out ones.

    A row, and one of two halves of the training people as the control; none without held-out people.
    """
    if "held-out" not in sets:
        return pd.DataFrame(columns=[name for name in MEMBERSHIP if name != "pool"])
    real = {"train": sets["train"], "test": sets["held-out"]}
    rows = np.concatenate([part["rows"] for part in real.values()])
    table = pd.concat([part["table"].assign(split=split) for split, part in real.items()])
    samples = sets["generated"]["table"].rename(columns={"volume_id": "sample_id"})
    settings = MemorizationSettings(seed=asked.seed)
    found = infer_membership(rows, table, sets["generated"]["rows"], samples, settings)
    return found[found["pool"] == "all"].drop(columns="pool")


def measure_contrastive(sets: dict[str, dict], asked: Audit) -> pd.DataFrame:
    """The rows of the contrastive copy detector, which is trained here on the training folder."""
    train, held_out, generated = (sets[role] for role in ("train", "held-out", "generated"))
    coarse = np.concatenate([train["coarse"], held_out["coarse"]])
    parts = [train["table"].assign(split="train"), held_out["table"].assign(split="test")]
    table = pd.concat(parts, ignore_index=True)

    def read(batches: Sequence[np.ndarray], device: torch.device) -> Iterator[torch.Tensor]:
        for rows in batches:
            halved = np.stack([halve(coarse[row].astype(np.float32)) for row in rows])
            yield torch.from_numpy(halved)[:, None].to(device)

    source = CoarseSource(table, read, "the folder")
    options = ContrastiveSettings(n_steps=asked.n_steps, seed=asked.seed)
    settings = MemorizationSettings(percentile=asked.percentile)
    samples = generated["table"].rename(columns={"volume_id": "sample_id"})
    with (
        open_scratch() as folder,
        open_detector(source, options, folder, folder / "net.safetensors") as detector,
    ):
        found = audit_codes(detector, table, generated["coarse"], samples, settings, {})
    return found[found["pool"] == "all"].drop(columns=["group_id", "modality", "pool"])


def summarise(table: pd.DataFrame, measure: str, flag: str, name: str) -> dict[str, Any]:
    """One detector's row: both distributions, the threshold, and the count beside the expected one.

    Without held-out people the expected count follows from the percentile's own rate, whose uncertainty is
    that of the number of volumes behind the threshold.
    """
    parts = {kind: table[table["comparison"] == kind] for kind in COMPARISONS.values()}
    real, synthetic = parts["real-real"], parts["synthetic-real"]
    row: dict[str, Any] = {"detector": name, "threshold": table["threshold"].iloc[0] if len(real) else np.nan}
    for kind, part in parts.items():
        short = kind.replace("-", "_")
        row[f"n_{short}"] = len(part)
        for statistic in ("mean", "median", "min", "max"):
            row[f"{statistic}_{short}"] = getattr(part[measure], statistic)()
        row[f"n_flagged_{short}"] = int(part[flag].sum())
    row["ratio"] = row["mean_synthetic_real"] / row["mean_real_real"] if row["mean_real_real"] else np.nan
    held_out = parts["held-out-real"].rename(columns={flag: "is_below_threshold"})
    if len(held_out):
        expected = expect_below(held_out, len(synthetic))
    else:
        n, n_flagged = len(real), row["n_flagged_real_real"]
        low, high = betabinom.ppf([0.025, 0.975], len(synthetic), n_flagged + 0.5, n - n_flagged + 0.5)
        rate = n_flagged / max(1, n)
        expected = {"n_held_out_people": 0, "n_below_expected": rate * len(synthetic)}
        expected |= {"n_below_low": low, "n_below_high": high}
    row |= expected
    row["is_more_than_expected"] = "yes" if row["n_flagged_synthetic_real"] > row["n_below_high"] else "no"
    apart = {
        kind: 1 - part[measure] if measure == "correlation" else part[measure] for kind, part in parts.items()
    }
    row["n_identical"] = count_duplicates(apart["synthetic-real"], apart["real-real"].median())
    row["n_duplicates"] = count_duplicates(apart["real-real"], apart["real-real"].median())
    n_people = real["person_id"].nunique()
    row["note"] = f"fewer than {FEW_PEOPLE} people" if n_people < FEW_PEOPLE else ""
    if np.isnan(row["threshold"]):  # nothing can be flagged, which is not to be read as no copies
        row |= {key: np.nan for key in row if key.startswith(("n_flagged", "n_below"))}
        row |= {"is_more_than_expected": "n/a", "note": "no threshold: --train has no two people"}
    return row
