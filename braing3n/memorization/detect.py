"""The copy detector on a run's samples and reconstructions, against training volumes of their modality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.core.runtime import write_atomically
from braing3n.diffusion.contracts import SAMPLES
from braing3n.fidelity.coarse import choose_edge, coarsen
from braing3n.memorization.contracts import COPIES
from braing3n.memorization.copies import PLANTED_COPIES, Queries, tabulate_copies
from braing3n.memorization.planted import Planted
from braing3n.memorization.settings import MemorizationSettings

if TYPE_CHECKING:
    from braing3n.volumes.dataset import PackedVolumes

N_PAIRS_DRAWN = 8


@dataclass(frozen=True)
class Others:
    """Samples of MCI and PD, which `control` draws: table, tokens (n, T, d), coarse volumes (n, d, h, w)."""

    table: pd.DataFrame
    tokens: np.ndarray
    coarse: np.ndarray

    @classmethod
    def open(cls, coarse: Path) -> Others:
        """From `control`'s file of coarse volumes and the samples beside it."""
        with np.load(coarse) as file:
            rows, volumes = file["samples_rows"], file["samples"]
        table = read_table(coarse.with_name("samples.parquet"), SAMPLES)
        with np.load(coarse.with_name("samples.npz")) as file:
            return cls(table.iloc[rows].reset_index(drop=True), file["tokens"][rows], volumes)

    def list_items(self) -> pd.DataFrame:
        """What they are, as audits ask: item_id, modality, and that they belong to nobody."""
        items = self.table[["sample_id", "modality"]].rename(columns={"sample_id": "item_id"})
        return items.assign(person_id="", group_id="")


def detect_copies(
    decoded: dict[str, np.ndarray],
    sample_table: pd.DataFrame,
    packed: PackedVolumes,
    settings: MemorizationSettings,
    others: Others | None = None,
    planted: Planted | None = None,
) -> pd.DataFrame:
    """A row a volume that was asked about, modality by modality; planted copies are the comparison `planted`.

    Reconstructions of training volumes are asked about as if they were samples: they are copies, so the share
    that is flagged is the detector's power on this decoder.

    Args:
        decoded: `samples`, rows as in the sample table; `reconstructions` of the volumes in
            `reconstructions_rows`; coarse, as `fidelity` leaves them.
    """
    volumes = packed.table
    is_train = (volumes["split"] == "train").to_numpy()
    rebuilt = decoded["reconstructions_rows"]
    tables = []
    for modality in sorted(volumes.loc[is_train, "modality"].unique()):
        is_here = (volumes["modality"] == modality).to_numpy()
        sampled = np.flatnonzero(sample_table["modality"] == modality)
        trained = np.flatnonzero((is_here & is_train)[rebuilt])
        names = sample_table["sample_id"].to_numpy()[sampled]
        sets = {
            "real-real": _ask_packed(packed, np.flatnonzero(is_here & is_train)),
            "held-out-real": _ask_packed(packed, np.flatnonzero(is_here & ~is_train)),
            "synthetic-real": _ask(names, decoded["samples"], sampled),
            "reconstructed-real": _ask(
                volumes["volume_id"].to_numpy()[rebuilt[trained]], decoded["reconstructions"], trained
            ),
        }
        if others is not None:
            own = np.flatnonzero(others.table["modality"] == modality)
            names = others.table["sample_id"].to_numpy()[own]
            sets["other-arms-real"] = _ask(names, others.coarse, own)
        if planted is not None:
            own = np.flatnonzero(planted.table["modality"] == modality)
            sets[PLANTED_COPIES] = _ask(planted.table["item_id"].to_numpy()[own], planted.volumes, own)
        found = tabulate_copies(sets, settings.percentile, settings.n_reference, settings.seed)
        tables.append(found.assign(modality=modality))
    columns = [name for name in COPIES if name not in ("person_id", "group_id")]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["owner", *columns])
    people = volumes.set_index("volume_id")["person_id"]
    is_real = table["owner"] != ""
    owners = people.reindex(table["item_id"]).to_numpy()
    table["person_id"] = np.where(is_real, owners, "")
    return table.rename(columns={"owner": "group_id"})[list(COPIES)]


def _ask(names: np.ndarray, coarse: np.ndarray, rows: np.ndarray) -> Queries:
    """Decoded volumes, which belong to nobody."""
    return Queries(names, np.full(len(rows), ""), lambda i: coarse[rows[i]].astype(np.float32))


def _ask_packed(packed: PackedVolumes, rows: np.ndarray) -> Queries:
    items = packed.table.iloc[rows]
    names, owners = items["volume_id"].to_numpy(), items["group_id"].to_numpy()
    return Queries(names, owners, lambda i: load_coarse(packed, int(rows[i])))


def load_coarse(packed: PackedVolumes, row: int) -> np.ndarray:
    """A volume (d, h, w) on voxels of about 4 mm."""
    image, _ = packed.load(row)
    return coarsen(image, choose_edge(image.shape))


def draw_nearest(
    found: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    packed: PackedVolumes,
    path: Path,
) -> None:
    """Draw the samples that resemble a training volume most, each beside it, on coarse voxels."""
    from braing3n.training.picture import draw_volumes

    synthetic = found[found["comparison"] == "synthetic-real"].nlargest(N_PAIRS_DRAWN, "correlation")
    place = {name: i for i, name in enumerate(sample_table["sample_id"])}
    row = {name: i for i, name in enumerate(packed.table["volume_id"])}
    shown = {}
    for k, pair in enumerate(synthetic.itertuples(), start=1):
        title = f"{k}: {pair.item_id} ({pair.correlation:.2f})"
        shown[title] = samples[place[pair.item_id]].astype(np.float32)
        shown[f"{k}: nearest"] = load_coarse(packed, row[pair.nearest_id])
    with write_atomically(path) as beside:
        draw_volumes(shown, beside)
