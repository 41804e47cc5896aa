"""Tissue and regional volumes of decoded and of real brains, by the segmentation of `braing3n/atlas`.

A volume is averaged to voxels of at least 2 mm, on which docs/tissue.md checks the segmentation. A real brain
has the mask that is stored with it. A decoded one has none: a rule finds its brain, which is fitted, one a
modality, to reconstructions of people whose masks are known (`volumes.decoded`). A segmentation is relied on
where its tissues are a deviation of the noise apart (`Segmentation.is_reliable`) and where the brain has half
the mean real brain's volume or more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braing3n.atlas.maps import Maps, lay_maps
from braing3n.atlas.measure import VOLUMES, measure_brain
from braing3n.core.resources import fetch
from braing3n.core.settings import ResourceSettings
from braing3n.fidelity.coarse import average_cubes
from braing3n.volumes.decoded import BrainRule, fit_brain_rule

TOOL = "braing3n"
LEAST_MM = 2.0
LEAST_BRAIN = 0.5  # of the mean real brain
N_RULE_PEOPLE = 8  # of a modality, to whose brains the rule is fitted; 16 give no better a mask
# The volumes of `measure_brain`, left and right added.
NAMES = tuple(dict.fromkeys(re.sub("_(left|right)$", "", name) for name in VOLUMES))
SIDES = np.array([[re.sub("_(left|right)$", "", v) == name for v in VOLUMES] for name in NAMES], float)
Load = Callable[[int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Segmenter:
    """The atlas on the voxels that are segmented.

    Attributes:
        factor: so many voxels of the models' box, along each edge, make one.
    """

    maps: Maps
    factor: int

    def shrink(self, volume: np.ndarray) -> np.ndarray:
        """A volume of the models' box on these voxels, float32."""
        return average_cubes(volume, self.factor)

    def shrink_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask on these voxels: where it holds half of one or more, bool."""
        return average_cubes(mask.astype(np.float32), self.factor) >= 0.5


def open_segmenter(affine: np.ndarray, shape: Sequence[int], resources: ResourceSettings) -> Segmenter:
    """The atlas on a box; affine: voxel to SRI24 mm (RAS), 4 x 4.

    Raises:
        ResourceError: the templates are not there and cannot be fetched.
    """
    factor = max(1, round(LEAST_MM / np.linalg.norm(affine[:3, :3], axis=0).min()))
    wide = affine.copy()
    wide[:3, 3] += affine[:3, :3] @ np.full(3, (factor - 1) / 2)
    wide[:3, :3] *= factor
    small = [-(-n // factor) for n in shape]
    return Segmenter(lay_maps(fetch("brain-templates", resources), small, wide), factor)


class SegmentedVolumes:
    """What is found in some rows of a table; a watcher of `encode_decoded`.

    Attributes:
        ml: float64 (n, 8), the volumes of `NAMES`; NaN where nothing was measured.
        separation: (n,), of the segmentation; 0 where no brain of finite numbers was found, NaN where none
            was looked for.
    """

    def __init__(self, segmenter: Segmenter, n_rows: int, wanted: np.ndarray, rules: list[BrainRule | None]):
        """rules: what finds the brain of a decoded volume, by row; None: it is not measured."""
        self._segmenter, self._wanted, self._rules = segmenter, set(wanted.tolist()), rules
        self.ml = np.full((n_rows, len(NAMES)), np.nan)
        self.separation = np.full(n_rows, np.nan)
        self.is_reliable = np.full(n_rows, False)

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        for row, volume in zip(rows.tolist(), volumes, strict=True):
            rule = self._rules[row]
            if row in self._wanted and rule is not None:
                small = self._segmenter.shrink(volume)
                self.measure(row, small, rule.find_brain(small), rule.prior.sum())

    def measure(self, row: int, small: np.ndarray, brain: np.ndarray, n_mean: float) -> None:
        """Segment a volume in its brain; n_mean: voxels of the mean real brain."""
        is_there = brain.any() and brain.sum() >= LEAST_BRAIN * n_mean
        if not is_there or not np.isfinite(small[brain]).all():
            self.separation[row] = 0.0
            return
        ml, found = measure_brain(small, brain, self._segmenter.maps)
        self.ml[row], self.separation[row] = SIDES @ ml, found.mixture.separation
        self.is_reliable[row] = found.is_reliable

    def tabulate(self, name: str, ids: np.ndarray) -> pd.DataFrame:
        """A row a volume that was looked at; name: of the set."""
        seen = np.flatnonzero(np.isfinite(self.separation))
        table = pd.DataFrame(self.ml[seen], columns=list(NAMES))
        table.insert(0, "is_reliable", self.is_reliable[seen])
        table.insert(0, "separation", self.separation[seen])
        table.insert(0, "item_id", ids[seen])
        table.insert(0, "set", name)
        return table


class KeptVolumes:
    """Volumes on the segmenter's voxels by row; a watcher of `encode_decoded`."""

    def __init__(self, segmenter: Segmenter):
        self._segmenter = segmenter
        self.volumes: dict[int, np.ndarray] = {}

    def __call__(self, rows: np.ndarray, volumes: np.ndarray) -> None:
        self.volumes |= {
            row: self._segmenter.shrink(v) for row, v in zip(rows.tolist(), volumes, strict=True)
        }


def choose_rule_rows(labels: pd.DataFrame, modality: str, measured: np.ndarray, seed: int) -> np.ndarray:
    """Rows of the volumes that a modality's rule is fitted to: one a person, of whom no arm measures first.

    measured: the rows that are measured afterwards.
    """
    rows = np.flatnonzero(labels["modality"] == modality)
    is_measured = labels["group_id"].isin(labels["group_id"].to_numpy()[measured]).to_numpy()[rows]
    order = rows[np.lexsort((np.random.default_rng(seed).permutation(len(rows)), is_measured))]
    _, first = np.unique(labels["person_id"].to_numpy(str)[order], return_index=True)
    return order[np.sort(first)][:N_RULE_PEOPLE]


def fit_rules(
    segmenter: Segmenter, rows: dict[str, np.ndarray], decoded: dict[int, np.ndarray], load: Load, seed: int
) -> dict[str, BrainRule]:
    """By modality what finds the brain of a decoded volume; a modality of one person has none.

    Args:
        rows: by modality, of the label table.
        decoded: their reconstructions on the segmenter's voxels.
        load: gives a real volume by row, and its mask.
    """
    return {
        modality: fit_brain_rule(
            [(decoded[row], segmenter.shrink_mask(load(row)[1])) for row in part.tolist()], seed
        )
        for modality, part in rows.items()
        if len(part) > 1
    }


def segment_real(
    segmenter: Segmenter, load: Load, n_rows: int, wanted: np.ndarray, rules: list[BrainRule | None]
) -> SegmentedVolumes:
    """The real volumes of some rows, in the masks that are stored with them."""
    from braing3n.core.runtime import track

    found = SegmentedVolumes(segmenter, n_rows, wanted, rules)
    for row in track(wanted.tolist(), "anatomy: real volumes", len(wanted)):
        rule = rules[row]
        if rule is not None:
            volume, mask = load(row)
            found.measure(row, segmenter.shrink(volume), segmenter.shrink_mask(mask), rule.prior.sum())
    return found
