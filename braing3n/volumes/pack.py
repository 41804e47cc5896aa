"""Pack one shard's volumes: crop or pad about the centre, z-score in the brain, 16-bit levels."""

from __future__ import annotations

import math
from pathlib import Path

import blosc2
import nibabel as nib
import numpy as np
import pandas as pd

from braing3n.atlas.templates import centred_affine
from braing3n.core.contracts import read_table, write_table
from braing3n.core.errors import ContractError
from braing3n.core.runtime import track, write_atomically
from braing3n.nets.levels import dequantise, quantise
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.volumes.contracts import VOLUMES
from braing3n.volumes.dataset import read_chunk
from braing3n.volumes.settings import Crop, VolumesSettings

# Edges of SRI24's brain in its box of 240 x 240 x 155 voxels of 1 mm, stored L-P-S.
ATLAS_SHAPE_MM = (240, 240, 155)
ATLAS_BRAIN_MM = ((53, 186), (44, 215), (6, 140))


def crop_or_pad(array: np.ndarray, shape: tuple[int, ...], crop: Crop = "centre") -> np.ndarray:
    """The array (D, H, W), on SRI24's grid at any spacing, cut or zero-padded to `shape`.

    The middle of the result is that of the grid, or, `atlas_centred`, of the box of the atlas' brain, to half
    a voxel.
    """
    out = np.zeros(shape, array.dtype)
    source, target = [], []
    for axis, (have, want) in enumerate(zip(array.shape, shape, strict=True)):
        start = crop_start(axis, have, want, crop, array.shape[0])
        first, last = max(start, 0), min(start + want, have)
        source.append(slice(first, max(first, last)))
        target.append(slice(first - start, max(first, last) - start))
    out[tuple(target)] = array[tuple(source)]
    return out


def crop_start(axis: int, have: int, want: int, crop: Crop, n_across: int) -> int:
    """The voxel of an axis at which a crop of `want` of `have` voxels begins; below 0 it is padded.

    n_across: voxels of SRI24's first axis, which give the spacing.
    """
    if crop == "centre":
        return int((have - want) / 2)  # towards 0: the odd voxel falls off, or is added, at the end
    middle_mm = sum(ATLAS_BRAIN_MM[axis]) / 2 - ATLAS_SHAPE_MM[axis] / 2
    spacing_mm = ATLAS_SHAPE_MM[0] / n_across
    return math.floor((have - want) / 2 + middle_mm / spacing_mm + 0.5)


def locate_grid(settings: VolumesSettings, preprocessed_mm: float) -> np.ndarray:
    """Voxel of the model's grid -> RAS mm of SRI24, 4 x 4; preprocessed_mm: spacing of what is cropped."""
    factor = max(1, round(settings.spacing_mm / preprocessed_mm))
    box = [math.ceil(mm / preprocessed_mm - 1e-6) for mm in ATLAS_SHAPE_MM]
    affine = centred_affine(box, preprocessed_mm)
    wanted = [n * factor for n in settings.shape]
    start = [crop_start(axis, box[axis], wanted[axis], settings.crop, box[0]) for axis in range(3)]
    affine[:3, 3] += affine[:3, :3] @ (np.array(start) + (factor - 1) / 2)
    affine[:3, :3] *= factor
    return affine


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
    small_mask = crop_or_pad(mask, fine, settings.crop)
    lost = 1 - small_mask.sum() / max(1, mask.sum())
    small_mask = average_blocks(small_mask.astype(np.float32), factor) >= 0.5
    small = average_blocks(crop_or_pad(image, fine, settings.crop), factor)
    return np.where(small_mask, small, 0).astype(np.float32), small_mask, float(lost)


def _reduction(settings: VolumesSettings, image: np.ndarray) -> int:
    """How many preprocessed voxels make one: 240 mm of atlas over the first axis gives the spacing."""
    return max(1, round(settings.spacing_mm * image.shape[0] / 240))


def pack_shard(table_path: Path, array_path: Path, index_path: Path, settings: VolumesSettings) -> None:
    """Pack the kept volumes of a preprocess shard; the index has row, checksum and z-score of each."""
    table = read_table(table_path, PREPROCESS)
    kept = table[table["status"] == "kept"].sort_values("volume_id", ignore_index=True)
    rows = []
    with write_atomically(array_path) as beside:
        array = _create(beside, (len(kept), *settings.shape))
        for row, volume in enumerate(track(kept.itertuples(), "pack volumes", len(kept))):
            image, mask, lost = _read_volume(volume.path, volume.mask_path, settings)
            brain = image[mask].astype(np.float64)
            mean, deviation = _measure_brain(brain, volume.volume_id)
            array[row], far_voxels = quantise((brain - mean) / deviation, mask)
            rows.append(
                {
                    "volume_id": volume.volume_id,
                    "row": row,
                    "crc32": read_chunk(array, row)[1],
                    "mean": mean,
                    "deviation": deviation,
                    "far_voxels": far_voxels,
                    "n_brain_voxels": brain.size,
                    "cropped_brain_share": lost,
                }
            )
    write_table(pd.DataFrame(rows, columns=list(VOLUMES)), index_path, VOLUMES)


def load_volume(
    path: str | Path, mask_path: str | Path | None, settings: VolumesSettings
) -> tuple[np.ndarray, float]:
    """A preprocessed volume as models take it, float32 (D, H, W), and the share of brain that the crop lost.

    The same z-scores, to the bit, as of a packed shard. Without a mask the brain is what is not 0.

    Raises:
        ContractError: no brain is left, or it is flat.
    """
    image = _read_array(path).astype(np.float32)
    mask = image != 0 if mask_path is None else _read_array(mask_path) > 0
    image, mask, lost = to_model_grid(image, mask, settings)
    brain = image[mask].astype(np.float64)
    mean, deviation = _measure_brain(brain, str(path))
    return dequantise(*quantise((brain - mean) / deviation, mask))[0], lost


def _create(path: Path, shape: tuple[int, ...]) -> blosc2.NDArray:
    """An empty int16 array on disk, one chunk a volume, so that any volume is read alone.

    A volume's blocks are whole planes that fill its chunk, so a chunk decodes to the volume in C order.
    Of lz4 and zstd with shuffle, bit shuffle or byte delta, this decodes real brains fastest in under 2.5 MB.
    """
    path.unlink(missing_ok=True)
    n_planes = math.gcd(shape[1], 32)
    layout = {"chunks": (1, *shape[1:]), "blocks": (1, n_planes, *shape[2:])} if shape[0] else {}
    coding = {"codec": blosc2.Codec.LZ4HC, "clevel": 9, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1}
    return blosc2.zeros(shape, dtype=np.int16, urlpath=str(path), mode="w", cparams=coding, **layout)


def _read_volume(path: str, mask_path: str, settings: VolumesSettings):
    image = np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj).astype(np.float32)
    mask = np.asanyarray(nib.Nifti1Image.from_filename(mask_path).dataobj) > 0
    return to_model_grid(image, mask, settings)


def _read_array(path: str | Path) -> np.ndarray:
    image = nib.load(path)
    assert isinstance(image, nib.spatialimages.SpatialImage)
    return np.asanyarray(image.dataobj)


def _measure_brain(brain: np.ndarray, volume_id: str) -> tuple[float, float]:
    """Mean and deviation of a brain's voxels (N,)."""
    deviation = brain.std() if brain.size else 0.0
    if not deviation > 0:
        raise ContractError(
            f"{volume_id}: after the crop its brain is empty, flat or not finite; exclude it and run again."
        )
    return float(brain.mean()), float(deviation)
