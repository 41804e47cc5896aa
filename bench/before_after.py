"""Preprocessed volumes of two states of the code, measured alike: overlap with SRI24, volume, information.

    python bench/before_after.py BEFORE AFTER     # two folders results/<run>/preprocess of the same scans

Their own tables cannot be compared where the measure changed between them: a cap on bright voxels moves the
bins of a joint histogram. Here both are read by one measure. Exits 1 where a volume's Dice falls by more than
.005, its brain changes by more than 1 %, or it shares less with the atlas.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402

from braing3n.core.resources import fetch_atlas_brain  # noqa: E402
from braing3n.core.settings import ResourceSettings  # noqa: E402
from braing3n.preprocess.space.grid import Atlas, load_atlas  # noqa: E402
from braing3n.preprocess.space.register import measure_dice  # noqa: E402
from braing3n.preprocess.space.starts import sum_information  # noqa: E402

MAX_DICE_LOSS, MAX_VOLUME_CHANGE = 0.005, 0.01
N_BINS = 32
BRIGHTEST_PERCENT = 99.9  # all above share the last bin, whatever a pipeline did with them


def read(path: Path) -> tuple[np.ndarray, float]:
    """A volume in LPS, (L, P, S) as the atlas's grid has it, and its spacing in mm."""
    image = nib.load(path)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
    )
    turned = image.as_reoriented(turn)
    return turned.get_fdata(dtype=np.float32), float(turned.header.get_zooms()[0])


def measure(volume: np.ndarray, atlas: Atlas) -> tuple[float, float, float]:
    """Dice with the atlas, share of the atlas's volume, and information (nats) inside the atlas's brain."""
    brain, one, other = volume > 0, code(volume[atlas.mask]), code(atlas.volume[atlas.mask])
    counts = np.bincount(one * N_BINS + other, minlength=N_BINS**2).reshape(N_BINS, N_BINS)
    return measure_dice(brain, atlas.mask), brain.sum() / atlas.mask.sum(), sum_information(counts)


def code(values: np.ndarray) -> np.ndarray:
    """The bin of each value, from 0 to the brightest but a thousandth."""
    top = max(float(np.percentile(values, BRIGHTEST_PERCENT)), 1e-6)
    return np.minimum(np.clip(values, 0, top) / top * N_BINS, N_BINS - 1).astype(int)


def main() -> int:
    """Compare every volume that both folders have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    print(describe_processor(), flush=True)
    paths = {path.relative_to(options.before) for path in options.before.rglob("*_desc-preproc_*.nii.gz")}
    shared = sorted(path for path in paths if (options.after / path).exists())
    if not shared:
        parser.error("the two folders share no volume (*_desc-preproc_*.nii.gz).")
    atlas_path, is_met, atlas = fetch_atlas_brain(ResourceSettings()), True, None
    for path in shared:
        (before, spacing_mm), (after, _) = read(options.before / path), read(options.after / path)
        if atlas is None or atlas.grid.spacing_mm != spacing_mm:
            atlas = load_atlas(atlas_path, spacing_mm)
        (dice, share, bits), (new_dice, new_share, new_bits) = (measure(v, atlas) for v in (before, after))
        holds = new_dice >= dice - MAX_DICE_LOSS and abs(new_share / share - 1) <= MAX_VOLUME_CHANGE
        holds &= new_bits >= bits
        is_met &= bool(holds)
        print(
            f"{path.name.split('_space-')[0]} {path.name.split('_')[-1].split('.')[0]}: "
            f"Dice {dice:.4f} -> {new_dice:.4f}, volume {100 * (new_share / share - 1):+.2f} %, "
            f"information {bits:.4f} -> {new_bits:.4f} ({100 * (new_bits / bits - 1):+.2f} %)"
            f"{'' if holds else '  NOT MET'}",
            flush=True,
        )
    print(f"{len(shared)} volumes; {len(paths) - len(shared)} of before are not among those of after")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
