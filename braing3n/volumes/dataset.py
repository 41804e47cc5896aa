"""Random access to packed volumes as models see them: z-scored inside the brain, 0 outside."""

from __future__ import annotations

from pathlib import Path

import blosc2
import numpy as np
import pandas as pd

from braing3n.contracts import read_table
from braing3n.errors import ContractError


class PackedShard:
    """One shard's packed volumes by row.

    Attributes:
        table: one row a volume, columns of the packed index.
    """

    def __init__(self, index_path: Path):
        self.table = read_table(index_path, "volumes")
        base = Path(index_path)
        self._levels = blosc2.open(str(base.with_suffix(".b2nd")), mode="r")
        self._masks = blosc2.open(str(base.with_name(f"{base.stem}_mask.b2nd")), mode="r")

    def load(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Z-scored float32 (D, H, W) that is 0 outside the brain, and the bool mask (D, H, W)."""
        item = self.table.iloc[row]
        levels, mask = self._levels[row].astype(np.float32), self._masks[row].astype(bool)
        image = (levels * item["scale"] + item["offset"] - item["mean"]) / item["deviation"]
        return np.where(mask, image, 0).astype(np.float32), mask


class PackedVolumes:
    """The volumes of a volume list, in its order.

    Attributes:
        table: one row a volume, columns of the volume list and of the packed index.
    """

    def __init__(self, volume_list_path: Path, volumes_dir: Path):
        volumes = read_table(volume_list_path, "volume_list")
        self._dir = Path(volumes_dir)
        shards = sorted(set(zip(volumes["cohort"], volumes["shard"], strict=True)))
        indices = [read_table(self.index_path(*shard), "volumes") for shard in shards]
        index = pd.concat(indices) if indices else pd.DataFrame({"volume_id": []})
        self.table = volumes.merge(index, on="volume_id", how="left", validate="one_to_one")
        if len(volumes) and self.table["row"].isna().any():
            missing = self.table.loc[self.table["row"].isna(), "volume_id"].iloc[0]
            raise ContractError(
                f"{volumes_dir}: {missing} is on the volume list but not packed; rerun `volumes`."
            )
        self._open: dict[Path, PackedShard] = {}

    def __len__(self) -> int:
        return len(self.table)

    def index_path(self, cohort: str, shard: int) -> Path:
        """The packed index of a shard."""
        return self._dir / cohort / f"shard-{shard:03d}.parquet"

    def index_paths(self) -> list[Path]:
        """The packed indices behind the list; their digests say what a model was trained from."""
        shards = sorted(set(zip(self.table["cohort"], self.table["shard"], strict=True)))
        return [self.index_path(*shard) for shard in shards]

    def load(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Volume i: z-scored float32 (D, H, W) that is 0 outside the brain, and the bool mask (D, H, W)."""
        item = self.table.iloc[i]
        path = self.index_path(item["cohort"], item["shard"])
        if path not in self._open:
            self._open[path] = PackedShard(path)
        return self._open[path].load(int(item["row"]))
