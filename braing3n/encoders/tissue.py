"""Volumes of tissues and regions, from a segmentation that needs no network (`braing3n/atlas`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from braing3n.core.runtime import track

if TYPE_CHECKING:
    from braing3n.training import Volumes

SECTIONS = ("volumes", "preprocess", "resources")  # where voxels lie, and the atlas
HAS_PCA = False
N_AT_ONCE = 8  # volumes that a killed job does again, at most: of 1 mm, 3 s each


def compute(volumes: Volumes, settings, sections: Mapping[str, Any], device, part_dir) -> np.ndarray:
    """Ml in SRI24 space, then shares of the brain, float32 (N, 26), in the order of `measure.VOLUMES`.

    Raises:
        ResourceError: the atlas is not there and cannot be fetched.
    """
    import torch

    from braing3n import training
    from braing3n.atlas.maps import lay_maps
    from braing3n.atlas.measure import VOLUMES, measure_brain
    from braing3n.core.resources import fetch
    from braing3n.volumes.pack import locate_grid

    grid = sections["volumes"]
    affine = locate_grid(grid, sections["preprocess"].spacing_mm)
    maps = lay_maps(fetch("brain-templates", sections["resources"]), grid.shape, affine)

    def measure(rest: list[np.ndarray]) -> Iterator[dict[str, torch.Tensor]]:
        for rows in track(rest, "latents: tissue", len(rest)):
            found = [measure_brain(*volumes.load(row), maps)[0] for row in rows.tolist()]
            yield {"ml": torch.from_numpy(np.stack(found))}

    batches = training.cut_batches(np.arange(len(volumes)), N_AT_ONCE)
    with training.grow_arrays(part_dir, {"ml": ((len(VOLUMES),), np.float64)}, batches, measure) as arrays:
        ml = np.load(arrays["ml"])
    return np.concatenate([ml, ml / ml[:, :3].sum(axis=1, keepdims=True)], axis=1).astype(np.float32)
