"""Every table of a run's encoders, from their readings and our features."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.contracts import Contract
from braing3n.probe.beside.checks import check_encoders
from braing3n.probe.beside.controls import run_controls
from braing3n.probe.beside.fairness import measure_fairness
from braing3n.probe.beside.rivals import probe_rivals
from braing3n.probe.compare import Readings, compare_encoders
from braing3n.probe.contracts import CHECKS, CONTROLS, DIFFERENCES, FAIRNESS, RIVALS, SCORES
from braing3n.probe.plan import plan_probes
from braing3n.probe.settings import ProbeSettings


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
