"""Tables 2a and 7 as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.control.contrasts import AGES
from braing3n.core.runtime import write_atomically

BARS = {"agreement": "held-out people", "cond": "samples", "null": "null samples", "prior": "training people"}


def draw_control(scores: pd.DataFrame, scaled: pd.DataFrame, path: Path) -> None:
    """Shares read as requested, ages read of ages requested, and both over guidance scales.

    Of the reading of decoded samples. Bars of `null` and `prior` are of the class of most null samples.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (bars, ages, scales) = plt.subplots(
        1, 3, figsize=(13, 3.8), width_ratios=(2, 1, 1), layout="constrained"
    )
    own = scores[scores["reading"] == "encoder"]
    _draw_bars(bars, own[own["metric"] == "auc"])
    _draw_ages(ages, own[own["metric"] == "years"], own[own["metric"] == "r"])
    _draw_scales(scales, scaled[scaled["reading"] == "encoder"])
    with write_atomically(path) as beside:
        figure.savefig(beside, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw_bars(panel, rows: pd.DataFrame) -> None:
    places = np.arange(len(rows))
    for k, (name, title) in enumerate(BARS.items()):
        at, values = places + 0.2 * (k - 1.5), rows[name].to_numpy(dtype=float)
        ends = np.zeros((2, len(rows)))
        if name != "prior":
            low, high = (rows[f"{name}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
            ends = np.nan_to_num(np.stack([values - low, high - values])).clip(min=0)
        panel.bar(at, np.nan_to_num(values), 0.18, yerr=ends, label=title, error_kw={"lw": 0.7})
    names = [f"{row.task}{' (balanced)' * bool(row.weights)}" for row in rows.itertuples()]
    panel.set_xticks(places, names, rotation=30, ha="right", fontsize=7)
    panel.set(ylim=(0, 1.05), ylabel="share read as requested")
    panel.legend(fontsize=6, ncols=2)


def _draw_ages(panel, rows: pd.DataFrame, line: pd.DataFrame) -> None:
    panel.plot((20, 80), (20, 80), color="0.8", lw=1)
    for name, title in (("agreement", "held-out people"), ("cond", "samples")):
        panel.plot(AGES[: len(rows)], rows[name], "o-", ms=4, label=title)
    if len(line) and np.isfinite(line["null"].iloc[0]):
        panel.axhline(line["null"].iloc[0], color="C2", lw=1, label="null samples")
    panel.set(xlabel="requested age (years)", ylabel="age read (years)")
    panel.legend(fontsize=6)


def _draw_scales(panel, rows: pd.DataFrame) -> None:
    for (condition, task), part in rows.groupby(["condition", "task"], sort=False):
        if not task.endswith(" y") or task.startswith("30 /"):
            title = "age (r)" if condition == "age" else f"{condition}: {task}"
            panel.plot(part["guidance"], part["value"], "o-", ms=4, label=title)
    panel.set(xlabel="guidance scale", ylim=(-0.1, 1.05))
    panel.legend(fontsize=6)
