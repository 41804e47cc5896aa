"""The memorization audit: nearest training latents, copies, and membership inference."""

from __future__ import annotations

import math

import pandas as pd

from braing3n.memorization.contracts import COMPARISONS
from braing3n.memorization.summary import expect_below, summarise_audit
from braing3n.paper.printed.tables import LEVELS, PrintedTable, format_interval, format_number
from braing3n.paper.results import Results, explain_missing, locate

NO_OTHERS = "no samples of MCI or PD in this pool"


def build_memorization(results: Results) -> PrintedTable:
    """The nearest-neighbour audit, a row a pool."""
    title = "Memorization audit: distances to the nearest training latent"
    notes = [
        _POOL + "The paper finds no sample below its threshold.",
        _EXPECTED
        + "Reconstructions are of training volumes, so their share is the power of the threshold through "
        "this decoder; forecasts are of held-out people. " + _OTHER_ARMS,
    ]
    absence = _explain_no_forecasts(results)
    return _build_audit(results, "memorization", title, "real-real", absence, notes)


def build_contrastive(results: Results) -> PrintedTable:
    """The same audit on codes of the contrastive copy detector, a row a pool."""
    title = "Contrastive copy detector: distances to the nearest training volume"
    notes = [
        _POOL
        + "A network is trained on views of training volumes (mirrored, shifted, blurred, brighter, noisy): "
        "views of one volume are to lie near, others far. Distances lie between 0 and 2.",
        _EXPECTED
        + "The threshold is held-out people's percentile, since training drove training volumes apart. "
        "Reconstructions of training volumes are copies: their share is the detector's power. Forecasts are "
        "of held-out people. " + _OTHER_ARMS,
    ]
    absence = _explain_no_forecasts(results)
    return _build_audit(results, "contrastive", title, "held-out", absence, notes)


_POOL = (
    "Pool: the training split. Volumes of one group (a person, relatives, or one brain under two ids) are "
    "never neighbours; the last column counts the pool's people whose group has another id. "
)
_EXPECTED = (
    "Expected: the number of samples below if they were as often below as held-out people (n people, each "
    "counted once), and 95 % of what so many draws give. Read it within a modality: in the whole pool "
    "samples and people differ in their modalities. "
)
_OTHER_ARMS = "Samples of MCI and PD are drawn beside the 13 arms of Table 8, and count with nothing else."


def _build_audit(
    results: Results, name: str, title: str, reference: str, absence: str, notes: list[str]
) -> PrintedTable:
    """A row a pool of one audit.

    reference: whose percentile the threshold is; absence: why there is no forecast, where there is none.
    """
    table, source = results.read(name), locate(name)
    empty = "n/a: no training volumes" + (
        ", or memorization.contrastive.is_on is false" if name == "contrastive" else ""
    )
    if table is None or not len(table):
        reason = explain_missing(name) if table is None else empty
        return PrintedTable(name, title, pd.DataFrame([{"Pool": reason}]), source)
    rows = []
    for row in summarise_audit(table).to_dict("records"):
        cells = {"Pool": row["pool"]} | _describe_distances(row)
        has_threshold = math.isfinite(row["threshold"])
        threshold = f"{row['threshold']:.2f} ({row['percentile']:g} %)"
        cells["Threshold"] = threshold if has_threshold else f"n/a: no {reference} volumes in this pool"
        cells["Ratio of means, synthetic / real"] = format_number(row["ratio"])
        cells["Ratio of means, held-out / real"] = format_number(row["ratio_held_out"])
        n, n_below = row["n_synthetic_real"], row["n_below_synthetic_real"]
        cells[f"Samples below the {reference} percentile"] = f"{n_below} of {n}"
        cells["Expected of as many held-out people"] = _describe_expected(row)
        cells["More than expected"] = _judge_expected(row)
        cells["Samples of MCI and PD below"] = _count_below(row, "other_arms_real", NO_OTHERS)
        cells["Reconstructions below"] = _count_below(row, "reconstructed_real", "no reconstructions")
        cells["Forecasts below"] = _count_below(row, "forecast_real", absence)
        cells["Samples that are one volume"] = str(row["n_identical"])
        cells["Duplicates in the pool"] = str(row["n_duplicates"])
        cells["People who share a group"] = str(row["n_people_of_shared_groups"])
        rows.append(cells)
    return PrintedTable(name, title, pd.DataFrame(rows), source, notes)


def _describe_distances(row: dict) -> dict[str, str]:
    """The distances of the real people and of samples."""
    cells = {}
    for name in ("real_real", "held_out_real", "synthetic_real"):
        head = name.replace("_real", "").replace("_", "-") + "-real"
        n = row[f"n_{name}"]
        value = f"{row[f'mean_{name}']:.2f} (n {n})" if n else "n/a: none in this pool"
        cells[f"Mean distance{LEVELS}{head}"] = value
        spread = [row[f"{statistic}_{name}"] for statistic in ("median", "min", "max")]
        text = "{:.2f}, {:.2f} to {:.2f}".format(*spread) if n else "n/a: none in this pool"
        cells[f"Median, least to most{LEVELS}{head}"] = text
    return cells


def build_planted(results: Results) -> PrintedTable:
    """Which detector finds which disguised copy, a row a disguise."""
    table = results.read("planted")
    source, title = locate("planted"), "Planted copies: which detector finds which"
    if table is None or not len(table):
        reason = explain_missing("planted") if table is None else "n/a: no modality with held-out people"
        return PrintedTable("planted", title, pd.DataFrame([{"Copy": reason}]), source)
    cells = table.assign(
        cell=[f"{row.n_found} of {row.n_asked}" for row in table.itertuples()],
        disguise=pd.Categorical(table["disguise"], table["disguise"].unique(), ordered=True),
    )
    frame = cells.pivot(index="disguise", columns="detector", values="cell")[table["detector"].unique()]
    frame = frame.rename_axis(columns=None).reset_index().rename(columns={"disguise": "Copy"})
    notes = [
        "Training volumes returned as if they were samples, as they are or disguised, on voxels of about "
        "4 mm. Found: below the threshold, with the own volume as the nearest. All detectors have the "
        "percentile of held-out people of the same modality as their threshold. The last row has the false "
        "alarms: either half of the held-out people at the other half's percentile, which few people know "
        "badly. The untrained network is the trained one before its first step.",
    ]
    return PrintedTable("planted", title, frame.astype(str), source, notes)


def _count_below(row: dict, name: str, reason: str) -> str:
    n = row[f"n_{name}"]
    return f"{row[f'n_below_{name}']} of {n}" if n else f"n/a: {reason}"


def _explain_no_forecasts(results: Results) -> str:
    """Why a pool may hold no forecast."""
    ageing = results.read("ageing")
    reasons = [] if ageing is None else ageing.loc[ageing["method"] == "forecast", "reason"].tolist()
    return next(filter(None, reasons), "no forecasts in this pool")


def _describe_expected(row: dict) -> str:
    if not row["n_held_out_people"]:
        return "n/a: no held-out people in this pool"
    interval = f"[{row['n_below_low']:.0f}, {row['n_below_high']:.0f}]"
    return f"{row['n_below_expected']:.1f} {interval} (n {row['n_held_out_people']})"


def _judge_expected(row: dict) -> str:
    if not row["n_held_out_people"] or not row["n_synthetic_real"]:
        return "n/a: no held-out people or no samples in this pool"
    return "yes" if row["n_below_synthetic_real"] > row["n_below_high"] else "no"


def build_copies(results: Results) -> PrintedTable:
    """What the copy detector finds, a row a modality."""
    table = results.read("copies")
    source, title = locate("copies"), "Copy detector: correlation with training volumes"
    if table is None or not len(table):
        reason = explain_missing("copies") if table is None else "n/a: no training volumes"
        return PrintedTable("copies", title, pd.DataFrame([{"Modality": reason}]), source)
    rows, absence = [], _explain_no_forecasts(results)
    for modality, group in table.groupby("modality", sort=True):
        parts = {name: group[group["comparison"] == name] for name in COMPARISONS}
        cells = {"Modality": modality}
        for name, part in parts.items():
            values = part["correlation"]
            cells[f"Median, most{LEVELS}{name}"] = (
                f"{values.median():.2f}, {values.max():.2f} (n {len(part)})" if len(part) else "n/a: none"
            )
        cells["Threshold"] = f"{group['threshold'].iloc[0]:.2f}"
        samples = parts["synthetic-real"]
        cells["Samples flagged"] = f"{samples['is_flagged'].sum()} of {len(samples)}"
        held_out = parts["held-out-real"].rename(columns={"is_flagged": "is_below_threshold"})
        row = expect_below(held_out, len(samples))
        cells["Expected of as many held-out people"] = _describe_expected(row)
        row |= {"n_synthetic_real": len(samples), "n_below_synthetic_real": samples["is_flagged"].sum()}
        cells["More than expected"] = _judge_expected(row)
        others = parts["other-arms-real"]
        n_flagged = f"{others['is_flagged'].sum()} of {len(others)}"
        cells["Samples of MCI and PD flagged"] = n_flagged if len(others) else f"n/a: {NO_OTHERS}"
        rebuilt = parts["reconstructed-real"]
        cells["Reconstructions flagged"] = f"{rebuilt['is_flagged'].sum()} of {len(rebuilt)}"
        forecasts = parts["forecast-real"]
        n_flagged = f"{forecasts['is_flagged'].sum()} of {len(forecasts)}"
        cells["Forecasts flagged"] = n_flagged if len(forecasts) else f"n/a: {absence}"
        rows.append(cells)
    notes = [
        "Correlation of coarse volumes less the mean of other people, the highest over shifts of up to 8 mm "
        "and of the mirror image; gain and offset do not count. The threshold is the audit's percentile, "
        "from the top, of training volumes against other people's. Reconstructions of training volumes are "
        "copies: their share is the detector's power. Forecasts are of held-out people.",
    ]
    return PrintedTable("copies", title, pd.DataFrame(rows), source, notes)


def build_membership(results: Results) -> PrintedTable:
    """Whether samples lie nearer to training people than to held-out ones, a row a pool."""
    table = results.read("membership")
    source, title = locate("membership"), "Membership inference: who is nearer to the samples"
    if table is None or not len(table):
        reason = explain_missing("membership") if table is None else "n/a: no volumes with samples"
        return PrintedTable("membership", title, pd.DataFrame([{"Pool": reason}]), source)
    heads = {"samples": "Training against held-out", "members only": "Two halves of training"}
    heads["other arms"] = "Training against held-out, samples of MCI and PD"
    rows = []
    for pool, group in table.groupby("pool", sort=False):
        cells = {"Pool": pool}
        for row in group.to_dict("records"):
            head, n = heads[row["comparison"]], f"{row['n_members']} / {row['n_others']}"
            value = format_interval(row["auc"], row["low"], row["high"])
            cells[f"{head}{LEVELS}AUC [95 %]"] = f"n/a: {row['reason']}" if row["reason"] else value
            cells[f"{head}{LEVELS}volumes"] = n
        rows.append(cells | {"Samples": str(group["n_samples"].iloc[0])})
    notes = [
        "A volume's score is the distance to the nearest sample of its modality; .5 is chance, 1 gives every "
        "training volume away. The two random halves of the training people are a control that no generator "
        "can move. Brackets hold 95 % of draws of people.",
    ]
    frame = pd.DataFrame(rows).fillna(f"n/a: {NO_OTHERS}")
    return PrintedTable("membership", title, frame, source, notes)
