"""Whether the generator learned what it is asked for, with the claims that it must meet."""

from __future__ import annotations

import math

import pandas as pd

from braing3n.paper.printed.tables import Table, format_interval, format_number
from braing3n.paper.results import Results, explain_missing, locate

_MEASURES = {
    "age": "Age: r of requested and read",
    "modality": "Modality: share read as requested",
    "sex": "Sex: share read as requested",
    "disease": "Disease: share read as requested",
    "diversity": "Distance of two samples over that of two people",
}


def build_judged(results: Results) -> Table:
    """What probes of real people read in the samples, and how much samples of an arm differ."""
    judged = results.read("judged")
    title, source = "Samples read by probes of real people", locate("judged")
    if judged is None:
        return Table("judged", title, pd.DataFrame([{"Measure": explain_missing("judged")}]), source)
    rows = []
    for row in judged.itertuples():
        is_missing = not math.isfinite(row.value)
        is_read = row.measure != "diversity"
        rows.append(
            {
                "Measure": _MEASURES[row.measure],
                "Arm": row.arm or "all that name one",
                "Samples [95 %]": f"n/a: {row.note or 'undefined'}"
                if is_missing
                else format_interval(row.value, row.low, row.high),
                "Held-out real volumes": format_number(row.reference) if is_read else "-",
                "N samples": str(row.n_samples),
                "Real people / volumes": f"{row.n_people} / {row.n_volumes}",
                "Claim": row.expected,
                "Verdict": "n/a: not measured"
                if is_missing
                else "-"
                if row.expected == "any"
                else row.verdict,
            }
        )
    notes = [
        "Samples are read by linear probes on decoded volumes, fitted on the training split; beside it what "
        "they find in held-out real volumes, decoded as well. Distances are between decoded volumes; the "
        "people of an arm are of any split, and within 5 years of its age. The DiT holds the mean image of "
        "each modality, so agreement by modality is partly given.",
    ]
    return Table("judged", title, pd.DataFrame(rows), source, notes)


def list_unlearned(results: Results) -> list[str]:
    """A sentence for each claim about the generator that this run does not meet."""
    judged = results.read("judged")
    if judged is None:
        return []
    missed = judged[judged["verdict"] == "not met"]
    return [
        f"The generator has not learned this: {_MEASURES[measure].lower()} is "
        + ", ".join(
            f"{row.value:.2f} ({row.arm})" if row.arm else f"{row.value:.2f}" for row in part.itertuples()
        )
        + f"; the claim is {part['expected'].iloc[0]}."
        for measure, part in missed.groupby("measure", sort=False)
    ]
