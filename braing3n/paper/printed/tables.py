"""The paper's tables from a run's results, as text cells, ours beside the published number.

A number that does not exist is a cell `n/a: reason`; the renderers turn the reasons into notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from braing3n.paper.published import read_published
from braing3n.paper.results import Results, explain_missing

# Between the two levels of a column's name.
LEVELS = " | "


@dataclass
class Table:
    """A table of text cells; `source` is the run's file that it mostly comes from."""

    name: str
    title: str
    frame: pd.DataFrame
    source: str
    notes: list[str] = field(default_factory=list)


def format_number(value: float, digits: int = 3) -> str:
    """A cell of one number."""
    return "n/a: undefined" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def format_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A cell of a number and its interval."""
    if not math.isfinite(value):
        return "n/a: undefined"
    if not math.isfinite(low):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def build_table_3(results: Results) -> Table:
    """The dataset card: volumes, people, modalities and diagnoses of each cohort."""
    volumes, labels = results.read("volume_list"), results.read("labels")
    source = volumes if labels is None else labels
    rows = []
    published = {row["key"]: row for row in read_published()["table_3"]}
    total = published.pop("total")
    ours = [] if volumes is None else sorted(set(volumes["cohort"]))
    for key in [*published, *(name for name in ours if name not in published)]:
        chosen = None if source is None else source[source["cohort"] == key]
        rows.append(_describe_cohort(key, chosen, published.get(key)))
    rows.append(_describe_cohort("total", source, total))
    note = "A person who is in two cohorts counts in both, and once in the total."
    return Table(
        "table_3", "Table 3. Dataset card", pd.DataFrame(rows), "manifest/volume_list.parquet", [note]
    )


def _describe_cohort(key: str, chosen: pd.DataFrame | None, published: dict | None) -> dict[str, str]:
    """One row: each fact of ours beside the paper's."""
    row = {"Cohort": published["cohort"] if published else key}
    if chosen is None:
        facts = dict.fromkeys(
            ["volumes", "people", "modalities", "diagnoses"], explain_missing("volume_list")
        )
    elif not len(chosen):
        facts = dict.fromkeys(["volumes", "people", "modalities", "diagnoses"], "n/a: cohort not in this run")
    else:
        facts = {
            "volumes": f"{len(chosen):,}",
            "people": f"{chosen['person_id'].nunique():,}",
            "modalities": ", ".join(
                name for name in ("T1", "T1c", "T2", "FLAIR") if (chosen["modality"] == name).any()
            ),
            "diagnoses": _list_diagnoses(chosen),
        }
    for fact, value in facts.items():
        paper = published[fact] if published else "n/a: not a cohort of the paper"
        if published and fact in ("volumes", "people"):
            paper = f"{int(paper):,}"
        row[f"{fact.capitalize()}{LEVELS}ours"], row[f"{fact.capitalize()}{LEVELS}paper"] = value, paper
    return row


def _list_diagnoses(chosen: pd.DataFrame) -> str:
    if "dx" not in chosen:
        return explain_missing("labels")
    counts = chosen.loc[chosen["dx"] != "", "dx"].value_counts(sort=True)
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "n/a: no diagnosis given"


def build_flow(results: Results) -> Table:
    """Received = kept + excluded, by cohort, with every reason of exclusion."""
    flow = results.read_flow()
    columns = ["Cohort", "Stage", "Received", "Kept", "Excluded", "Reason"]
    if flow is None:
        frame = pd.DataFrame([[explain_missing("flow")] * len(columns)], columns=columns)
        return Table("flow", "Flow of volumes", frame, "manifest/flow.parquet")
    rows = [
        [
            row.cohort,
            row.stage,
            *((str(row.received), str(row.kept)) if not row.reason else ("", "")),
            str(row.excluded),
            row.reason,
        ]
        for row in flow.itertuples()
    ]
    whole = flow[flow["reason"] == ""].groupby("stage", sort=False)[["received", "kept", "excluded"]].sum()
    for stage, row in whole.iterrows():
        rows.append(["all", stage, str(row["received"]), str(row["kept"]), str(row["excluded"]), ""])
    return Table("flow", "Flow of volumes", pd.DataFrame(rows, columns=columns), "manifest/flow.parquet")


_COMPARISONS = ("gen-vs-real", "gen-vs-recons", "recons-vs-real")


def build_table_8(results: Results) -> Table:
    """Generation fidelity by arm: three distances, each beside the paper's, and the floor of the first."""
    distances = results.read("distances")
    found = None if distances is None else distances.set_index(["arm", "comparison"])
    rows = []
    for arm, published in read_published()["table_8"].items():
        row = {"Arm": arm}
        show = partial(_read_distance, found, arm)
        for comparison, paper in zip(_COMPARISONS, published, strict=True):
            row[f"{comparison}{LEVELS}ours"] = show(comparison, lambda r: _round(r["value"]))
            row[f"{comparison}{LEVELS}paper (3D-FID)"] = paper
        show = partial(show, "gen-vs-real")
        row["Floor, real-vs-real"] = show(_describe_floor)
        row["Above the floor"] = show(_judge_floor)
        row["Samples"] = show(lambda r: str(r["n_samples"]))
        row["Real people / volumes"] = show(lambda r: f"{r['n_people']} / {r['n_volumes']}")
        rows.append(row)
    notes = [
        "Ours is the Fréchet distance on MAE features: mean-pooled features of this run's own encoder on "
        "whole volumes. The paper's is the 3D-FID on Inception-V3 features of 2-D slices: different "
        "quantities, so compare ours with its floor only.",
        "Small numbers bias a distance upwards, so its floor has the same numbers: as many real people as "
        "there are samples, drawn at random, against the arm's other people (n people/others; one volume a "
        "person, no relatives). Distances and floors are means over draws; brackets hold 95 % of the floor's "
        "draws. Above the floor: gen-vs-real exceeds the bracket.",
    ]
    title = "Table 8. Generation fidelity by arm"
    return Table("table_8", title, pd.DataFrame(rows), "fidelity/distances.parquet", notes)


def _describe_floor(row: pd.Series) -> str:
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    interval = f"[{_round(row['floor_low'])}, {_round(row['floor_high'])}]"
    return f"{_round(row['floor'])} {interval} (n {row['n_floor_people']}/{row['n_others']})"


def _judge_floor(row: pd.Series) -> str:
    if row["floor_reason"]:
        return f"n/a: {row['floor_reason']}"
    return "yes" if row["value"] > row["floor_high"] else "no"


def _round(value: float) -> str:
    return "n/a" if not math.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _read_distance(found: pd.DataFrame | None, arm: str, comparison: str, read: Callable) -> str:
    if found is None:
        return explain_missing("distances")
    if (arm, comparison) not in found.index:
        return "n/a: arm not measured"
    row = found.loc[(arm, comparison)]
    return f"n/a: {row['reason']}" if row["reason"] else read(row)


def build_memorization(results: Results) -> Table:
    """The nearest-neighbour audit, a row a pool."""
    from braing3n.memorization.summary import summarise_audit

    table = results.read("memorization")
    source = "memorization/distances.parquet"
    title = "Memorization audit: distances to the nearest training latent"
    if table is None or not len(table):
        reason = explain_missing("memorization") if table is None else "n/a: no training volumes"
        return Table("memorization", title, pd.DataFrame([{"Pool": reason}]), source)
    rows = []
    for row in summarise_audit(table).to_dict("records"):
        cells = {"Pool": row["pool"]}
        for name in ("real_real", "held_out_real", "synthetic_real"):
            head = name.replace("_real", "").replace("_", "-") + "-real"
            n = row[f"n_{name}"]
            value = f"{row[f'mean_{name}']:.2f} (n {n})" if n else "n/a: none in this pool"
            cells[f"Mean distance{LEVELS}{head}"] = value
        cells["Ratio of means, synthetic / real"] = format_number(row["ratio"])
        cells["Ratio of means, held-out / real"] = format_number(row["ratio_held_out"])
        n, n_below = row["n_synthetic_real"], row["n_below_synthetic_real"]
        cells["Samples below the real-real percentile"] = f"{n_below} of {n}"
        cells["Expected of as many held-out people"] = _describe_expected(row)
        cells["More than expected"] = _judge_expected(row)
        cells["People who share a group"] = str(row["n_people_of_shared_groups"])
        rows.append(cells)
    notes = [
        "Pool: the training split. Volumes of one group (a person, relatives, or one brain under two ids) "
        "are never neighbours; the last column counts the pool's people whose group has another id. The "
        "paper finds no sample below its threshold.",
        "Expected: the number of samples below if they were as often below as held-out people (n people, "
        "each counted once), and 95 % of what so many draws give. Read it within a modality: in the whole "
        "pool samples and people differ in their modalities.",
    ]
    return Table("memorization", title, pd.DataFrame(rows), source, notes)


def _describe_expected(row: dict) -> str:
    if not row["n_held_out_people"]:
        return "n/a: no held-out people in this pool"
    interval = f"[{row['n_below_low']:.0f}, {row['n_below_high']:.0f}]"
    return f"{row['n_below_expected']:.1f} {interval} (n {row['n_held_out_people']})"


def _judge_expected(row: dict) -> str:
    if not row["n_held_out_people"] or not row["n_synthetic_real"]:
        return "n/a: no held-out people or no samples in this pool"
    return "yes" if row["n_below_synthetic_real"] > row["n_below_high"] else "no"
