"""Whether samples help to find a rare class, and what the same samples cost in privacy."""

from __future__ import annotations

import pandas as pd

from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_interval
from braing3n.paper.results import Results, explain_missing, locate


def build_usefulness(results: Results) -> PrintedTable:
    """A row a task and number of real people; the audits' counts of the samples stand beside it."""
    table, source = results.read("usefulness"), locate("usefulness")
    title = "Do samples help? A rare class in held-out people"
    if table is None:
        return PrintedTable(
            "usefulness", title, pd.DataFrame([{"Task": explain_missing("usefulness")}]), source
        )
    rows = []
    for (task, learner, n_rare), part in table.groupby(["task", "learner", "n_rare"], sort=False):
        first = part.iloc[0]
        cells = {"Task": task, "Learner": learner, "Rare class": first["rare"]}
        cells["Real people of it"] = str(n_rare)
        for row in part.to_dict("records"):
            head = f"AUC [95 %]{LEVELS}{row['trained_on']}"
            auc = format_interval(row["auc"], row["low"], row["high"])
            cells[head] = f"n/a: {row['reason']}" if row["reason"] else auc
        both = part[part["trained_on"] == "both"].iloc[0]
        gain = format_interval(both["gain"], both["gain_low"], both["gain_high"])
        cells["Gain of both over real"] = f"n/a: {both['reason']}" if both["reason"] else gain
        cells["Samples"] = str(both["n_samples"])
        cells["Held-out people"] = str(first["n_held_out_people"])
        cells["Flagged by L2"] = _count_flagged(results, "memorization", first["arm"], "is_below_threshold")
        cells["Flagged as copies"] = _count_flagged(results, "copies", first["arm"], "is_flagged")
        rows.append(cells)
    notes = [
        "The common class is always real people; the rare one is few real people, the samples of its arm, or "
        "both. Wrong class: samples of the common class that are called the rare one, which must not help. "
        "Means over draws of the real people, and their 95 %. Probe: of the encoder's features; network: a "
        "small one of volumes decoded from tokens, real ones too, at 8 mm. Flagged: how many of the same "
        "samples the memorization audits flag, in the whole pool and in their modality.",
    ]
    return PrintedTable("usefulness", title, pd.DataFrame(rows), source, notes)


def _count_flagged(results: Results, name: str, arm: str, column: str) -> str:
    """How many samples of an arm an audit flags."""
    audit = results.read(name)
    if audit is None:
        return explain_missing(name)
    is_sampled = audit["comparison"].isin(["synthetic-real", "other-arms-real"])
    own = audit[is_sampled & audit["item_id"].str.startswith(f"{arm}-")]
    own = own[own["pool"] == "all"] if "pool" in own else own
    return f"{own[column].sum()} of {len(own)}" if len(own) else "n/a: the audit has no samples of this arm"
