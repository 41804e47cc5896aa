"""The rows of a fine-tuned encoder beside those of the other readouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.errors import ConfigurationError
from braing3n.probe.compare import OURS, score_reading
from braing3n.probe.contracts import READOUTS
from braing3n.probe.finetune.train import StartingPoint, predict_finetuned
from braing3n.probe.halves import Reading
from braing3n.probe.plan import Probe
from braing3n.probe.settings import FinetuneSettings, ProbeSettings
from braing3n.probe.tasks import PAPER_TASKS, Task

READOUT = "fine-tuned encoder"


def find_task(key: str) -> Task:
    """The paper's task of this key.

    Raises:
        ConfigurationError: there is no such task.
    """
    known = {task.key: task for task in PAPER_TASKS}
    if key not in known:
        raise ConfigurationError(f"probe.finetune.tasks: no task '{key}'; tasks: {', '.join(known)}.")
    return known[key]


def read_finetuned(
    probe: Probe,
    source: StartingPoint,
    settings: ProbeSettings,
    finetune: FinetuneSettings,
    runs_dir: Path,
    n_workers: int = 1,
) -> pd.DataFrame:
    """A row a metric of one task. Without intervals: halves would train a hundred more encoders."""
    reading = None
    if not probe.reason:
        predictions = predict_finetuned(probe, source, finetune, runs_dir, n_workers)
        reading = Reading(predictions, {"": np.empty((0, 2))}, True)
    base = {"encoder": OURS, "readout": READOUT, "slice": probe.slice, "people": probe.people}
    rows, _ = score_reading(probe, reading, settings)
    found = [{**base, "title": probe.task.title, **row, "note": probe.note} for row in rows]
    return pd.DataFrame(found, columns=list(READOUTS))
