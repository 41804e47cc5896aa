"""Pack one shard's volumes: crop or pad about the centre, 16-bit levels, the brain mask beside."""

from __future__ import annotations

from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import pandas as pd

from braing3n.config import VolumesSettings
from braing3n.contracts import read_table, write_table
from braing3n.errors import ContractError
from braing3n.runtime import track, write_atomically

N_LEVELS = 2**16 - 1


def crop_or_pad(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The array (D, H, W) cut or zero-padded about its centre to `shape`."""
    out = np.zeros(shape, array.dtype)
    source, target = [], []
    for have, want in zip(array.shape, shape, strict=True):
        start = (have - want) // 2 if have >= want else 0
        offset = (want - have) // 2 if want > have else 0
        n = min(have, want)
        source.append(slice(start, start + n))
        target.append(slice(offset, offset + n))
    out[tuple(target)] = array[tuple(source)]
    return out


def average_blocks(array: np.ndarray, factor: int) -> np.ndarray:
    """The mean over cubes of `factor` voxels; the shape must be divisible by it."""
    if factor == 1:
        return array
    d, h, w = (n // factor for n in array.shape)
    return array.reshape(d, factor, h, factor, w, factor).mean(axis=(1, 3, 5), dtype=np.float32)


def to_model_grid(
    image: np.ndarray, mask: np.ndarray, settings: VolumesSettings
) -> tuple[np.ndarray, np.ndarray, float]:
    """A volume and its mask on the model's grid, and the share of brain voxels that the crop lost.

    image (float) and mask (bool) are (D, H, W) on the preprocessed LPS grid.
    """
    factor = _reduction(settings, image)
    fine = tuple(n * factor for n in settings.shape)
    small_mask = crop_or_pad(mask, fine)
    lost = 1 - small_mask.sum() / max(1, mask.sum())
    small_mask = average_blocks(small_mask.astype(np.float32), factor) >= 0.5
    small = average_blocks(crop_or_pad(image, fine), factor)
    return np.where(small_mask, small, 0).astype(np.float32), small_mask, float(lost)


def _reduction(settings: VolumesSettings, image: np.ndarray) -> int:
    """How many preprocessed voxels make one: 240 mm of atlas over the first axis tells the spacing."""
    return max(1, round(settings.spacing_mm * image.shape[0] / 240))


def pack_shard(
    table_path: Path, array_path: Path, mask_path: Path, index_path: Path, settings: VolumesSettings
):
    """Pack the kept volumes of a preprocess shard; the index tells row, levels and z-score of each."""
    table = read_table(table_path, "preprocess")
    kept = table[table["status"] == "kept"].sort_values("volume_id", ignore_index=True)
    shape = (len(kept), *settings.shape)
    rows = []
    with write_atomically(array_path) as beside, write_atomically(mask_path) as mask_beside:
        images = _create(beside, shape, np.uint16)
        masks = _create(mask_beside, shape, np.uint8)
        for row, volume in enumerate(track(kept.itertuples(), "pack volumes", len(kept))):
            image, mask, lost = _read_volume(volume.path, volume.mask_path, settings)
            levels, offset, scale = _quantise(image, volume.volume_id)
            images[row], masks[row] = levels, mask.astype(np.uint8)
            brain = (levels * np.float64(scale) + offset)[mask]
            rows.append(
                {
                    "volume_id": volume.volume_id,
                    "row": row,
                    "offset": offset,
                    "scale": scale,
                    "mean": brain.mean(),
                    "deviation": brain.std(),
                    "n_brain_voxels": int(mask.sum()),
                    "cropped_brain_share": lost,
                }
            )
    columns = [
        "volume_id",
        "row",
        "offset",
        "scale",
        "mean",
        "deviation",
        "n_brain_voxels",
        "cropped_brain_share",
    ]
    write_table(pd.DataFrame(rows, columns=columns), index_path, "volumes")


def _create(path: Path, shape: tuple[int, ...], dtype: type):
    """An empty blosc2 array on disk with one chunk a volume, so that any volume is read alone."""
    path.unlink(missing_ok=True)
    chunks = (1, *shape[1:]) if shape[0] else None
    return blosc2.zeros(shape, dtype=dtype, urlpath=str(path), mode="w", chunks=chunks, cparams={"clevel": 5})


def _read_volume(path: str, mask_path: str, settings: VolumesSettings):
    image = np.asanyarray(nib.load(path).dataobj).astype(np.float32)
    mask = np.asanyarray(nib.load(mask_path).dataobj) > 0
    return to_model_grid(image, mask, settings)


def _quantise(image: np.ndarray, volume_id: str) -> tuple[np.ndarray, float, float]:
    """16-bit levels with their offset and scale: value = level * scale + offset."""
    low, high = float(image.min()), float(image.max())
    if not high > low:
        raise ContractError(
            f"{volume_id}: nothing is left of the brain after the crop; exclude it and run again."
        )
    scale = (high - low) / N_LEVELS
    return np.round((image - low) / scale).astype(np.uint16), low, scale
