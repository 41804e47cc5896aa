"""Tissue and regional volumes of a folder's brains against those of real ones, where both lie in SRI24."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.apply.judges.folders import VolumeFolder
from braing3n.atlas.templates import centred_affine
from braing3n.core.errors import ResourceError
from braing3n.core.runtime import track
from braing3n.core.settings import ResourceSettings
from braing3n.fidelity.anatomy.compare import Asked, compare_asked
from braing3n.fidelity.anatomy.effects import SIZE
from braing3n.fidelity.anatomy.others import correlate, read_measured
from braing3n.fidelity.anatomy.segmented import TOOL, SegmentedVolumes, Segmenter, open_segmenter
from braing3n.fidelity.anatomy.watch import measure_nothing
from braing3n.fidelity.settings import FidelitySettings
from braing3n.volumes.pack import ATLAS_BRAIN_MM, ATLAS_SHAPE_MM

NEAR_MM = 15.0  # the middle of the brains to that of SRI24's


def measure_folders(
    generated: VolumeFolder, real: VolumeFolder, seed: int, tables: Mapping[str, Path]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hedges' g of each tissue or region, from one scan a person, and the table of segmented scans.

    If the brains do not lie in SRI24 or the templates are missing, rows have the reason.

    Args:
        tables: volumes that other tools measured, by tool; `item_id` is a file's path in its folder.

    Raises:
        ContractError: such a table is not of these folders.
    """
    ids = pd.DataFrame({"sample_id": generated.names}), pd.DataFrame({"volume_id": real.names})
    theirs = [read_measured(path, tool, *ids) for tool, path in tables.items()]
    reason = find_displacement(real)
    sets: dict[str, SegmentedVolumes] = {}
    if not reason:
        try:
            assert real.box is not None
            segmenter = open_segmenter(real.box.affine, real.box.shape, ResourceSettings())
            sets = {name: segment(one, segmenter) for name, one in (("generated", generated), ("real", real))}
        except ResourceError as error:
            reason = str(error)
    measured = measure_nothing(TOOL, len(generated), len(real))
    for name, one in sets.items():
        measured.ml[name][:] = np.where(one.is_reliable[:, None], one.ml, np.nan)
        measured.is_seen[name][:] = True
    rng = np.random.default_rng(seed)
    rows = {"generated": draw_people(generated, rng), "real": draw_people(real, rng)}
    rows["reconstructed"] = np.zeros(0, int)
    ages = {name: np.full(len(ml), np.nan) for name, ml in measured.ml.items()}
    asked = Asked("", SIZE, rows, ages)
    found = [
        pd.DataFrame(compare_asked(one, asked, "gen-vs-real", FidelitySettings(seed=seed), why)).assign(
            tool=one.tool, comparison="gen-vs-real", quantity=SIZE.quantity
        )
        for one, why in [(measured, reason), *((one, "") for one in theirs)]
    ]
    found += [correlate(measured, one, seed) for one in theirs]
    return pd.concat(found, ignore_index=True), _tabulate(sets, {"generated": generated, "real": real})


def find_displacement(real: VolumeFolder) -> str:
    """The reason if the real brains do not lie where SRI24's does, or ''."""
    assert real.mask is not None
    assert real.box is not None
    middle = real.box.affine[:3, :3] @ np.argwhere(real.mask).mean(axis=0) + real.box.affine[:3, 3]
    atlas = centred_affine(ATLAS_SHAPE_MM, 1.0) @ [*(sum(edges) / 2 for edges in ATLAS_BRAIN_MM), 1]
    gap_mm = float(np.linalg.norm(middle - atlas[:3]))
    return f"the brains lie {gap_mm:.0f} mm from where SRI24's does" if gap_mm > NEAR_MM else ""


def segment(one: VolumeFolder, segmenter: Segmenter) -> SegmentedVolumes:
    """Segment every volume in its own brain, or in the common mask if it has no background."""
    assert one.mask is not None
    found = SegmentedVolumes(segmenter, len(one), np.arange(len(one)), [None] * len(one))
    n_mean = float(segmenter.shrink_mask(one.mask).sum())
    for i in track(range(len(one)), f"{one.role}: anatomy", len(one)):
        volume, brain = one.read(i)
        brain = one.mask if brain.all() else brain
        inside = volume[brain]
        levels = np.where(brain, (volume - inside.mean()) / max(inside.std(), 1e-12), 0)
        found.measure(i, segmenter.shrink(levels), segmenter.shrink_mask(brain), n_mean)
    return found


def draw_people(one: VolumeFolder, rng: np.random.Generator) -> np.ndarray:
    """A row of each person, at random."""
    order = rng.permutation(len(one))
    return order[np.unique(one.people[order], return_index=True)[1]]


def _tabulate(sets: dict[str, SegmentedVolumes], folders: dict[str, VolumeFolder]) -> pd.DataFrame:
    tables = [one.tabulate(name, np.array(folders[name].names)) for name, one in sets.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"set": [], "item_id": []})
