"""The paper's tables from a run's results, as text cells, ours beside the published number.

A number that does not exist is a cell `n/a: reason`; the renderers turn the reasons into notes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from braing3n.core.contracts import MODALITIES
from braing3n.paper.published import read_published
from braing3n.paper.results import Results, explain_missing

# Between the two levels of a column's name.
LEVELS = " | "


@dataclass(eq=False)
class PrintedTable:
    """A table of text cells; `source` is the run's file that it mostly comes from.

    Equal to itself alone, so that its rendering can be kept.
    """

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


def build_table_3(results: Results) -> PrintedTable:
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
    return PrintedTable(
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
            "modalities": ", ".join(name for name in MODALITIES if (chosen["modality"] == name).any()),
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


def build_flow(results: Results) -> PrintedTable:
    """Received = kept + excluded, by cohort, with every reason of exclusion."""
    flow = results.read_flow()
    columns = ["Cohort", "Stage", "Received", "Kept", "Excluded", "Reason"]
    if flow is None:
        frame = pd.DataFrame([[explain_missing("flow")] * len(columns)], columns=columns)
        return PrintedTable("flow", "Flow of volumes", frame, "manifest/flow.parquet")
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
    return PrintedTable(
        "flow", "Flow of volumes", pd.DataFrame(rows, columns=columns), "manifest/flow.parquet"
    )
