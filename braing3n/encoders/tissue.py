"""Volumes of tissues and regions, from a segmentation that needs no network (`braing3n/atlas`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from braing3n.core.runtime import track

if TYPE_CHECKING:
    from braing3n.training import Volumes

SECTIONS = ("volumes", "preprocess", "resources")  # where voxels lie, and the atlas
HAS_PCA = False


def compute(
    volumes: Volumes, settings, pretrain, device, part_dir, *, sections: Mapping[str, Any]
) -> np.ndarray:
    """Ml in SRI24 space, then shares of the brain, float32 (N, 26), in the order of `measure.VOLUMES`.

    Raises:
        ResourceError: the atlas is not there and cannot be fetched.
    """
    from braing3n.atlas.maps import lay_maps
    from braing3n.atlas.measure import measure_brain
    from braing3n.core.resources import fetch
    from braing3n.volumes.pack import locate_grid

    grid = sections["volumes"]
    affine = locate_grid(grid, sections["preprocess"].spacing_mm)
    maps = lay_maps(fetch("brain-templates", sections["resources"]), grid.shape, affine)
    rows = track(range(len(volumes)), "latents: tissue", len(volumes))
    ml = np.stack([measure_brain(*volumes.load(i), maps)[0] for i in rows])
    return np.concatenate([ml, ml / ml[:, :3].sum(axis=1, keepdims=True)], axis=1).astype(np.float32)
