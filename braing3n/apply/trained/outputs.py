"""Results as files: NIfTI in SRI24 and in the scan's own space, pictures, and a report as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braing3n import __version__
from braing3n.apply.trained.scans import Prepared
from braing3n.core.bids import SUFFIXES
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import write_atomically

RESEARCH_ONLY = "For research only: not a medical device, and not for diagnosis or treatment."
SYNTHETIC = "SYNTHETIC image made by a model (braing3n)"  # at most 80 characters, as a NIfTI header has
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_nifti(image: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """A synthetic image as float32 NIfTI (.nii.gz) with a new header, whose description marks it as such."""
    import nibabel as nib

    nifti = nib.Nifti1Image(image.astype(np.float32), affine)
    nifti.header.set_xyzt_units("mm")
    nifti.set_sform(affine, code="aligned")
    nifti.set_qform(affine, code="aligned")
    nifti.header["descrip"] = SYNTHETIC
    with write_atomically(path) as beside:
        nib.save(nifti, beside)


def carry_back(image: np.ndarray, affine: np.ndarray, scan: Prepared) -> tuple[np.ndarray, np.ndarray] | None:
    """An image in SRI24 resampled to the grid of its scan, and that grid's affine; None: unknown.

    One linear interpolation; outside the model's box is 0.
    """
    from scipy import ndimage

    if scan.grid is None or scan.back_path is None:
        return None
    shape, own_affine = scan.grid
    to_sri24 = RAS_TO_LPS @ read_affine(scan.back_path) @ RAS_TO_LPS
    to_voxel = np.linalg.inv(affine) @ to_sri24 @ own_affine
    moved = ndimage.affine_transform(
        image.astype(np.float32), to_voxel[:3, :3], to_voxel[:3, 3], output_shape=shape, order=1, cval=0.0
    )
    return moved, own_affine


def read_affine(path: Path) -> np.ndarray:
    """The 4 x 4 LPS matrix of an ITK `.mat`.

    Raises:
        BrainG3nError: the file does not hold such an affine.
    """
    from scipy.io import loadmat

    try:
        numbers = loadmat(path)["AffineTransform_double_3_3"].ravel()
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise BrainG3nError(
            f"{path}: is no affine of ITK ({type(error).__name__}); preprocess again."
        ) from None
    return matrix


def name_file(out_dir: Path, stem: str, modality: str, desc: str, space: str = "SRI24") -> Path:
    """`<stem>_space-<space>_desc-<desc>_<suffix>.nii.gz`, a BIDS derivative's name."""
    return out_dir / f"{stem}_space-{space}_desc-{desc}_{SUFFIXES[modality]}.nii.gz"


def write_image(
    image: np.ndarray,
    affine: np.ndarray,
    out_dir: Path,
    stem: str,
    modality: str,
    desc: str,
    scan: Prepared | None,
) -> list[Path]:
    """Write a synthetic image (D, H, W) in SRI24, and in the scan's own space if that is known.

    Raises:
        BrainG3nError: the image is not finite, as with a far too large guidance.
    """
    if not np.isfinite(image).all():
        raise BrainG3nError(f"{stem}: the model's image is not finite; give less --guidance or more --steps.")
    paths = [name_file(out_dir, stem, modality, desc)]
    write_nifti(image, affine, paths[0])
    back = carry_back(image, affine, scan) if scan else None
    if back is not None:
        paths.append(name_file(out_dir, stem, modality, desc, "native"))
        write_nifti(*back, paths[1])
    return paths


def draw_change(before: np.ndarray, after: dict[str, np.ndarray], base: str, path: Path) -> None:
    """Draw slices of the scan and of each image after, and below each image its difference.

    The image called base is compared with the scan, all others with base, as in their files.
    """
    from braing3n.training.picture import draw_volumes

    shown = {"before": before} | after | {"": np.full_like(before, np.nan)}  # a gap below the scan
    for name, image in after.items():
        other = "before" if name == base else base
        shown[f"{name} - {other}"] = image - (before if name == base else after[base])
    with write_atomically(path) as beside:
        draw_volumes(shown, beside, n_columns=1 + len(after))


def write_report(
    path: Path, command: str, content: dict[str, Any], warnings: list[str], synthetic: Sequence[Path] = ()
) -> None:
    """Write the report as JSON: the command, its options and numbers, warnings, and the notice on its use.

    synthetic: images and pictures that a model made; the report lists them as such.
    """
    made = {"Synthetic": [path.name for path in synthetic]} if synthetic else {}
    whole = {
        "GeneratedBy": {"Name": "braing3n", "Version": __version__, "Command": command},
        **content,
        **made,
        "Warnings": warnings,
        "Notice": RESEARCH_ONLY,
    }
    with write_atomically(path) as beside:
        beside.write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")
