"""Our encoder's flattened latent, read through a PCA that is fitted in the fold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.core.runtime import track
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import MOST_COMPONENTS, span_leading


def read_flattened(tokens: np.ndarray, probes: list[Probe], settings: ProbeSettings) -> pd.DataFrame:
    """A row a task and metric of cached tokens (n_volumes, T, C), which may be a memory map."""
    rows = []
    leading = span_leading(tokens.reshape(len(tokens), -1), MOST_COMPONENTS, settings.seed)
    name = f"{settings.n_pca_components} components of the flattened latent"
    for probe in track(probes, "readouts: flattened latent"):
        base = {"encoder": "mae", "slice": probe.slice, "people": probe.people, "title": probe.task.title}
        found, _ = score_reading(probe, read_probe(leading, probe, settings, has_pca=True), settings)
        rows += [{**base, **row, "readout": name} for row in found]
    return pd.DataFrame(rows)
