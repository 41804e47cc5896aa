"""Every table of a run's encoders, from their readings and our features, and their other readouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n import encoders
from braing3n.core.contracts import Contract
from braing3n.probe.beside.checks import check_encoders
from braing3n.probe.beside.combat import read_harmonised
from braing3n.probe.beside.controls import run_controls
from braing3n.probe.beside.fairness import measure_fairness
from braing3n.probe.beside.readouts import read_otherwise
from braing3n.probe.beside.rivals import probe_rivals
from braing3n.probe.compare import Readings, compare_encoders
from braing3n.probe.contracts import CHECKS, CONTROLS, DIFFERENCES, FAIRNESS, RIVALS, SCORES
from braing3n.probe.plan import Probe, load_features, plan_probes, read_reason
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import span_features


def make_tables(
    readings: Readings, features: np.ndarray, labels: pd.DataFrame, settings: ProbeSettings
) -> list[tuple[Contract, pd.DataFrame]]:
    """Scores, differences, rivals, checks, subgroups and controls; features (n_volumes, F) are ours."""
    probes = plan_probes(labels, settings)
    scores, differences = compare_encoders(readings, probes, settings)
    return [
        (SCORES, scores),
        (DIFFERENCES, differences),
        (RIVALS, probe_rivals(labels, probes, settings)),
        (CHECKS, check_encoders(readings, features, labels, probes, settings)),
        (FAIRNESS, measure_fairness(readings, labels, probes, settings.seed)),
        (CONTROLS, run_controls(features, labels, settings)),
    ]


def read_encoders(
    names: Sequence[str],
    features_dir: Path,
    labels: pd.DataFrame,
    probes: list[Probe],
    settings: ProbeSettings,
) -> Iterator[pd.DataFrame]:
    """The readouts of features that `settings.readouts` names, a table an encoder and kind."""
    for name in names:
        path = features_dir / f"features_{name}.npz"
        if reason := read_reason(path):
            print(f"warning: no readouts of {name}: {reason}")
            continue
        has_pca, features = encoders.load(name).HAS_PCA, load_features(path, labels)
        features = span_features(features, settings.seed) if has_pca else features
        yield read_otherwise(name, features, probes, settings, has_pca)
        if "combat" in settings.readouts:
            yield read_harmonised(name, features, labels, probes, settings, has_pca)
