"""The bars of Appendix F: each encoder's best slice on the paper's 23 tasks, all volumes as a dot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.paper.card.figures import COLOURS, list_rows, open_figure, save_figure, say
from braing3n.paper.printed.head_to_head import OURS, TITLES, read_both
from braing3n.paper.results import Results, explain_missing
from braing3n.probe.tasks import PAPER_TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from braing3n.paper.printed.head_to_head import Scores

NAME = "appendix_f.png"


def write_bars(results: Results, out_dir: Path) -> Path:
    """Write the picture."""
    path = Path(out_dir) / NAME
    save_figure(draw_bars(results), path)
    return path


def draw_bars(results: Results) -> Figure:
    """Tasks with classes to the left (AUC from 0.5), numbers to the right (R2 from 0)."""
    scores = read_both(results)
    if scores is None:
        return say(explain_missing("scores"))
    encoders = scores.list_scored()
    if not encoders:
        return say("n/a: no encoder has a score on any task")
    figure = open_figure(11, 1.5 + 0.09 * 15 * max(2, len(encoders)))
    for axes, kind, metric in zip(
        figure.subplots(1, 2), ("classification", "regression"), ("auc", "r2"), strict=True
    ):
        _draw_panel(axes, scores, encoders, kind, metric)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, fontsize=8)
    return figure


def _draw_panel(axes: Axes, scores: Scores, encoders: list[str], kind: str, metric: str) -> None:
    """One panel; a bar is missing where there is no score, and ends at the axis where it is below chance."""
    tasks = [task for task in PAPER_TASKS if task.kind == kind]
    chance = 0.5 if metric == "auc" else 0.0
    height = 0.8 / len(encoders)
    for k, encoder in enumerate(encoders):
        at = [row + (k - (len(encoders) - 1) / 2) * height for row in range(len(tasks))]
        best = [scores.find_best(encoder, task.key, task.slices, metric) for task in tasks]
        fixed = [scores.find(encoder, task.key, "all", metric) for task in tasks]
        width = [max(0.0, row["fold_mean"] - chance) if row else 0.0 for row in best]
        colour = COLOURS[k % len(COLOURS)]
        name = f"{TITLES[OURS]} ({OURS})" if encoder == OURS else TITLES.get(encoder, encoder)
        hatch = "///" if k >= len(COLOURS) else None
        axes.barh(at, width, height, left=chance, color=colour, label=name, hatch=hatch)
        dots = [(row["fold_mean"], y) for row, y in zip(fixed, at, strict=True) if row]
        axes.plot([x for x, _ in dots], [y for _, y in dots], "o", color="black", markersize=2.5)
    for row, task in enumerate(tasks):
        if not any(scores.find_best(encoder, task.key, task.slices, metric) for encoder in encoders):
            axes.text(chance + 0.005, row, "n/a", va="center", fontsize=8, color="0.5")
    list_rows(axes, [task.title.split(" (")[0] for task in tasks])
    axes.set(xlim=(chance, 1), xlabel="AUC" if metric == "auc" else "R2")
    axes.tick_params(labelsize=8)
