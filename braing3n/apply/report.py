"""The result of a scan, in words and numbers that a user can check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.core.bids import derivative_path, entities
from braing3n.preprocess.quality import list_warnings
from braing3n.volumes.settings import VolumesSettings

if TYPE_CHECKING:
    import pandas as pd

SIZELESS = ("mni", "talairach", "sri24")
# A step of the `steps` column, in words.
DONE = {
    "unpad": "zero for the constant that padded it",
    "shift": "shift of intensities, many of which were negative",
    "n4": "bias correction (N4)",
    "extract": "brain extraction ({})",
    "rigid": "rigid registration to the {}",
    "affine": "affine registration to SRI24",
    "resample": "resampling to the grid",
}


def find_id(row: Mapping) -> tuple[str, str, str, str]:
    """The entities that identify a volume within a run."""
    return row["subject_id"], row["session_id"], row["run"], row["modality"]


def measure_crop(table: pd.DataFrame, spacing_mm: float) -> pd.DataFrame:
    """Add `cropped_brain_share`, the share of the brain outside the box that the models see.

    It is empty for a scan that was not kept. spacing_mm: of the volumes.
    """
    shown = [
        _measure_crop(row, spacing_mm) if row["status"] == "kept" else float("nan")
        for row in table.to_dict("records")
    ]
    return table.assign(cropped_brain_share=shown)


def _measure_crop(row: Mapping, spacing_mm: float) -> float:
    import nibabel as nib
    import numpy as np

    from braing3n.volumes.pack import crop_or_pad

    mask = np.asarray(nib.Nifti1Image.from_filename(row["mask_path"]).dataobj) > 0
    box = tuple(round(edge / spacing_mm) for edge in _list_box_mm())
    return round(float(1 - crop_or_pad(mask, box).sum() / mask.sum()), 4)


def _list_box_mm() -> list[float]:
    settings = VolumesSettings()
    return [n * settings.spacing_mm for n in settings.shape]


def _find_file(row: Mapping, kind: str) -> Path:
    """The derivative of a kept row beside its volume."""
    name = derivative_path(Path(), row["cohort"], *find_id(row), kind).name
    return Path(row["path"]).with_name(name)


def describe_scan(row: Mapping, raw_name: str, raw_space: str) -> str:
    """A block of lines about one scan: kept, or the reason why not; steps, numbers, files."""
    who = f"{entities(row['subject_id'], row['session_id'], row['run'])} {row['modality']} ({raw_name})"
    if row["status"] != "kept":
        return f"{who}: NOT kept\n  why          {row['reason']}"
    done, skipped = list_steps(row["steps"])
    # Where head size is taken away already, nobody should read the number as the person's.
    size = f"ml in the {raw_space.upper()} space that it came in" if raw_space in SIZELESS else "ml native"
    sri24_ml = row["native_brain_ml"] * row["affine_determinant"]
    box = " x ".join(f"{edge:g}" for edge in _list_box_mm())
    lines = {
        "refused": row["reason"],
        "done": done,
        "skipped": skipped,
        "brain": f"{row['native_brain_ml']:.0f} {size}; x {row['affine_determinant']:.3f} "
        f"(the affine's determinant) = {sri24_ml:.0f} ml in SRI24",
        "atlas fit": f"Dice {row['atlas_dice']:.2f} with the atlas' brain",
        "coverage": f"{row['coverage']:.1%} of the brain lies in the scan's field of view, "
        f"and {row['atlas_coverage']:.1%} of the atlas' brain",
        "centre fit": _describe_centre(row),
        "scan": _describe_scan(row),
        "crop loss": f"{row['cropped_brain_share']:.1%} of the brain lies outside the models' {box} mm",
        "volume": row["path"],
        "brain mask": row["mask_path"],
        "to SRI24": _find_file(row, "xfm").as_posix(),
        "and back": _find_file(row, "inverse_xfm").as_posix(),
    }
    shown = [f"  {name:<12} {text}" for name, text in lines.items() if text]
    shown += [f"  {'WARNING':<12} {warning}" for warning in list_warnings(row)]
    shown += [f"  {'labels':<12} {_describe_labels(name, item)}" for name, item in _list_labels(row)]
    return "\n".join([f"{who}: kept", *shown])


def _describe_centre(row: Mapping) -> str:
    """The information that a companion shares with the scan it was registered to; empty for that scan."""
    shared = row["centre_mutual_information"]
    return f"{shared:.2f} nats shared with the scan that it was registered to" if shared == shared else ""


def _describe_scan(row: Mapping) -> str:
    """Noise, the shading that N4 removed, and extreme intensities, if there are such numbers."""
    shown = []
    if row["clipped_share"] > 0:
        shown.append(f"{row['clipped_share']:.1g} of its voxels capped as too bright")
    if row["noise"] == row["noise"]:
        shown.append(f"noise {row['noise']:.1%} of the brain's median")
    if row["bias_field_range"] == row["bias_field_range"]:
        shown.append(f"shading by a factor of {row['bias_field_range']:.2f} across the brain, removed")
    return "; ".join(shown) or "n/a"


def list_steps(steps: str) -> tuple[str, str]:
    """The steps that were done, and those that were skipped with reasons, from the `steps` column."""
    pairs = [step.partition(":")[::2] for step in steps.split(";")]
    known = dict(pairs)
    done = [DONE[name].format(what) for name, what in pairs if name in DONE]
    skipped = []
    if "n4" not in known:
        skipped.append("bias correction (declared as done)")
    if known.get("mask", "").startswith("nonzero"):
        found = ": no skull was found" if "no skull" in known["mask"] else ""
        skipped.append(f"brain extraction (the nonzero voxels are the brain{found})")
    elif "mask" in known:
        skipped.append(f"brain extraction (takes the mask of the {known['mask']})")
        if "rigid" not in known:
            skipped.append(f"rigid registration (lies on the {known['mask']})")
    if "affine" not in known:
        skipped.append("affine registration (in SRI24 already)")
    return ", ".join(done) or "nothing: its voxels are as they were", ", ".join(skipped) or "nothing"


def _list_labels(row: Mapping) -> list[tuple[str, Mapping]]:
    return list(json.loads(row["segmentations"]).items()) if row["segmentations"] else []


def _describe_labels(name: str, item: Mapping) -> str:
    if "reason" in item:
        return f"{name}: NOT carried: {item['reason']}"
    return f"{item['path']} ({item['native_ml']:.1f} ml native, {item['carried_share']:.0%} of it carried)"
