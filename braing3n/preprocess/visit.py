"""One visit from raw files to volumes in SRI24, in memory from end to end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from braing3n.core.errors import ScanError, StorageError
from braing3n.core.runtime import STORAGE_FAULTS, check_free_space, explain_storage_fault
from braing3n.preprocess.fit import Centre, Moved, Tools, fit_centre, fit_companion, move
from braing3n.preprocess.read.intake import list_series
from braing3n.preprocess.route import CENTRE_ORDER
from braing3n.preprocess.space.grid import (
    Atlas,
    encode_affine,
    encode_nifti,
)
from braing3n.preprocess.space.segmentation import carry_segmentation


@dataclass
class VisitResult:
    """Table cells by inventory row, and file contents by (kind, run, modality)."""

    cells: list[dict] = field(default_factory=list)
    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    mask_key: tuple[str, str, str] | None = None
    is_final: bool = True  # False where a tool failed rather than a scan: it is tried again next time


def process_visit(rows: list[Mapping], tools: Tools) -> VisitResult:
    """Bring all scans of one visit to SRI24.

    The first usable scan in the order T1, T1c, T2, FLAIR is the centre; a scan that cannot be used is a row
    with a reason and takes no other scan with it.

    Args:
        rows: inventory rows of one subject and session.

    Raises:
        StorageError: there is no space for temporary files, which is no scan's fault.
    """
    result = VisitResult()
    centre, moved_scans = None, []
    for row in sorted(rows, key=lambda row: (CENTRE_ORDER.index(row["modality"]), row["run"])):
        cell = {"modality": row["modality"], "run": row["run"], "n_refused": 0}
        cell |= {"status": "excluded", "reason": "", "steps": "", "segmentations": ""}
        result.cells.append(cell)
        found = _try_series(row, cell, centre, tools, result)
        if found is None:
            continue
        fitted, moved = found
        if centre is None:
            centre = replace(fitted, volume=moved.volume)
            result.mask_key = ("mask", row["run"], row["modality"])
            mask = centre.atlas_mask.astype(np.uint8)
            result.files[result.mask_key] = encode_nifti(mask, tools.atlas.grid)
        _keep(result, cell, moved, centre, tools.atlas)
        moved_scans.append(moved)
    for row in rows:
        if row.get("segmentations"):
            _carry_segmentations(row, moved_scans, result, tools.atlas)
    return result


def _try_series(
    row: Mapping, cell: dict, centre: Centre | None, tools: Tools, result: VisitResult
) -> tuple[Centre, Moved] | None:
    """The first series of a row that can be used, in SRI24, and the visit's centre; None: none can.

    The cell counts those that were refused and holds the reasons.
    """
    reasons = []
    for n_refused, series in enumerate(list_series(row)):
        try:
            fitted = centre or fit_centre(series, tools)
            if centre is None:
                moved = move(
                    series,
                    fitted,
                    raw=fitted.raw,
                    scan=fitted.scan,
                    matrix=fitted.matrix,
                    route=fitted.route,
                    negatives=fitted.negatives,
                    tools=tools,
                )
            else:
                moved = fit_companion(series, centre, tools)
        except ScanError as error:
            reasons.append(str(error))
        except Exception as error:
            reasons.append(_describe_fault(series["path"], error))
            result.is_final = False
        else:
            if reasons:
                reasons.append(f"{Path(series['path']).name} is used in its place.")
            cell |= {"n_refused": n_refused, "reason": " ".join(reasons)}
            return fitted, moved
    cell["reason"] = " ".join(reasons)
    return None


def _carry_segmentations(row: Mapping, scans: list[Moved], result: VisitResult, atlas: Atlas) -> None:
    """Bring what was delineated to SRI24 with the scan that it was delineated on; a fault is recorded."""
    described: dict[str, dict] = {}
    for name, path in json.loads(row["segmentations"]).items():
        try:
            labels, described[name] = carry_segmentation(path, scans, atlas)
            result.files[f"dseg-{name}", "", "T1"] = encode_nifti(labels, atlas.grid)
        except ScanError as error:
            described[name] = {"reason": str(error)}
        except Exception as error:
            described[name] = {"reason": _describe_fault(path, error)}
            result.is_final = False
    cell = next(item for item in result.cells if (item["modality"], item["run"]) == _name(row))
    cell["segmentations"] = json.dumps(described, sort_keys=True)


def _describe_fault(path: str, error: Exception) -> str:
    """The reason where a tool failed.

    Raises:
        StorageError: it failed for want of space.
    """
    if isinstance(error, StorageError):
        raise error
    if (
        isinstance(error, OSError)
        and error.errno in STORAGE_FAULTS
        and not isinstance(error, PermissionError)
    ):
        with explain_storage_fault(tempfile.gettempdir()):
            raise error
    check_free_space(tempfile.gettempdir())
    if isinstance(error, MemoryError):
        return f"{Path(path).name}: memory ran out; give the job more, or fewer workers, and run again."
    first = (str(error).splitlines() or ["no message"])[0][:200]
    return f"{Path(path).name}: a tool failed ({type(error).__name__}: {first})."


def _name(row: Mapping) -> tuple[str, str]:
    return row["modality"], row["run"]


def _keep(result: VisitResult, cell: dict, moved: Moved, centre: Centre, atlas: Atlas) -> None:
    run, modality = cell["run"], cell["modality"]
    result.files["preproc", run, modality] = encode_nifti(moved.volume, atlas.grid)
    result.files["xfm", run, modality] = encode_affine(moved.matrix)
    result.files["inverse_xfm", run, modality] = encode_affine(np.linalg.inv(moved.matrix))
    result.files["picture", run, modality] = moved.picture
    cell.update(
        status="kept",
        steps=moved.steps,
        native_brain_ml=round(centre.native_brain_ml, 3),
        affine_determinant=round(centre.affine_determinant, 6),
        atlas_dice=round(centre.atlas_dice, 6),
        **moved.quality,
    )
