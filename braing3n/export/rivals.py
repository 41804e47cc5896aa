"""What stands beside our probes on the model card: the same probe of simpler features, of the same people."""

from __future__ import annotations

from typing import Any

import pandas as pd

from braing3n.export.probes import METRIC
from braing3n.probe.tasks import PAPER_TASKS

# Of the table of scores, and of the table of rivals.
ENCODERS = {"mae": "ours", "untrained": "untrained", "voxels": "voxels", "histogram": "histogram"}
DEMOGRAPHICS = {"demographics": "age and sex"}


def compare_rivals(scores: pd.DataFrame, rivals: pd.DataFrame, tasks: list[str]) -> list[dict[str, Any]]:
    """Of each task title, metric and cells: value, low and high, or why there are none.

    All are read out of fold, on all volumes of everyone: rivals are not probed on unseen people alone.
    """
    found = pd.concat(
        [
            scores[scores["encoder"].isin(ENCODERS)].assign(name=scores["encoder"].map(ENCODERS)),
            rivals[rivals["rival"].isin(DEMOGRAPHICS)].assign(name=rivals["rival"].map(DEMOGRAPHICS)),
        ]
    )
    found = found[(found["slice"] == "all") & (found["people"] == "everyone")]
    cells = {(row["task"], row["metric"], row["name"]): _describe(row) for row in found.to_dict("records")}
    names = [*ENCODERS.values(), *DEMOGRAPHICS.values()]
    none = {"value": None, "low": None, "high": None, "reason": "not in this run"}
    return [
        {
            "title": task.title,
            "metric": METRIC[task.kind],
            "cells": {name: cells.get((task.key, METRIC[task.kind], name), none) for name in names},
        }
        for task in PAPER_TASKS
        if task.key in tasks
    ]


def _describe(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: None if pd.isna(row[name]) else float(row[name]) for name in ("value", "low", "high")}
    return {**numbers, "reason": row["reason"] or "undefined"}
