"""The readouts of our encoder's cached tokens that a run is configured with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.probe.beside.attentive import read_attentive
from braing3n.probe.beside.flattened import read_flattened
from braing3n.probe.plan import Probe
from braing3n.probe.settings import ProbeSettings

READERS = {"pca": read_flattened, "attentive": read_attentive}


def read_tokens(path: Path, probes: list[Probe], settings: ProbeSettings) -> list[pd.DataFrame]:
    """A table a readout of tokens (.npy, (n_volumes, T, C)), which stay on disk."""
    tokens = np.load(path, mmap_mode="r")
    return [read(tokens, probes, settings) for name, read in READERS.items() if name in settings.readouts]
