"""Scans one by one as a model sees them; one that cannot be used is left out with a warning."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from braing3n.apply.trained.conditions import warn_of_scan
from braing3n.apply.trained.scans import Prepared, check_grid, check_mask
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import track
from braing3n.volumes.pack import load_volume, locate_grid

if TYPE_CHECKING:
    from braing3n.export.pretrained import Pretrained


@dataclass
class Seen:
    """A scan as the model sees it: its volume (1, 1, D, H, W), tokens (1, T, d) and mean features (F,).

    affine: voxel of the volume -> RAS mm of SRI24.
    """

    scan: Prepared
    affine: np.ndarray
    volume: Tensor
    encoded: Tensor
    features: np.ndarray
    percentile: float


@torch.no_grad()
def look(
    model: Pretrained,
    scans: Sequence[Prepared],
    command: str,
    warnings: list[str],
    used: list[Prepared],
    is_tracked: bool = True,
) -> Iterator[Seen]:
    """Encode scans one by one; warn if a scan is unlike the training volumes, or cannot be used.

    Args:
        used: takes the scans that are.
        is_tracked: show the progress over the scans.

    Raises:
        BrainG3nError: none of them can be used.
    """
    for scan in track(scans, f"{command}: scans", len(scans)) if is_tracked else scans:
        try:
            spacing_mm = check_grid(scan.path, model.volumes.spacing_mm)
            if scan.mask_path is not None:
                check_mask(scan.mask_path, scan.path)
            image, lost = load_volume(scan.path, scan.mask_path, model.volumes)
        except (BrainG3nError, OSError, EOFError, ValueError, zlib.error) as error:
            reason = str(error).removesuffix(".")
            paths = [str(path) for path in (scan.path, scan.mask_path) if path is not None]
            where = "" if any(path in reason for path in paths) else f"{scan.path}: "
            warnings.append(f"{scan.label}: is left out, for it cannot be used ({where}{reason})")
            continue
        volume = torch.from_numpy(image)[None, None].to(model.device)
        encoded = model.encoder.encode(volume).float()
        features = encoded.mean(dim=1)[0].cpu().numpy()
        if not np.isfinite(features).all():
            warnings.append(f"{scan.label}: is left out, for its features are not finite")
            continue
        percentile = float(model.measure_distance(features[None])[0])
        for text in warn_of_scan(scan.modality, percentile, lost, model.population):
            warnings.append(f"{scan.label}: {text}")
        used.append(scan)
        yield Seen(scan, locate_grid(model.volumes, spacing_mm), volume, encoded, features, percentile)
    if not used:
        raise BrainG3nError(f"{command}: no scan can be used; {'; '.join(warnings)}.")
