"""Coarse voxels of the z-scored crop, without a network."""

from __future__ import annotations

import numpy as np

from braing3n.encoders import describe_volumes

SECTIONS = ()
HAS_PCA = True
MOST_VOXELS = 10_000  # numbers a volume; at 35,309 volumes this is 1.4 GB


def compute(volumes, settings, sections, device, part_dir) -> np.ndarray:
    """Averages over small cubes, float32 (N, at most 10,000)."""
    return describe_volumes("voxels", volumes, average_voxels, part_dir)


def average_voxels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The z-scored crop (D, H, W) as at most 10,000 numbers (F,): see `coarsen`."""
    del mask  # the image is 0 outside it
    return coarsen(image).ravel()


def coarsen(image: np.ndarray) -> np.ndarray:
    """A volume (D, H, W) averaged over the smallest cubes (2, 4, 8 ...) that leave at most 10,000 numbers.

    Axes that the cube does not divide are padded with background.
    """
    edge = 2
    while np.prod([-(-n // edge) for n in image.shape]) > MOST_VOXELS:
        edge *= 2
    padded = np.pad(image, [(0, -n % edge) for n in image.shape])
    d, h, w = (n // edge for n in padded.shape)
    return padded.reshape(d, edge, h, edge, w, edge).mean(axis=(1, 3, 5), dtype=np.float32)
