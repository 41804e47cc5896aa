"""The copy detector on a run's decoded volumes, against training volumes of their modality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from braing3n.core.runtime import write_atomically
from braing3n.fidelity.coarse import choose_edge, coarsen
from braing3n.memorization.contracts import COPIES
from braing3n.memorization.copies import PLANTED_COPIES, Queries, tabulate_copies
from braing3n.memorization.other_volumes import disown
from braing3n.memorization.planted import Planted
from braing3n.memorization.settings import MemorizationSettings

if TYPE_CHECKING:
    from braing3n.volumes.dataset import PackedVolumes

N_PAIRS_DRAWN = 8


def detect_copies(
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    packed: PackedVolumes,
    settings: MemorizationSettings,
    more: dict[str, tuple[np.ndarray, pd.DataFrame]] | None = None,
    planted: Planted | None = None,
) -> pd.DataFrame:
    """A row a volume that was asked about, modality by modality; planted copies are the comparison `planted`.

    Reconstructions of training volumes are asked about as if they were samples: they are copies, so the share
    that is flagged is the detector's power on this decoder.

    Args:
        samples: (n, d, h, w) on voxels of about 4 mm, rows as in the sample table.
        more: as of `audit_samples`, volumes (n, d, h, w) on voxels of about 4 mm, not latents.
    """
    volumes = packed.table
    is_train = (volumes["split"] == "train").to_numpy()
    asked = {"synthetic-real": (samples, disown(sample_table, "sample_id")), **(more or {})}
    if planted is not None:
        asked[PLANTED_COPIES] = planted.volumes, disown(planted.table, "item_id")
    tables = []
    for modality in sorted(volumes.loc[is_train, "modality"].unique()):
        is_here = (volumes["modality"] == modality).to_numpy()
        sets = {
            "real-real": _ask_packed(packed, np.flatnonzero(is_here & is_train)),
            "held-out-real": _ask_packed(packed, np.flatnonzero(is_here & ~is_train)),
        }
        for name, (coarse, items) in asked.items():
            sets[name] = _ask(items, coarse, np.flatnonzero(items["modality"] == modality))
        found = tabulate_copies(sets, settings.percentile, settings.n_reference, settings.seed)
        tables.append(found.assign(modality=modality))
    columns = [name for name in COPIES if name not in ("person_id", "group_id")]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["owner", *columns])
    real = volumes.rename(columns={"volume_id": "item_id"})
    whose = {"real-real": real, "held-out-real": real} | {name: items for name, (_, items) in asked.items()}
    people = pd.concat({name: items.set_index("item_id")["person_id"] for name, items in whose.items()})
    table["person_id"] = people.reindex(pd.MultiIndex.from_frame(table[["comparison", "item_id"]])).to_numpy()
    return table.rename(columns={"owner": "group_id"})[list(COPIES)]


def _ask(items: pd.DataFrame, coarse: np.ndarray, rows: np.ndarray) -> Queries:
    """Some rows of decoded volumes."""
    names, owners = (items[name].to_numpy()[rows] for name in ("item_id", "group_id"))
    return Queries(names, owners, lambda i: coarse[rows[i]].astype(np.float32))


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
