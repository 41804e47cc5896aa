"""Tissue, ventricle and regional volumes of generated brains: effect sizes by arm, and change with age."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from braing3n.fidelity.anatomy.compare import AGES, SIZED_ARMS
from braing3n.fidelity.anatomy.effects import SIZE, SLOPE
from braing3n.fidelity.anatomy.others import CORRELATION
from braing3n.fidelity.anatomy.segmented import NAMES, TOOL
from braing3n.fidelity.measure import COMPARISONS
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.paper.results import Results, explain_missing, locate

_NOTES = [
    "Volumes in ml of SRI24 space, both sides, from our own segmentation (docs/tissue.md). Reliable: the "
    "tissues' intensities lie a deviation of the noise apart, and the brain has half the mean brain's "
    "volume or more; others are left out. A decoded volume has no mask: a rule fitted to reconstructions "
    "finds its brain: gen-vs-recons says what the generator does, recons-vs-real what decoder and rule do.",
    "Brackets of values: 95 % of resamplings of samples and people. Real people: as many in the samples' "
    "place against the others, 95 % of draws. A value outside is marked *, as .4 of 8 volumes are by chance.",
]


def build_anatomy(results: Results) -> PrintedTable:
    """Hedges' g of each volume by arm, beside that of real people in the samples' place."""
    anatomy, rows = _read(results, TOOL), []
    for arm in SIZED_ARMS:
        for comparison in COMPARISONS:
            found = _index(anatomy, arm.title, comparison)
            row = {"Arm": arm.title, "Comparison": comparison, "Reliable": _count_reliable(found)}
            for name in NAMES:
                row[f"{_title(name)}{LEVELS}Hedges' g"] = _show(found, name, "value", is_marked=True)
                row[f"{_title(name)}{LEVELS}real people"] = _show_floor(found, name)
            rows.append(row)
    notes = [*_NOTES, "Hedges' g: the difference of means in pooled deviations; .2 is small, .8 large."]
    title = "Anatomical plausibility: volumes of generated brains by arm"
    return PrintedTable("anatomy", title, pd.DataFrame(rows), locate("anatomy"), notes)


def build_anatomy_by_age(results: Results) -> PrintedTable:
    """Ml a year of age of samples, reconstructions and real people, and the samples' difference."""
    anatomy, rows = _read(results, TOOL), []
    real, recons = (_index(anatomy, AGES, name) for name in ("gen-vs-real", "gen-vs-recons"))
    for name in NAMES:
        row = {"Volume": _title(name)}
        for head, found, part in (
            ("samples, age asked for", real, "first"),
            ("reconstructions", recons, "second"),
            ("real people", real, "second"),
        ):
            row[f"ml a year{LEVELS}{head}"] = _show(found, name, part)
        for head, found in (("real people", real), ("reconstructions", recons)):
            row[f"samples less {head}{LEVELS}ml a year"] = _show(found, name, "value", is_marked=True)
            row[f"samples less {head}{LEVELS}people in their place"] = _show_floor(found, name)
            row[f"samples less {head}{LEVELS}reliable"] = _count_reliable(found)
        rows.append(row)
    notes = [*_NOTES, "People are those within the windows of age of the three arms; samples of none else."]
    title = "Anatomical plausibility: change of volumes with age"
    return PrintedTable("anatomy_by_age", title, pd.DataFrame(rows), locate("anatomy"), notes)


def build_anatomy_of_others(results: Results) -> PrintedTable:
    """The same of the volumes that tools of others measured, each under the tool's name."""
    anatomy = results.read("anatomy")
    rows = [] if anatomy is None else list(_list_others(anatomy))
    if not rows:
        named = "n/a: no table of another tool is named (fidelity.measured)"
        rows = [{"Tool": named if anatomy is not None else explain_missing("anatomy")}]
    notes = ["As the tables above, from the tables that `fidelity.measured` names.", _NOTES[1]]
    title = "Anatomical plausibility: volumes by other tools"
    return PrintedTable("anatomy_of_others", title, pd.DataFrame(rows), locate("anatomy"), notes)


def _list_others(anatomy: pd.DataFrame) -> Iterator[dict[str, str]]:
    for _, one in anatomy[anatomy["tool"] != TOOL].iterrows():
        found = one.to_frame().T.set_index("volume", drop=False)
        yield {
            "Tool": one["tool"],
            "Volume": _title(one["volume"]),
            "Arm": one["arm"] or "all",
            "Comparison": one["comparison"],
            "Quantity": one["quantity"],
            "Value": _show(found, one["volume"], "value", is_marked=one["quantity"] != CORRELATION),
            "Real people": "" if one["quantity"] == CORRELATION else _show_floor(found, one["volume"]),
            "Reliable": _count_reliable(found),
        }


def _read(results: Results, tool: str) -> pd.DataFrame | None:
    anatomy = results.read("anatomy")
    return None if anatomy is None else anatomy[anatomy["tool"] == tool]


def _index(anatomy: pd.DataFrame | None, arm: str, comparison: str) -> pd.DataFrame | None:
    """The rows of an arm and comparison by volume."""
    if anatomy is None:
        return None
    is_here = (anatomy["arm"] == arm) & (anatomy["comparison"] == comparison)
    return anatomy[is_here & anatomy["quantity"].isin([SIZE.quantity, SLOPE.quantity])].set_index("volume")


def _title(name: str) -> str:
    return "CSF" if name == "csf" else name.replace("_", " ").capitalize()


def _find(found: pd.DataFrame | None, name: str) -> pd.Series | str:
    """The row of a volume, or the reason why it is not there."""
    if found is None:
        return explain_missing("anatomy")
    if name not in found.index:
        return "n/a: arm not measured"
    row = found.loc[name]
    return f"n/a: {row['reason']}" if row["reason"] else row


def _show(found: pd.DataFrame | None, name: str, part: str, is_marked: bool = False) -> str:
    """A value and its interval; marked where it lies outside that of real people."""
    row = _find(found, name)
    if isinstance(row, str):
        return row
    is_outside = is_marked and not row["floor_low"] <= row["value"] <= row["floor_high"]
    mark = " *" if is_outside and not row["floor_reason"] else ""
    return f"{_round(row[part])} [{_round(row[f'{part}_low'])}, {_round(row[f'{part}_high'])}]{mark}"


def _show_floor(found: pd.DataFrame | None, name: str) -> str:
    row = _find(found, name)
    if isinstance(row, str):
        return row
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    interval = f"[{_round(row['floor_low'])}, {_round(row['floor_high'])}]"
    return f"{interval} (n {row['n_floor_people']}/{row['n_others']})"


def _count_reliable(found: pd.DataFrame | None) -> str:
    """Of each of the two sets, how many volumes can be used of how many."""
    if found is None or found.empty:
        return explain_missing("anatomy") if found is None else "n/a: arm not measured"
    row = found.iloc[0]
    parts = [(row[f"n_{name}"], row[f"n_{name}_left_out"]) for name in ("first", "second")]
    return ", ".join(f"{n} of {n + n_left_out}" for n, n_left_out in parts)


def _round(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "n/a"
