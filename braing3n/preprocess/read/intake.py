"""One raw scan as it is worked on: read, held against a head's size, capped, and its state settled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from braing3n.preprocess.read.claims import check_field_of_view
from braing3n.preprocess.read.extremes import cap, remove_padding
from braing3n.preprocess.read.masks import fill_largest, find_nonzero
from braing3n.preprocess.read.scan import Volume, coarsen, find_box, read_scan
from braing3n.preprocess.route import RawState

MIN_ZERO_SHARE = 0.4  # of a brain's box: a brain fills less than six tenths of it
BRAIN_ALONE_ML = (400.0, 2000.0)  # a head has more, even with its background zeroed
SKULL_SPACING_MM = 2.0  # at which a skull is looked for
MAX_SKULL_DEPTH_MM = 14.0  # below the surface of what is not zero, from two voxels on: where a skull is
INNER_DEPTH_MM = 25.0
MAX_SKULL_LEVEL = 0.4  # of the inner median: bone is dark in every contrast, and a brain's rim is not


@dataclass(frozen=True)
class Intake:
    """A scan, its state, and the share of its voxels whose intensity was capped."""

    scan: Volume
    state: RawState
    clipped_share: float
    is_found_stripped: bool = False  # from the voxels
    is_padded: bool = False  # it was; the padding is zero now


def list_series(row: Mapping) -> list[Mapping]:
    """The series that may become the volume of an inventory row, in the order in which they are tried."""
    return [row, *({**row, **spare} for spare in json.loads(row.get("spares") or "[]"))]


def take_in(row: Mapping) -> Intake:
    """Read the scan of an inventory row.

    Raises:
        ScanError: it cannot be used, or its header shows what no head fits.
    """
    path, state = row["path"], RawState.from_row(row)
    scan = read_scan(path, row.get("source_format", "NIfTI"), row.get("axes", ""), row["modality"])
    check_field_of_view(Path(path).name, scan.data.shape, scan.spacing_mm)
    data, is_padded = remove_padding(scan.data)
    data, clipped_share = cap(data)
    scan = scan.with_data(data)
    is_found = not state.is_stripped and is_brain_alone(scan)
    state = replace(state, is_stripped=state.is_stripped or is_found)
    return Intake(scan, state, clipped_share, is_found, is_padded)


def is_brain_alone(scan: Volume) -> bool:
    """Whether a scan that nobody called stripped holds a brain and nothing else.

    What surrounds it is exactly zero, it has a brain's size, and below its surface there is no dark bone.
    """
    if (scan.data == 0).mean() < MIN_ZERO_SHARE:
        return False
    content = find_nonzero(scan)
    low, high = BRAIN_ALONE_ML
    return low <= content.sum() * scan.voxel_ml <= high and not _has_skull(scan, content)


def _has_skull(scan: Volume, content: np.ndarray) -> bool:
    """Whether a shell of some depth is dark: scalp, bone, brain."""
    from scipy import ndimage

    box = find_box(content, np.ones(3, int))
    scan, filled = (coarsen(item.crop(box), SKULL_SPACING_MM) for item in (scan, scan.with_data(content)))
    depth = ndimage.distance_transform_edt(fill_largest(filled.data > 0.5), sampling=filled.spacing_mm)
    inner = depth > INNER_DEPTH_MM
    if not inner.any():
        return False
    edges = np.arange(2 * filled.spacing_mm.max(), MAX_SKULL_DEPTH_MM, SKULL_SPACING_MM)
    shells = [(depth > edge) & (depth <= edge + SKULL_SPACING_MM) for edge in edges]
    levels = [float(np.median(scan.data[shell])) for shell in shells if shell.any()]
    return min(levels, default=np.inf) < MAX_SKULL_LEVEL * float(np.median(scan.data[inner]))
