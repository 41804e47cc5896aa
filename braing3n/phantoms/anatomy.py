"""The phantoms' real anatomy: the ICBM152 brain's tissue fractions inside a mean T1 head.

All positions are MNI millimetres (RAS), the frame of the ICBM152 templates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from braing3n.atlas.templates import (
    ORIGIN_MM,
    SHAPE,
    SPACING_MM,
    interpolate,
    load_brain_template,
    read_template,
    to_grid,
)

HEAD_MEMBER = "pydeface/data/mean_reg2mean.nii.gz"

# Fitted once by an affine registration of the two brains (their overlap is a Dice of 0.97).
HEAD_TO_MNI = np.array(
    [
        [1.1181, -0.0895, -0.0239, 6.0621],
        [0.0934, 1.0604, 0.1649, -18.0931],
        [0.0034, -0.1331, 1.1552, 4.1591],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

HEAD_WHITE = 340.0  # the mean head's intensity in white matter
T1_OF_TISSUE = {"gm": 0.73, "wm": 1.0, "csf": 0.30}


MAPS = ("gm", "wm", "csf", "detail", "head")


@dataclass(frozen=True)
class Anatomy:
    """Maps on one grid in MNI space: `maps` is (5, 145, 187, 187) float32 in the order of `MAPS`.

    `gm`, `wm` and `csf` are fractions that sum to the brain mask's softness; `detail` is what the T1
    template shows beyond its tissue fractions; `head` is the T1 of all that is not brain, in units of
    white matter.
    """

    maps: np.ndarray

    def __getattr__(self, name: str) -> np.ndarray:
        if name in MAPS:
            return self.maps[MAPS.index(name)]
        raise AttributeError(name)

    def sample(self, positions_mm: np.ndarray) -> dict[str, np.ndarray]:
        """Every map at positions (3, X, Y, Z) in MNI mm; 0 outside the grid."""
        return dict(zip(MAPS, interpolate(self.maps, positions_mm, SPACING_MM, "zeros"), strict=True))

    def blur(self, sigma_mm: float) -> Anatomy:
        """The same anatomy, smoothed by a Gaussian."""
        return Anatomy(np.stack([ndimage.gaussian_filter(part, sigma_mm / SPACING_MM) for part in self.maps]))


@lru_cache(maxsize=1)
def load_anatomy(brain_templates_wheel: Path, head_template_wheel: Path) -> Anatomy:
    """Read the templates out of their wheels and put the brain into the head.

    Raises:
        ResourceError: a wheel cannot be read or lacks a template.
    """
    icbm = load_brain_template(brain_templates_wheel)
    values, affine = read_template(head_template_wheel, HEAD_MEMBER)
    head = np.clip(to_grid(values, HEAD_TO_MNI @ affine), 0, None) / HEAD_WHITE
    expected = icbm.gm * T1_OF_TISSUE["gm"] + icbm.wm * T1_OF_TISSUE["wm"] + icbm.csf * T1_OF_TISSUE["csf"]
    inside = ndimage.binary_erosion(icbm.brain, iterations=2)
    detail = np.where(inside, np.clip(icbm.t1 - expected, -0.25, 0.25), 0)
    around = _clear_around_brain(head, icbm.brain)
    return Anatomy(np.stack([icbm.gm, icbm.wm, icbm.csf, detail, around]).astype(np.float32))


def _clear_around_brain(head: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The head without the rest of its own brain: dark from the brain's surface to the skull.

    Below the brain stem nothing is cleared, so that the spinal cord goes on.
    """
    distance_mm = ndimage.distance_transform_edt(~brain) * SPACING_MM
    height_mm = ORIGIN_MM[2] + SPACING_MM * np.arange(SHAPE[2])
    bottom_mm = height_mm[brain.any(axis=(0, 1))].min()
    clear = np.clip(1.5 - distance_mm / 4, 0, 1) * np.clip((height_mm - bottom_mm - 6) / 12, 0, 1)
    return head * (1 - clear) + np.minimum(head, 0.22) * clear
