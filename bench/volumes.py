"""Load volumes as a model reads them: the packed loader against nibabel on float32 and on 16-bit .nii.gz.

All give the z-scored float32 crop; nibabel's side gets its mask for free. Prints size, error, milliseconds of
one core and the ratios; exits 1 short of a target.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from braing3n.core.runtime import set_threads
from braing3n.preprocess.contracts import PREPROCESS

set_threads(1)

import blosc2  # noqa: E402
import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from machine import describe_processor, measure_copy  # noqa: E402
from scipy import ndimage  # noqa: E402

from braing3n.core.contracts import write_table  # noqa: E402
from braing3n.volumes.dataset import PackedShard, read_chunk  # noqa: E402
from braing3n.volumes.pack import crop_or_pad, pack_shard  # noqa: E402
from braing3n.volumes.settings import VolumesSettings  # noqa: E402

ROOT = Path(__file__).parents[1]
MAX_MB, MAX_ERROR = 2.5, 1e-3
MIN_RATIOS = {"float32": 15, "16-bit": 8}
GRID = (240, 240, 155)  # SRI24 at 1 mm
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
SETTINGS = VolumesSettings(spacing_mm=1.0, shape=(160, 192, 160))


def find_volumes(folder: Path, n_volumes: int) -> list[tuple[Path, Path]]:
    """Up to n_volumes preprocessed 1 mm volumes, evenly over the folder, each with its brain mask."""
    found = []
    for image in sorted(folder.rglob("sub-*_desc-preproc_*.nii.gz")):
        masks = sorted(image.parent.glob("*_desc-brain_mask.nii.gz"))
        if masks and nib.load(image).shape == GRID:
            found.append((image, masks[0]))
    chosen = np.unique(np.linspace(0, len(found) - 1, min(n_volumes, len(found))).astype(int))
    return [found[i] for i in chosen]


def invent_volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of 1450 ml with folds, shading and 4 % noise, float32, and its bool mask."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.arange(n) - n / 2 for n in GRID], indexing="ij", sparse=True)
    mask = sum((axis / radius) ** 2 for axis, radius in zip(axes, (66, 84, 62.5), strict=True)) < 1
    folds = ndimage.gaussian_filter(rng.standard_normal(GRID, np.float32), 2.5)
    image = 500 + 120 * np.tanh(3 * folds / folds.std()) + 0.3 * axes[1]
    image = image + 20 * rng.standard_normal(GRID, np.float32)
    return np.where(mask, np.maximum(image, 0), 0).astype(np.float32), mask


def write_volumes(folder: Path, sources: list[tuple[Path, Path]], n_volumes: int) -> pd.DataFrame:
    """Write each volume as float32 and 16-bit .nii.gz, both by nibabel; the preprocess table of the first."""
    rows = []
    for n in range(len(sources) or n_volumes):
        if sources:
            image, mask = (nib.load(path).get_fdata(dtype=np.float32) for path in sources[n])
        else:
            image, mask = invent_volume(n)
        name = f"volume-{n:03d}"
        nib.save(nib.Nifti1Image(image, AFFINE), folder / f"{name}_float32.nii.gz")
        nib.save(nib.Nifti1Image(image, AFFINE, dtype=np.int16), folder / f"{name}_16-bit.nii.gz")
        nib.save(nib.Nifti1Image((mask > 0).astype(np.uint8), AFFINE), folder / f"{name}_mask.nii.gz")
        kinds = {column: kind for column, (kind, _) in PREPROCESS.items()}
        row = {column: float("nan") if kind is float else "" for column, kind in kinds.items()}
        row |= {"volume_id": name, "modality": "T1"}
        row |= {"status": "kept", "path": str(folder / f"{name}_float32.nii.gz")}
        rows.append(row | {"mask_path": str(folder / f"{name}_mask.nii.gz")})
    return pd.DataFrame(rows)


def load_with_nibabel(path: Path, mask: np.ndarray) -> np.ndarray:
    """The centre crop of a NIfTI file, z-scored inside the mask."""
    image = crop_or_pad(nib.load(path).get_fdata(dtype=np.float32), mask.shape)
    brain = image[mask]
    out = np.zeros(mask.shape, np.float32)
    out[mask] = (brain - brain.mean(dtype=np.float64)) / brain.std(dtype=np.float64)
    return out


def time_loaders(shard: PackedShard, folder: Path, masks: list[np.ndarray], n_rounds: int) -> dict:
    """Median milliseconds of one core a volume, by loader.

    Each loader goes through all volumes, as in training; their order turns, the first round does not count.
    """
    loaders = {
        "packed": lambda row: shard.load(row),
        "float32": lambda row: load_with_nibabel(folder / f"volume-{row:03d}_float32.nii.gz", masks[row]),
        "16-bit": lambda row: load_with_nibabel(folder / f"volume-{row:03d}_16-bit.nii.gz", masks[row]),
    }
    spent = {name: [] for name in loaders}
    for turn in range(n_rounds + 1):
        names = list(loaders)[turn % 3 :] + list(loaders)[: turn % 3]
        for name in names:
            for row in range(len(masks)):
                start = time.process_time()
                loaders[name](row)
                if turn:
                    spent[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(times) for name, times in spent.items()}


def main() -> int:
    """Pack, compare, time."""
    parser = argparse.ArgumentParser(description=__doc__)
    folder = ROOT / "results" / "real" / "preprocess"
    parser.add_argument("--preprocessed", type=Path, default=folder, help="a run's preprocessed 1 mm volumes")
    parser.add_argument("--volumes", type=int, default=8, help="volumes at most")
    parser.add_argument("--rounds", type=int, default=5, help="readings of each; the median counts")
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    sources = find_volumes(options.preprocessed, options.volumes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_volumes(folder, sources, options.volumes)
        kind = f"real, of {options.preprocessed}" if sources else f"invented: none in {options.preprocessed}"
        print(f"{len(table)} volumes, {kind}", flush=True)
        write_table(table, folder / "table.parquet", PREPROCESS)
        pack_shard(folder / "table.parquet", folder / "x.b2nd", folder / "x.parquet", SETTINGS)
        shard, masks, errors = PackedShard(folder / "x.parquet"), [], []
        for row in range(len(table)):
            image, mask = shard.load(row)
            errors.append(float(np.abs(image - load_with_nibabel(Path(table["path"][row]), mask)).max()))
            masks.append(mask)
        array = blosc2.open(str(folder / "x.b2nd"), mode="r")
        sizes = [len(read_chunk(array, row)[0]) / 1e6 for row in range(len(table))]
        ms = time_loaders(shard, folder, masks, options.rounds)
    ratios = {name: ms[name] / ms["packed"] for name in MIN_RATIOS}
    print(
        f"packed: {statistics.mean(sizes):.2f} MB a volume, the largest {max(sizes):.2f} (at most {MAX_MB})"
    )
    print(f"packed: largest error {max(errors):.6f} deviations (below {MAX_ERROR:g}); {ms['packed']:.1f} ms")
    copy_ms = 1000 * 2 * image.nbytes / 1e9 / measure_copy()
    print(f"share of what the machine can do: {copy_ms / ms['packed']:.2f}, a copy of one {copy_ms:.1f} ms")
    for name, target in MIN_RATIOS.items():
        print(f"nibabel, {name} .nii.gz: {ms[name]:.1f} ms, ratio {ratios[name]:.1f} (target {target})")
    is_good = max(sizes) <= MAX_MB and max(errors) < MAX_ERROR
    return 0 if is_good and all(ratios[name] >= target for name, target in MIN_RATIOS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
