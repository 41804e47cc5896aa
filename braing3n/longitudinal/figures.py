"""Figures 4 and 7: two people's forecasts beside their true later visit, and what changes with the years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from braing3n.core.runtime import write_atomically
from braing3n.longitudinal.contracts import CHANGES
from braing3n.training.picture import cut_planes

N_PEOPLE = 2
HEALTHY = "HC"
WINDOW_Z = 3.0  # black to white in images
COLOURED_PERCENTILE = 99.5  # of a figure's absolute changes: there its colours end
Decode = Callable[[np.ndarray], np.ndarray]
Planes = list[np.ndarray]


@dataclass
class Shown:
    """What the figures show of one person: planes of decoded volumes and of their changes, in z units.

    Attributes:
        title: disease, sex and age.
        images: of Figure 4, by name.
        follow_up: their changes, by name: of the true later visit and of the forecasts of its time.
        by_years: changes from the 0-year forecast, by guidance and years, of Figure 7.
        rows: of the table `changes`.
    """

    title: str
    images: dict[str, Planes] = field(default_factory=dict)
    follow_up: dict[str, Planes] = field(default_factory=dict)
    by_years: dict[tuple[float, float], Planes] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)


def choose_people(forecasts: pd.DataFrame) -> list[str]:
    """Earlier visits of two people: one healthy and one with a disease, each with the longest follow-up.

    Where there is nobody of a kind, or no follow-up, those who come next: by the time to the last true later
    visit, then by volume id.
    """
    is_true = forecasts["later_volume_id"] != ""
    found = forecasts.assign(follow_up=forecasts["years"].where(is_true, 0.0))
    found = found.groupby("volume_id", as_index=False).agg({"follow_up": "max", "disease": "first"})
    found = found.sort_values(["follow_up", "volume_id"], ascending=[False, True])
    place = found.groupby(found["disease"] == HEALTHY).cumcount()
    return found.loc[place.sort_values(kind="stable").index, "volume_id"].head(N_PEOPLE).tolist()


def choose_scales(own: float, evaluated: tuple[float, ...]) -> list[float]:
    """The forecasts' own guidance and, of those that are evaluated, the farthest from it."""
    return [own, *sorted({*evaluated} - {own}, key=lambda scale: abs(scale - own))[-1:]]


def show_person(
    table: pd.DataFrame,
    drawn: dict[float, np.ndarray],
    ends: dict[str, np.ndarray],
    decode: Decode,
) -> Shown:
    """One person's planes and numbers.

    Args:
        table: the person's rows of the forecasts; the index says which of the drawn tokens are theirs.
        drawn: guidance to tokens (M, T, d) of all forecasts, of the scales that are shown.
        ends: volume id to tokens (T, d) of the person's true visits.
        decode: tokens (n, T, d) to images (n, D, H, W).
    """
    first = table.iloc[0]
    true = table[table["later_volume_id"] != ""].sort_values("years").tail(1)
    grid = table[(table["later_volume_id"] == "") & (table["years"] > 0)].sort_values("years")
    (start,) = table.index[(table["later_volume_id"] == "") & (table["years"] == 0)]
    shown = Shown(f"{first['disease']}, {first['sex']}, {first['age_years']:.0f} years")
    base = {"person_id": first["person_id"], "disease": first["disease"]}

    def add(method: str, guidance: float, years: float, image: np.ndarray, origin: np.ndarray) -> Planes:
        change = image - origin
        numbers = {"method": method, "guidance": guidance, "years": years}
        error = float(np.abs(image - later).mean()) if later is not None else np.nan
        is_then = method == "forecast" and len(true) and years == true["years"].iloc[0]
        numbers |= {"change": float(np.abs(change).mean()), "error": error if is_then else np.nan}
        shown.rows.append(base | numbers)
        return cut_planes(change)

    (earlier,), later = decode(ends[first["volume_id"]][None]), None
    shown.images["earlier visit"] = cut_planes(earlier)
    for name, years in zip(true["later_volume_id"], true["years"], strict=True):
        (later,) = decode(ends[name][None])
        shown.images[f"true visit, {years:.1f} y on"] = cut_planes(later)
        shown.follow_up["true change"] = add("true later visit", np.nan, years, later, earlier)
    at_follow_up, errors = true if len(true) else grid.tail(1), {}
    for scale, tokens in drawn.items():
        (origin,) = decode(tokens[[start]])
        for row in at_follow_up.itertuples():
            (image,) = decode(tokens[[row.Index]])
            name = f"forecast, {row.years:.1f} y, w {scale:g}"
            shown.images[name] = cut_planes(image)
            planes = (
                add("forecast", scale, row.years, image, origin) if len(true) else cut_planes(image - origin)
            )
            shown.follow_up[f"change, w {scale:g}"] = planes
            if later is not None:
                errors[f"error, w {scale:g}"] = cut_planes(image - later)
        for row in grid.itertuples():
            (image,) = decode(tokens[[row.Index]])
            shown.by_years[scale, row.years] = add("forecast", scale, row.years, image, origin)
    shown.follow_up |= errors
    return shown


def write_figures(people: list[Shown], folder: Path) -> None:
    """Write `figure_4.png` and `figure_7.png`; they are empty where there are no people."""
    for name, draw in (("figure_4.png", draw_follow_up), ("figure_7.png", draw_years)):
        with write_atomically(folder / name) as beside:
            draw(people, beside)


def tabulate(people: list[Shown]) -> pd.DataFrame:
    """The rows of all people, for the table `changes`."""
    kinds = {name: {str: "str", float: "float64"}[kind] for name, (kind, _) in CHANGES.items()}
    return pd.DataFrame([row for shown in people for row in shown.rows], columns=list(CHANGES)).astype(kinds)


def draw_follow_up(people: list[Shown], path: Path) -> None:
    """Figure 4: earlier visit, true later visit and forecasts of its time, the change and error of each."""
    n_columns = max([len(shown.images) + len(shown.follow_up) for shown in people], default=1)
    figure, axes = _open(max(1, 3 * len(people)), n_columns, (1.5, 1.65))
    limit = _find_limit([shown.follow_up for shown in people])
    for band, shown in enumerate(people):
        for column, (name, planes) in enumerate([*shown.images.items(), *shown.follow_up.items()]):
            is_change = column >= len(shown.images)
            for row, plane in enumerate(planes):
                _show(axes[3 * band + row, column], plane, limit if is_change else WINDOW_Z, is_change)
            axes[3 * band, column].set_title(name, fontsize=7)
        axes[3 * band, 0].text(0, 1.25, shown.title, fontsize=9, transform=axes[3 * band, 0].transAxes)
    _close(figure, limit, people, path)


def draw_years(people: list[Shown], path: Path) -> None:
    """Figure 7: each scale's change from the 0-year forecast by years, and its mean absolute value."""
    n_years = max([len({years for _, years in shown.by_years}) for shown in people], default=0)
    n_scales = max([len({scale for scale, _ in shown.by_years}) for shown in people], default=1)
    figure, axes = _open(max(1, n_scales * len(people)), n_years + 2, (1.7, 2.0))
    limit = _find_limit([shown.by_years for shown in people])
    for band, shown in enumerate(people):
        scales = sorted({scale for scale, _ in shown.by_years})
        for k, scale in enumerate(scales):
            row = axes[n_scales * band + k]
            for column, years in enumerate(sorted({years for _, years in shown.by_years})):
                _show(row[column], shown.by_years[scale, years][0], limit, True)
                row[column].set_title(f"{years:g} y, w {scale:g}", fontsize=7)
        top = axes[n_scales * band, 0]
        top.text(0, 1.2, shown.title, fontsize=9, transform=top.transAxes)
        _draw_curve(figure, axes[n_scales * band : n_scales * (band + 1), -2:], shown)
    _close(figure, limit, people, path)


def _draw_curve(figure, panels: np.ndarray, shown: Shown) -> None:
    """The mean absolute change by years: a line a scale, and the true later visit."""
    panel = figure.add_subplot(panels[0, 0].get_subplotspec().get_gridspec()[_span(panels)])
    rows = pd.DataFrame(shown.rows)
    for scale, part in rows[rows["method"] == "forecast"].groupby("guidance"):
        part = pd.concat([pd.DataFrame({"years": [0.0], "change": [0.0]}), part]).sort_values("years")
        panel.plot(part["years"], part["change"], marker="o", markersize=3, label=f"forecast, w {scale:g}")
    true = rows[rows["method"] != "forecast"]
    panel.plot(true["years"], true["change"], "k*", label="true later visit" if len(true) else None)
    panel.set_xlabel("years on", fontsize=7)
    panel.set_ylabel("mean absolute change, z", fontsize=7)
    panel.tick_params(labelsize=7)
    panel.legend(fontsize=6)


def _span(panels: np.ndarray) -> tuple[slice, slice]:
    """The cells of the grid that the panels fill."""
    first, last = (panels[k, k].get_subplotspec() for k in (0, -1))
    return slice(first.rowspan.start, last.rowspan.stop), slice(first.colspan.start, last.colspan.stop)


def _open(n_rows: int, n_columns: int, size: tuple[float, float]):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shape = size[0] * n_columns, size[1] * n_rows
    figure, axes = plt.subplots(n_rows, n_columns, figsize=shape, layout="constrained", squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    return figure, axes


def _show(panel, plane: np.ndarray, limit: float, is_change: bool) -> None:
    colours = "RdBu_r" if is_change else "gray"
    panel.imshow(plane, cmap=colours, vmin=-limit, vmax=limit, interpolation="nearest")


def _find_limit(planes: list[dict]) -> float:
    """Where the colours of changes end."""
    values = [np.abs(plane).ravel() for one in planes for part in one.values() for plane in part]
    return float(np.percentile(np.concatenate(values), COLOURED_PERCENTILE)) or 1.0 if values else 1.0


def _close(figure, limit: float, people: list[Shown], path: Path) -> None:
    import matplotlib.pyplot as plt

    if people:
        colours = plt.cm.ScalarMappable(plt.Normalize(-limit, limit), "RdBu_r")
        figure.colorbar(colours, ax=figure.axes, shrink=0.3, aspect=30, pad=0.01, label="change, z")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
