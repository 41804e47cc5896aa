"""Tissue volumes of `braing3n/atlas` beside what is known: phantoms, two visits of one person, and Atropos.

Prints ratios, found to known, and exits 1 where a claim of docs/tissue.md fails. Phantoms are made of the
atlas that gives the priors, so real heads stand beside them: `--real FOLDER` is a derivative in SRI24 that
`braing3n preprocess` wrote, in which grey and white matter of two visits of one person differ by at most 3 %.
Atropos (antspyx) starts from the same priors; both see voxels of 2 mm.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from machine import describe_processor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from braing3n.atlas.maps import Maps, lay_maps  # noqa: E402
from braing3n.atlas.measure import VOLUMES, measure_brain, measure_volumes  # noqa: E402
from braing3n.atlas.templates import centred_affine  # noqa: E402
from braing3n.core.resources import fetch  # noqa: E402
from braing3n.core.settings import ResourceSettings  # noqa: E402
from braing3n.phantoms.miniature import blur_world  # noqa: E402
from braing3n.phantoms.people import draw_people  # noqa: E402
from braing3n.phantoms.scanner import MODALITIES, place_brain, scan_brain  # noqa: E402
from braing3n.volumes.pack import average_blocks  # noqa: E402

BOX_MM = (160, 192, 160)
REAL_MM = 2
# Median distances from what is known, in percent: those of docs/tissue.md.
CLAIMED = {"grey": 5.0, "white": 5.0}
CLAIMED_VISITS = 3.0  # percent between two visits, of each of these


def compare_phantoms(n_people: int, seed: int, spacing_mm: float) -> bool:
    """Print found to planted of T1 phantoms; whether the claims hold."""
    shape = tuple(round(edge / spacing_mm) for edge in BOX_MM)
    wheels = [fetch(name, ResourceSettings()) for name in ("brain-templates", "head-template")]
    world = blur_world(*wheels, spacing_mm)
    maps = lay_maps(wheels[0], shape, centred_affine(shape, spacing_mm))
    ratios, seconds = [], 0.0
    for person in draw_people(max(20, n_people), seed)[:n_people]:
        rng = person.rng(2, 0, MODALITIES.index("T1"))
        tissue = place_brain(world, person, 0, shape, spacing_mm, rng)
        image, mask = scan_brain(world, person, 0, "T1", shape, spacing_mm)
        grey, white = tissue["gm"][mask], tissue["wm"][mask]
        planted = measure_volumes(np.stack([1 - grey - white, grey, white]), mask, maps)
        start = time.process_time()
        found, _ = measure_brain(image, mask, maps)
        seconds += time.process_time() - start
        ratios.append(found / planted)
    table, is_met = np.array(ratios), True
    print(
        f"{n_people} T1 phantoms at {spacing_mm:g} mm, {seconds / n_people:.3f} s of CPU each: "
        "found to planted"
    )
    for name, column in zip(VOLUMES, table.T, strict=True):
        off = 100 * np.abs(column - 1)
        print(f"  {name:22} ratio {np.median(column):.3f}, off {np.median(off):.1f}, most {off.max():.1f} %")
        is_met &= bool(np.median(off) <= CLAIMED.get(name, np.inf))
    return is_met


def compare_real(folder: Path) -> bool:
    """Print volumes of real T1 heads, their ratio to Atropos's, and that of later visits to the first.

    Returns whether grey and white matter of all later visits are near those of the first.
    """
    wheel, first, is_met = fetch("brain-templates", ResourceSettings()), {}, True
    for path in sorted(folder.glob("sub-*/**/*space-SRI24_desc-preproc_T1w.nii.gz")):
        image, mask, affine = _read(path)
        maps = lay_maps(wheel, image.shape, affine)
        ml, found = measure_brain(image, mask, maps)
        ratio = ml[:3] / _run_atropos(image, mask, maps)
        name, person = path.name.split("_space")[0], path.name.split("_")[0]
        print(
            f"{name:18} csf, grey, white {ml[:3].round()} ml; to Atropos {ratio.round(3)}; "
            f"separation {found.mixture.separation:.2f} ({'' if found.is_reliable else 'not '}reliable)"
        )
        if person in first:
            change = ml[:3] / first[person]
            print(f"{'':18} to the first visit {change.round(3)}")
            named = dict(zip(VOLUMES, 100 * np.abs(change - 1), strict=False))
            is_met &= all(named[name] <= CLAIMED_VISITS for name in CLAIMED)
        first.setdefault(person, ml[:3])
    return is_met


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A preprocessed head of 1 mm and its mask as means of blocks of 2 mm, and their affine."""
    image = nib.load(path)
    mask_path = path.with_name(path.name.replace("desc-preproc_T1w", "desc-brain_mask"))
    arrays = [np.asarray(one.dataobj, np.float32) for one in (image, nib.load(mask_path))]
    cut = tuple(slice(0, n // REAL_MM * REAL_MM) for n in arrays[0].shape)
    small, share = (average_blocks(array[cut], REAL_MM) for array in arrays)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (REAL_MM - 1) / 2)
    affine[:3, :3] *= REAL_MM
    return np.where(share >= 0.5, small, 0), share >= 0.5, affine


def _run_atropos(image: np.ndarray, mask: np.ndarray, maps: Maps) -> np.ndarray:
    """Atropos's CSF, grey and white matter in ml, from the same priors."""
    import ants

    def convert(array):
        return ants.from_numpy(np.ascontiguousarray(array, np.float32), spacing=(float(REAL_MM),) * 3)

    priors = [convert(part) for part in maps.tissue]
    done = ants.atropos(
        a=convert(image), x=convert(mask), i=priors, priorweight=0.25, m="[0.1,1x1x1]", c="[5,0]"
    )
    return np.array([part.numpy()[mask].sum() for part in done["probabilityimages"]]) * maps.voxel_ml


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--spacing-mm", type=float, default=4.0, help="voxels of the phantoms")
    parser.add_argument("--real", type=Path, help="a derivative of `braing3n preprocess` at 1 mm")
    options = parser.parse_args()
    print(describe_processor())
    is_met = compare_phantoms(options.people, options.seed, options.spacing_mm)
    if options.real:
        is_met &= compare_real(options.real)
    return 0 if is_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
