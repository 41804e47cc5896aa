"""Tables of findings in the volumes: one brain under two ids, delivered segmentations, quality outliers."""

from __future__ import annotations

import pandas as pd

from braing3n.manifest.quality.measures import MEASURES, OUTLYING
from braing3n.paper.card.card import explain_table
from braing3n.paper.printed.tables import PrintedTable
from braing3n.paper.results import Results

MAX_PAIRS = 50


def build_pairs(results: Results) -> PrintedTable:
    """Volumes under two people's ids that look like one brain, the closest first."""
    pairs = results.read("near_duplicates")
    name, title = "card_pairs", "One brain under two ids"
    if pairs is None:
        return explain_table(name, title, "Volume", "near_duplicates")
    path = "manifest/near_duplicates.parquet"
    if not len(pairs):
        frame = pd.DataFrame([{"Volume": "none found (N = 0)"}])
        return PrintedTable(name, title, frame, path)
    shown = pairs.head(MAX_PAIRS)
    frame = pd.DataFrame(
        {
            "Volume": shown["volume_id"],
            "The other": shown["other_volume_id"],
            "Correlation": shown["correlation"].map("{:.2f}".format),
            "Known before": [
                "the same file" if row.is_same_file else "one family" if row.is_same_group else "no"
                for row in shown.itertuples()
            ],
        }
    )
    notes = ["Details at 4 mm, the mean of the modality taken away; every pair is on one side of the split."]
    notes.append("Side by side: manifest/near_duplicates.png.")
    if len(pairs) > MAX_PAIRS:
        notes.append(f"The closest {MAX_PAIRS} of {len(pairs):,}; all stand in {path}.")
    return PrintedTable(name, title, frame, path, notes)


def build_segmentations(results: Results) -> PrintedTable:
    """What was delineated on the volumes, and how much of it arrived in SRI24."""
    found = results.read("segmentations")
    name, title = "card_segmentations", "Segmentations that came with the scans"
    if found is None:
        return explain_table(name, title, "Cohort", "segmentations")
    path = "manifest/segmentations.parquet"
    if not len(found):
        return PrintedTable(name, title, pd.DataFrame([{"Cohort": "none came (N = 0)"}]), path)
    rows = []
    for (cohort, what), part in found.groupby(["cohort", "label"], sort=True):
        carried = part[part["reason"] == ""]
        row = {"Cohort": cohort, "Label": what, "Found": f"{len(part):,}", "In SRI24": f"{len(carried):,}"}
        row["Native volume in ml, median (range)"] = _summarise(carried["native_ml"], 1)
        row["Share that arrived, median (range)"] = _summarise(carried["carried_share"], 2)
        row["Left out"] = "; ".join(sorted(set(part.loc[part["reason"] != "", "reason"]))[:3]) or "-"
        rows.append(row)
    return PrintedTable(name, title, pd.DataFrame(rows), path)


def build_quality(results: Results) -> PrintedTable:
    """How many volumes are off the others of their cohort and modality in a quality number, and the worst."""
    quality = results.read("quality")
    name, title = "card_quality", "Quality of the preprocessed volumes"
    if quality is None:
        return explain_table(name, title, "Cohort", "quality")
    rows = []
    for (cohort, modality), part in quality.groupby(["cohort", "modality"], sort=True):
        judged = part.dropna(subset="outlier_score").sort_values("outlier_score", ascending=False)
        few = f"n/a: too few volumes to compare (N = {len(part):,})"
        row = {"Cohort": cohort, "Modality": modality, "Volumes": f"{len(part):,}", "Outlying": few}
        row["The worst"] = few
        if len(judged):
            worst = judged.iloc[0]
            measure = MEASURES[worst["outlier_measure"]].title
            row["Outlying"] = f"{int((judged['outlier_score'] > OUTLYING).sum()):,}"
            row["The worst"] = f"{worst['volume_id']} ({measure}, {worst['outlier_score']:.1f})"
        row["Left out"] = f"{int((part['status'] == 'excluded').sum()):,}"
        rows.append(row)
    notes = [f"Outlying: over {OUTLYING:g} robust deviations on the worse side of the median in a number."]
    notes.append("Every volume with its picture: the quality pages, preprocess/<cohort>/quality.html.")
    return PrintedTable(name, title, pd.DataFrame(rows), "manifest/quality.parquet", notes)


def _summarise(values: pd.Series, n_digits: int) -> str:
    if not len(values):
        return "n/a: none was carried (N = 0)"
    low, middle, high = (f"{value:.{n_digits}f}" for value in values.quantile([0, 0.5, 1]))
    return f"{middle} ({low}-{high})"
