"""Random access to packed volumes as models see them: z-scored inside the brain, 0 outside."""

from __future__ import annotations

import copy
import zlib
from pathlib import Path

import blosc2
import numpy as np
import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.core.errors import BrainG3nError, ContractError
from braing3n.core.runtime import digest_text
from braing3n.nets.levels import dequantise, read_far_voxels
from braing3n.volumes.contracts import VOLUME_LIST, VOLUMES


def read_chunk(array: blosc2.NDArray, row: int) -> tuple[bytes, int]:
    """A volume's compressed levels, and the crc32 of their bytes and of the volume's shape."""
    chunk = array.schunk.get_chunk(row)
    return chunk, zlib.crc32(chunk, zlib.crc32(repr(array.shape[1:]).encode()))


class PackedShard:
    """One shard's packed volumes by row.

    No file stays open: threads and forked or spawned workers may load from the same one.

    Attributes:
        table: one row a volume, columns of the packed index.
    """

    def __init__(self, index_path: Path):
        self.table = read_table(index_path, VOLUMES)
        self._array_path = Path(index_path).with_suffix(".b2nd")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of its volumes."""
        return tuple(self._read(0)[0].shape[1:])

    def load(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Z-scored float32 (D, H, W) that is 0 outside the brain, and the bool mask (D, H, W).

        Raises:
            ContractError: the file is missing, of another index, or damaged at this volume.
        """
        array, chunk = self._read(row)
        levels = np.empty(array.shape[1:], np.int16)
        blosc2.decompress2(chunk, dst=levels, nthreads=1)
        return dequantise(levels, self.table["far_voxels"].iloc[row])

    def load_levels(self, row: int, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fill `out`, int16 (D, H, W), with a volume's levels; its far voxels' flat indices and z-scores.

        Raises:
            ContractError: as `load`.
        """
        _, chunk = self._read(row)
        blosc2.decompress2(chunk, dst=out, nthreads=1)
        return read_far_voxels(self.table["far_voxels"].iloc[row])

    def _read(self, row: int) -> tuple[blosc2.NDArray, bytes]:
        """The open array, and a volume's chunk that agrees with the index.

        The check takes half a millisecond of five at 1 mm; all decoding is on one thread.
        """
        item, fault = self.table.iloc[row], "its checksum differs"
        try:
            array = blosc2.open(str(self._array_path), mode="r")
            chunk, crc32 = read_chunk(array, row)
        except Exception as error:  # of a missing file or a damaged header blosc2 raises nearly everything
            crc32, fault = None, type(error).__name__
        if crc32 != item["crc32"]:
            raise ContractError(
                f"{self._array_path}: {item['volume_id']} is missing or damaged on disk ({fault}); "
                "delete this file and run `volumes` again."
            )
        return array, chunk


def list_indices(tables: list[Path], volumes_dir: Path) -> list[Path]:
    """The packed indices of shards; of the shell's line they would take too much beside the tables."""
    return [Path(volumes_dir) / path.parent.name / path.name for path in tables]


PLACES = ("path", "mask_path", "shard", "row")  # columns that say where a volume lies


class PackedVolumes:
    """The volumes of a volume list, in its order.

    Attributes:
        table: one row a volume, columns of the volume list and of the packed index.
    """

    def __init__(self, volume_list_path: Path, volumes_dir: Path):
        volumes = read_table(volume_list_path, VOLUME_LIST)
        self._dir = Path(volumes_dir)
        shards = sorted(set(zip(volumes["cohort"], volumes["shard"], strict=True)))
        indices = [read_table(self.index_path(*shard), VOLUMES) for shard in shards]
        index = pd.concat(indices) if indices else _make_empty_index()
        self.table = volumes.merge(index, on="volume_id", how="left", validate="one_to_one")
        if len(volumes) and self.table["row"].isna().any():
            missing = self.table.loc[self.table["row"].isna(), "volume_id"].iloc[0]
            raise ContractError(
                f"{volumes_dir}: {missing} is on the volume list but not packed; rerun `volumes`."
            )
        self._shards: dict[Path, PackedShard] = {}

    def __len__(self) -> int:
        return len(self.table)

    def index_path(self, cohort: str, shard: int) -> Path:
        """The packed index of a shard."""
        return self._dir / cohort / f"shard-{shard:03d}.parquet"

    def of_part(self, part: int, n_parts: int) -> PackedVolumes:
        """The part-th (from 0) of n_parts runs of volumes, as even as can be, in their order.

        Raises:
            BrainG3nError: there is no such part, or not a volume for each.
        """
        if not 0 <= part < n_parts <= len(self):
            raise BrainG3nError(
                f"part {part} of {n_parts}: parts count from 0, and {len(self)} volumes make at most as many "
                "(latents.n_parts)."
            )
        taken = copy.copy(self)
        taken.table = self.table.iloc[np.array_split(np.arange(len(self)), n_parts)[part]]
        return taken

    def digest(self) -> str:
        """The sha256 of what a model is trained from: ids, splits, checksums and scales of the voxels.

        Where the volumes lie (the run's name, the number of shards) does not move it.
        """
        return digest_text(self.table.drop(columns=list(PLACES)).to_json(orient="split", double_precision=15))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of the volumes."""
        return self._find(0)[0].shape

    def load(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Volume i: z-scored float32 (D, H, W) that is 0 outside the brain, and the bool mask (D, H, W)."""
        shard, row = self._find(i)
        return shard.load(row)

    def load_levels(self, i: int, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fill `out`, int16 (D, H, W), with volume i's levels; its far voxels' flat indices and z-scores."""
        shard, row = self._find(i)
        return shard.load_levels(row, out)

    def _find(self, i: int) -> tuple[PackedShard, int]:
        item = self.table.iloc[i]
        path = self.index_path(item["cohort"], item["shard"])
        if path not in self._shards:
            self._shards[path] = PackedShard(path)
        return self._shards[path], int(item["row"])


def _make_empty_index() -> pd.DataFrame:
    """The index of no shard: the contract's columns, and ids of the type that the volume list has."""
    return pd.DataFrame(columns=list(VOLUMES)).astype({"volume_id": str})
