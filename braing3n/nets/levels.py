"""Z-scores as 16-bit levels, 512 a deviation; level 0 is outside the brain, so the mask is in them too."""

from __future__ import annotations

import json

import numpy as np

# A power of two, so that decoding is exact; more levels would be noise, which does not compress.
LEVELS_A_DEVIATION = 512
MAX_LEVEL = 2**15 - 1  # 64 deviations


def quantise(z: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, str]:
    """Levels int16 (D, H, W) of a brain, each within 1/1024 of its z-score, and its far voxels as JSON.

    Level 0 is taken, so levels from the mean downwards stand one lower. Voxels beyond 64 deviations (of any
    brain at most one in 4096, by Chebyshev's inequality; mostly none) are stored apart with their z-scores.

    Args:
        z: float64 (N,), z-scores of the N voxels in the mask, in C order.
        mask: bool (D, H, W).
    """
    nearest = np.rint(z * LEVELS_A_DEVIATION)
    is_far = np.abs(nearest) > MAX_LEVEL
    nearest = np.clip(nearest, -MAX_LEVEL, MAX_LEVEL)
    levels = np.zeros(mask.shape, np.int16)
    levels[mask] = nearest - (nearest <= 0)
    if not is_far.any():
        return levels, ""
    return levels, json.dumps({"index": np.flatnonzero(mask)[is_far].tolist(), "z": z[is_far].tolist()})


def dequantise(levels: np.ndarray, far_voxels: str) -> tuple[np.ndarray, np.ndarray]:
    """A quantised brain's z-scores float32 (D, H, W), 0 outside it, and its mask bool (D, H, W)."""
    image, mask = np.empty(levels.shape, np.float32), levels != 0
    for plane, out in zip(levels, image, strict=True):  # by planes, which stay in the processor's cache
        out[...] = plane - (plane >> 15)  # the shift gives -1 below 0: one higher again
        out *= np.float32(1 / LEVELS_A_DEVIATION)
    index, z = read_far_voxels(far_voxels)
    image.flat[index] = z
    return image, mask


def read_far_voxels(far_voxels: str) -> tuple[np.ndarray, np.ndarray]:
    """The flat indices int64 (n,) of a brain's far voxels, and their z-scores float32 (n,)."""
    described = json.loads(far_voxels) if far_voxels else {"index": [], "z": []}
    return np.array(described["index"], np.int64), np.array(described["z"], np.float32)
