"""Probes of the sweep over d: every arm's tokens in two readings, and the untrained encoder's mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.errors import ConfigurationError, ContractError
from braing3n.core.runtime import track
from braing3n.probe.compare import score_reading
from braing3n.probe.halves import read_probe
from braing3n.probe.plan import load_features, plan_probe
from braing3n.probe.settings import ProbeSettings
from braing3n.probe.solve.span import span_rows
from braing3n.probe.tasks import Task, list_tasks
from braing3n.sweep.settings import SweepProbeSettings

READINGS = ("mean", "flattened")
UNTRAINED = "untrained"


def probe_sweep(
    latents: dict[str, Path],
    untrained: Path,
    labels: pd.DataFrame,
    sweep: SweepProbeSettings,
    probe: ProbeSettings,
) -> pd.DataFrame:
    """Scores of each arm, reading and task, all on the same people and folds.

    Args:
        latents: arm -> its latents (.npy), float16 (N, tokens, channels) or (N, channels, D, H, W).
        untrained: the untrained encoder's features (.npz).
        labels: the label table's N rows of these volumes, in their order.
        sweep: the tasks, and the components of the flattened reading.
        probe: folds, intervals and models, as of the other probes.

    Raises:
        ConfigurationError: there is no such task.
        ContractError: an arm's rows are not as many as the volumes, or of another shape.
    """
    plans = [plan_probe(task, "all", labels, probe) for task in find_tasks(sweep.tasks, labels)]
    reduced = probe.model_copy(update={"n_pca_components": sweep.n_pca_components})
    rows = []
    readings = _read_all(latents, load_features(untrained, labels), len(labels))
    n_readings = len(latents) * len(READINGS) + 1
    for arm, reading, n_features, features in track(readings, "probing the sweep", n_readings):
        for plan in plans:
            found = read_probe(features, plan, reduced, has_pca=reading == "flattened")
            base = {"arm": arm, "reading": reading, "n_features": n_features, "title": plan.task.title}
            rows += [{**base, **row} for row in score_reading(plan, found, probe)[0]]
    return pd.DataFrame(rows)


def find_tasks(keys: tuple[str, ...], labels: pd.DataFrame) -> list[Task]:
    """The tasks of these keys.

    Raises:
        ConfigurationError: there is no such task.
    """
    known = {task.key: task for task in list_tasks(labels)}
    for key in keys:
        if key not in known:
            raise ConfigurationError(f"sweep.probe.tasks: no task '{key}'; tasks: {', '.join(known)}.")
    return [known[key] for key in keys]


def _read_all(
    latents: dict[str, Path], untrained: np.ndarray, n_volumes: int
) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Arm, reading, how many numbers a volume it reads, and features float64 (N, F), one after another."""
    for arm, path in latents.items():
        array = np.load(path, mmap_mode="r")
        if len(array) != n_volumes or array.ndim not in (3, 5):
            raise ContractError(
                f"{path}: has the shape {array.shape}; the sweep has {n_volumes} volumes, each of tokens x "
                "channels or of channels x grid; delete it and run again."
            )
        pooled = average_tokens(array)
        yield arm, "mean", pooled.shape[1], pooled
        flat = array.reshape(n_volumes, -1)
        yield arm, "flattened", flat.shape[1], span_rows(flat)
    yield UNTRAINED, "mean", untrained.shape[1], untrained


def average_tokens(latents: np.ndarray) -> np.ndarray:
    """(N, channels): the mean over tokens of (N, tokens, channels), over the grid of (N, channels, D, H, W).

    A volume at a time, since all of them may be more than memory holds.
    """
    axes = (0,) if latents.ndim == 3 else (1, 2, 3)
    return np.stack([np.asarray(item, dtype=np.float64).mean(axis=axes) for item in latents])
