"""The anatomy of a run's samples, reconstructions and real people, as `fidelity measure` decodes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.settings import ResourceSettings, parse_section
from braing3n.fidelity.anatomy.compare import Measured, compare_anatomy, list_segmented
from braing3n.fidelity.anatomy.others import correlate, read_measured
from braing3n.fidelity.anatomy.segmented import (
    NAMES,
    TOOL,
    KeptVolumes,
    Load,
    SegmentedVolumes,
    Segmenter,
    choose_rule_rows,
    fit_rules,
    open_segmenter,
    segment_real,
)
from braing3n.fidelity.contracts import SEGMENTED, SETS
from braing3n.fidelity.encode import Watcher
from braing3n.fidelity.settings import FidelitySettings
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.volumes.pack import locate_grid
from braing3n.volumes.settings import VolumesSettings

Decode = Callable[[np.ndarray, Watcher], object]


def open_atlas(settings_dir: Path) -> Segmenter:
    """The atlas on a run's voxels; settings_dir: its settings files.

    Raises:
        ResourceError: the templates are not there and cannot be fetched.
    """
    grid = parse_section(VolumesSettings, settings_dir / "volumes.json")
    preprocess = parse_section(PreprocessSettings, settings_dir / "preprocess.json")
    resources = parse_section(ResourceSettings, settings_dir / "resources.json")
    return open_segmenter(locate_grid(grid, preprocess.spacing_mm), grid.shape, resources)


class Anatomy:
    """What is found in each set.

    Attributes:
        sets: by set; those of samples and reconstructions are watchers of their decoding.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        load: Load,
        decode: Decode,
        samples: pd.DataFrame,
        labels: pd.DataFrame,
        settings: FidelitySettings,
    ):
        """Fit what finds the brain of decoded volumes, and segment the real ones.

        Args:
            load: gives a real volume by row of `labels`, z-scored, and its mask.
            decode: decodes reconstructions by row of `labels`, batch by batch, for a watcher.
        """
        self._samples, self._labels = samples, labels
        wanted = list_segmented(samples, labels, settings)
        rows = {
            modality: choose_rule_rows(labels, modality, wanted, settings.seed)
            for modality in sorted(set(samples["modality"]))
        }
        kept = KeptVolumes(segmenter)
        decode(np.unique(np.concatenate([np.zeros(0, int), *rows.values()])), kept)
        rules = fit_rules(segmenter, rows, kept.volumes, load, settings.seed)
        by_label = [rules.get(modality) for modality in labels["modality"]]
        by_sample = [rules.get(modality) for modality in samples["modality"]]
        self.sets = {
            "generated": SegmentedVolumes(segmenter, len(samples), np.arange(len(samples)), by_sample),
            "reconstructed": SegmentedVolumes(segmenter, len(labels), wanted, by_label),
            "real": segment_real(segmenter, load, len(labels), wanted, by_label),
        }

    @property
    def measured(self) -> Measured:
        """The volumes of reliable segmentations."""
        ml = {name: np.where(one.is_reliable[:, None], one.ml, np.nan) for name, one in self.sets.items()}
        is_seen = {name: np.isfinite(one.separation) for name, one in self.sets.items()}
        return Measured(TOOL, NAMES, ml, is_seen)

    def tabulate(self) -> pd.DataFrame:
        """A row a volume that was looked at, reliable or not (`SEGMENTED`)."""
        ids = dict.fromkeys(("reconstructed", "real"), self._labels["volume_id"].to_numpy(str))
        ids["generated"] = self._samples["sample_id"].to_numpy(str)
        return pd.concat([self.sets[name].tabulate(name, ids[name]) for name in SETS], ignore_index=True)


def compare_tools(
    anatomy: Anatomy | None,
    samples: pd.DataFrame,
    labels: pd.DataFrame,
    settings: FidelitySettings,
    why_not: str = "",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `ANATOMY` and `SEGMENTED`: our segmentation's, and each tool's that the settings name.

    Args:
        anatomy: None where it was not measured, for the reason `why_not`.

    Raises:
        ContractError: a tool's table is there and is not of this run.
    """
    nothing = measure_nothing(TOOL, len(samples), len(labels))
    ours = anatomy.measured if anatomy else nothing
    tables = [compare_anatomy(ours, samples, labels, settings, why_not)]
    for tool, path in settings.measured.items():
        if not Path(path).is_file():
            reason = f"fidelity.measured: {path} does not exist"
            tables.append(compare_anatomy(replace(nothing, tool=tool), samples, labels, settings, reason))
            continue
        theirs = read_measured(Path(path), tool, samples, labels)
        tables += [compare_anatomy(theirs, samples, labels, settings), correlate(ours, theirs, settings.seed)]
    segmented = anatomy.tabulate() if anatomy else pd.DataFrame(columns=list(SEGMENTED))
    return pd.concat([table for table in tables if len(table)], ignore_index=True), segmented


def measure_nothing(tool: str, n_samples: int, n_labels: int) -> Measured:
    """No volume of any set."""
    sizes = {name: n_samples if name == "generated" else n_labels for name in SETS}
    ml = {name: np.full((n, len(NAMES)), np.nan) for name, n in sizes.items()}
    return Measured(tool, NAMES, ml, {name: np.full(n, False) for name, n in sizes.items()})
