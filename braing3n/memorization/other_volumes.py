"""Volumes that are audited as samples are: reconstructions, samples of MCI and PD, and forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.diffusion.contracts import SAMPLES
from braing3n.longitudinal.contracts import FORECASTS


@dataclass(frozen=True)
class Stored:
    """Rows of an array in a file (.npz), which are read when an audit needs them and not held before."""

    path: Path
    name: str
    rows: np.ndarray

    def read(self) -> np.ndarray:
        """The rows (n, ...), of the type that the file has."""
        with np.load(self.path) as file:
            return file[self.name][self.rows]


@dataclass(frozen=True)
class Beside:
    """One comparison.

    Attributes:
        items: one row each: item_id, person_id, group_id and modality. Volumes of the same group are never
            its nearest; ids are empty where it belongs to nobody.
        tokens: (n, T, d).
        volumes: decoded, (n, d, h, w) float16 on voxels of about 4 mm.
    """

    items: pd.DataFrame
    tokens: Stored
    volumes: Stored


def open_reconstructions(coarse: Path, volume_list: pd.DataFrame) -> Beside:
    """Reconstructions of training volumes as if nobody's: they are copies, so that their own volume is found.

    Args:
        coarse: `fidelity`'s file of decoded volumes.
    """
    with np.load(coarse) as file:
        rows = file["reconstructions_rows"]
    place = np.flatnonzero(volume_list["split"].iloc[rows] == "train")
    items = disown(volume_list.iloc[rows[place]], "volume_id")
    tokens, volumes = (Stored(coarse, name, place) for name in ("reconstructions_tokens", "reconstructions"))
    return Beside(items, tokens, volumes)


def open_other_arms(coarse: Path) -> Beside:
    """Samples of MCI and PD, which `control` draws.

    Args:
        coarse: `control`'s file of decoded volumes, beside `samples.npz` and `samples.parquet`.
    """
    with np.load(coarse) as file:
        rows = file["samples_rows"]
    table = read_table(coarse.with_name("samples.parquet"), SAMPLES).iloc[rows]
    tokens = Stored(coarse.with_name("samples.npz"), "tokens", rows)
    return Beside(disown(table, "sample_id"), tokens, Stored(coarse, "samples", np.arange(len(rows))))


def open_forecasts(coarse: Path, volume_list: pd.DataFrame) -> Beside:
    """Forecasts of people; those of 0 years are the person's own visit, and are left out.

    Args:
        coarse: `longitudinal`'s file of decoded volumes, beside `forecasts.npz` and `forecasts.parquet`.
    """
    table = read_table(coarse.with_name("forecasts.parquet"), FORECASTS)
    with np.load(coarse) as file:
        rows = file["forecasts_rows"]
    place = np.flatnonzero(table["years"].iloc[rows] > 0)
    own = table.iloc[rows[place]]
    modality = volume_list.set_index("volume_id")["modality"].reindex(own["volume_id"]).to_numpy()
    items = own[["forecast_id", "person_id", "group_id"]].rename(columns={"forecast_id": "item_id"})
    items = items.assign(modality=modality).reset_index(drop=True)
    tokens = Stored(coarse.with_name("forecasts.npz"), "tokens", rows[place])
    return Beside(items, tokens, Stored(coarse, "forecasts", place))


def disown(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The items of a table that belong to nobody: item_id (its column `name`), modality and empty ids."""
    items = table[[name, "modality"]].rename(columns={name: "item_id"})
    return items.assign(person_id="", group_id="").reset_index(drop=True)
