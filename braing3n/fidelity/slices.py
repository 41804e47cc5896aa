"""What 2-D features see: one mask and one window of intensities for all sets, and central slices."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

WINDOW_Z = (-4.0, 4.0)  # black to white; what lies outside the mask is black
N_CENTRAL = 10  # slices a view
BRAIN_SHARE = 0.5  # of the real people whose brain a voxel of the mask lies in


def find_common_mask(masks: Iterable[np.ndarray]) -> np.ndarray:
    """The one mask for all sets, bool (D, H, W): where the brain lies in half of the real masks or more.

    A decoded volume has no background of 0, so a mask of its own would say which set it belongs to.
    """
    total, n = None, 0
    for mask in masks:
        total = mask.astype(np.int32) if total is None else total + mask
        n += 1
    if total is None:
        raise ValueError("a common mask needs a mask")
    return total >= BRAIN_SHARE * n


def apply_window(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Levels float32 (D, H, W) from 0 to 1 of a volume in z units; 0 outside the mask."""
    low, high = WINDOW_Z
    return np.where(mask, (np.clip(volume, low, high) - low) / (high - low), 0).astype(np.float32)


def cut_slices(levels: np.ndarray, n_central: int = N_CENTRAL) -> list[np.ndarray]:
    """The n_central middle slices of each of three views, uint8 images of (rows, columns); 30 of 10.

    An axis with fewer slices gives all.
    """
    grey = np.round(levels * 255).astype(np.uint8)
    found: list[np.ndarray] = []
    for axis, n in enumerate(grey.shape):
        first = max(0, (n - n_central) // 2)
        for k in range(first, min(n, first + n_central)):
            found.append(np.moveaxis(grey, axis, 0)[k])
    return found
