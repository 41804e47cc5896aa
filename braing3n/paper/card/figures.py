"""The card's pictures: volumes, exclusions, ages, coverage, and who is in each diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from braing3n.core.contracts import MODALITIES
from braing3n.core.runtime import write_atomically
from braing3n.paper.card.bias import spread_people
from braing3n.paper.card.coverage import FIELDS, UNKNOWN, list_classes, list_people, measure_coverage
from braing3n.paper.results import Results, explain_missing
from braing3n.probe.beside.fairness import AGE_BANDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
# Distinguished by the colour-blind (Okabe and Ito).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999999")
FLOW_COLOURS = {
    "kept": "#009e73",
    "left out by ingest": "#e69f00",
    "left out by preprocess": "#d55e00",
    "left out by manifest": "#cc79a7",
}
FEMALE, MALE = "#cc79a7", "#0072b2"
MIN_BOX_PEOPLE = 8


def draw_figures(results: Results, out_dir: Path) -> dict[str, Path]:
    """Write every figure as PNG, without a display; what cannot be drawn is a sentence in its place.

    Returns:
        Name to path.
    """
    paths = {name: Path(out_dir) / f"{name}.png" for name in FIGURES}
    for name, path in paths.items():
        save_figure(FIGURES[name](results), path)
    return paths


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; without the library's version, equal content gives equal bytes."""
    with write_atomically(path) as beside:
        figure.savefig(beside, format="png", dpi=DPI, metadata={"Software": None})


def open_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def say(sentence: str) -> Figure:
    """A picture that only says why there is none."""
    figure = open_figure(8, 0.8)
    figure.text(0.01, 0.5, sentence, va="center", fontsize=10, color="0.35")
    return figure


def list_rows(axes: Axes, names: list[str]) -> None:
    """One name a row, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_volumes(results: Results) -> Figure:
    """Volumes of each cohort by modality."""
    labels = results.read("labels")
    if labels is None:
        return say(explain_missing("labels"))
    counts = pd.crosstab(labels["cohort"], labels["modality"]).reindex(columns=MODALITIES, fill_value=0)
    people = labels.groupby("cohort")["person_id"].nunique()
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    figure = open_figure(8.5, 1.3 + 0.32 * len(order))
    axes = figure.subplots()
    left = np.zeros(len(order))
    for name, colour in zip(MODALITIES, COLOURS, strict=False):
        axes.barh(range(len(order)), counts.loc[order, name], left=left, color=colour, label=name)
        left += counts.loc[order, name].to_numpy()
    for row, key in enumerate(order):
        axes.text(left[row], row, f"  {int(left[row]):,} ({people[key]:,} people)", va="center", fontsize=8)
    list_rows(axes, list(order))
    axes.set(xlabel="volumes", xlim=(0, 1.25 * left.max()))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def draw_flow(results: Results) -> Figure:
    """What became of each cohort's scans: kept, or left out by ingest, preprocess or manifest."""
    flow = results.read_flow()
    if flow is None:
        return say(explain_missing("flow"))
    whole = flow[flow["reason"] == ""]
    lost = whole.pivot_table(index="cohort", columns="stage", values="excluded", aggfunc="sum", fill_value=0)
    stages = [name for name in dict.fromkeys(whole["stage"]) if name in lost]
    received = whole.groupby("cohort", sort=True)["received"].first()
    parts = {f"left out by {name}": lost[name].reindex(received.index, fill_value=0) for name in stages}
    parts = {"kept": received - sum(parts.values())} | parts
    shares = {name: 100 * (part / received.clip(lower=1)) for name, part in parts.items()}
    figure = open_figure(8.5, 1.3 + 0.32 * len(received))
    axes = figure.subplots()
    left = np.zeros(len(received))
    for name, share in shares.items():
        colour = FLOW_COLOURS.get(name, COLOURS[-1])
        axes.barh(range(len(received)), share, left=left, color=colour, label=name)
        left += share.to_numpy()
    for row, key in enumerate(received.index):
        described = f"  {parts['kept'][key]:,} of {received[key]:,}"
        axes.text(100, row, described, va="center", fontsize=8)
    list_rows(axes, list(received.index))
    axes.set(xlabel="% of the scans received", xlim=(0, 125), xticks=range(0, 101, 20))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def draw_ages(results: Results) -> Figure:
    """Ages at the first visit by cohort: a box with whiskers, or a dot a person where there are few."""
    labels = results.read("labels")
    if labels is None:
        return say(explain_missing("labels"))
    people = list_people(labels, "cohort")
    if not people["age_years"].notna().any():
        return say(f"n/a: no age is known (N = 0 of {people['person_id'].nunique():,} people)")
    names = sorted(set(people["cohort"]))
    figure = open_figure(8.5, 1.0 + 0.36 * len(names))
    axes = figure.subplots()
    top = people["age_years"].max()
    for row, name in enumerate(names):
        part = people[people["cohort"] == name]
        ages = part["age_years"].dropna()
        if len(ages) >= MIN_BOX_PEOPLE:
            box = {"facecolor": "#bcdcf0", "edgecolor": "#0072b2"}
            axes.boxplot(
                [ages], positions=[row], orientation="horizontal", widths=0.6, whis=(0, 100),
                patch_artist=True, boxprops=box, medianprops={"color": "#d55e00"},
            )  # fmt: skip
        else:
            axes.plot(ages, np.full(len(ages), row), "o", color="#0072b2", markersize=4, alpha=0.7)
        described = (
            f"{len(ages):,} of {len(part):,} people" if len(ages) else f"n/a (0 of {len(part):,} people)"
        )
        axes.text(1.03 * top, row, described, va="center", fontsize=8)
    list_rows(axes, names)
    axes.set(xlabel="age at the first visit (years); box: quartiles, whiskers: youngest and oldest")
    axes.set_xlim(0, 1.25 * top)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    return figure


def draw_coverage(results: Results) -> Figure:
    """The share of each cohort's volumes for which a field is known."""
    labels = results.read("labels")
    if labels is None:
        return say(explain_missing("labels"))
    known = measure_coverage(labels)
    shares = 100 * known.groupby(labels["cohort"]).mean()
    shares = pd.concat([pd.DataFrame({"all": 100 * known.mean()}).T, shares])
    figure = open_figure(9.5, 1.9 + 0.3 * len(shares))
    axes = figure.subplots()
    axes.imshow(shares.to_numpy(), cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(shares.shape):
        value = shares.iat[row, column]
        colour = "white" if value > 60 else "0.3" if value else "0.75"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(FIELDS)), FIELDS, rotation=45, ha="left", fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(shares)), shares.index)
    axes.axhline(0.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_pyramids(results: Results) -> Figure:
    """Sex and age band of the people of each diagnosis: female to the left, male to the right."""
    labels = results.read("labels")
    if labels is None:
        return say(explain_missing("labels"))
    keys = ["person_id", "dx"]
    people = spread_people(labels, "sex").merge(spread_people(labels, "age band"), on=keys)
    if not ((people["value_x"] != UNKNOWN) & (people["value_y"] != UNKNOWN)).any():
        n_people = people["person_id"].nunique()
        return say(f"n/a: both sex and age are known of nobody (N = 0 of {n_people:,} people)")
    classes = [dx for dx in (*list_classes(labels), UNKNOWN) if (people["dx"] == dx).any()]
    n_columns = min(4, len(classes))
    n_lines = -(-len(classes) // n_columns)
    figure = open_figure(1.0 + 2.4 * n_columns, 0.5 + 2.0 * n_lines)
    panels = figure.subplots(n_lines, n_columns, squeeze=False)
    for panel in panels.ravel()[len(classes) :]:
        panel.set_axis_off()
    for number, (panel, dx) in enumerate(zip(panels.ravel(), classes, strict=False)):
        _draw_pyramid(panel, dx, people[people["dx"] == dx], is_first=number % n_columns == 0)
    figure.supxlabel("people: female left, male right; not shown: sex or age is not known", fontsize=9)
    return figure


def _draw_pyramid(axes: Axes, dx: str, people: pd.DataFrame, is_first: bool) -> None:
    """One diagnosis; whose sex or age is not known is counted in the title."""
    described = people[people["value_x"].isin(["F", "M"]) & people["value_y"].isin(AGE_BANDS)]
    counts = pd.crosstab(described["value_y"], described["value_x"])
    counts = counts.reindex(index=list(AGE_BANDS), columns=["F", "M"], fill_value=0)
    rows = np.arange(len(AGE_BANDS))
    axes.barh(rows, -counts["F"], color=FEMALE, height=0.8)
    axes.barh(rows, counts["M"], color=MALE, height=0.8)
    widest = max(1, counts.to_numpy().max())
    for sign, sex, align in ((-1, "F", "right"), (1, "M", "left")):
        for row, n in enumerate(counts[sex]):
            if n:
                axes.text(sign * (n + 0.05 * widest), row, f"{n:,}", ha=align, va="center", fontsize=7)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set(xlim=(-1.45 * widest, 1.45 * widest), xticks=[])
    axes.set_yticks(rows, list(AGE_BANDS) if is_first else [""] * len(rows), fontsize=8)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    n_hidden = len(people) - len(described)
    title = f"{dx} (N = {len(people):,}" + (f", {n_hidden:,} not shown)" if n_hidden else ")")
    axes.set_title(title, fontsize=9)


FIGURES: dict[str, Callable[[Results], Figure]] = {
    "card_volumes": draw_volumes,
    "card_flow": draw_flow,
    "card_ages": draw_ages,
    "card_coverage": draw_coverage,
    "card_pyramids": draw_pyramids,
}
