"""The bias card: who is represented within each diagnosis, and which diagnosis hangs on one place."""

from __future__ import annotations

import pandas as pd

from braing3n.paper.card.card import LABELS_PATH, explain_table, name_scanners
from braing3n.paper.card.coverage import NOBODY, UNKNOWN, list_classes, list_people, mark_diagnosed
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.paper.results import Results
from braing3n.probe.beside.fairness import AGE_BANDS, name_age_bands

TRAITS = ("sex", "age band", "race", "ethnicity", "scanner")
# Where a diagnosis may come from, the widest first.
PLACES = ("cohort", "site", "vendor", "scanner")
# A diagnosis with this share of its people in one place is confounded with it.
NEARLY_ALL = 0.9


def spread_people(labels: pd.DataFrame, trait: str) -> pd.DataFrame:
    """One row a person, diagnosis and value of a trait: columns person_id, dx, value (`unknown` where empty).

    A person has one sex, but may have been scanned at several sites.
    """
    volumes = mark_diagnosed(labels)
    if trait in PLACES:
        places = name_scanners(volumes) if trait == "scanner" else volumes[trait]
        rows = volumes[["person_id", "dx"]].assign(value=places).drop_duplicates()
        is_known = (rows["value"] != "").groupby([rows["person_id"], rows["dx"]]).transform("any")
        rows = rows[(rows["value"] != "") | ~is_known]
    else:
        rows = list_people(volumes, "dx")
        rows["value"] = name_age_bands(rows["age_years"]) if trait == "age band" else rows[trait]
    rows = rows[["person_id", "dx", "value"]]
    return rows.assign(value=rows["value"].replace("", UNKNOWN).fillna(UNKNOWN)).reset_index(drop=True)


def build_bias(results: Results) -> PrintedTable:
    """People of each diagnosis by sex, age band, race, ethnicity and scanner, with their share of it."""
    labels = results.read("labels")
    title = "Who is represented, by diagnosis: people (share of the diagnosis)"
    if labels is None:
        return explain_table("card_bias", title, "Trait")
    frames = []
    notes = ["-: nobody. A person whose diagnosis or scanner changes between visits counts in each."]
    for trait in TRAITS:
        spread = spread_people(labels, trait)
        frame = _count_values(spread, labels)
        frame.insert(0, "Trait", trait)
        frames.append(frame)
        if (spread["value"] == UNKNOWN).all():
            n_people = spread["person_id"].nunique()
            notes.append(f"{trait}: n/a, known of nobody (N = 0 of {n_people:,} people).")
    return PrintedTable("card_bias", title, pd.concat(frames, ignore_index=True), LABELS_PATH, notes)


def build_bias_sites(results: Results) -> PrintedTable:
    """People of each diagnosis at each site, with their share of the diagnosis."""
    labels = results.read("labels")
    title = "Sites within each diagnosis: people (share of the diagnosis)"
    if labels is None:
        return explain_table("card_bias_sites", title, "Site")
    frame = _count_values(spread_people(labels, "site"), labels).rename(columns={"Value": "Site"})
    return PrintedTable("card_bias_sites", title, frame, LABELS_PATH, ["-: nobody."])


def _count_values(spread: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """A value a row, a diagnosis a column; a diagnosis that nobody has is n/a."""
    counts = pd.crosstab(spread["value"], spread["dx"])
    order = [name for name in AGE_BANDS if name in counts.index]
    order += sorted(set(counts.index) - {*order, UNKNOWN})
    counts = counts.loc[[*order, UNKNOWN] if UNKNOWN in counts.index else order]
    totals = spread.groupby("dx")["person_id"].nunique()
    frame = pd.DataFrame({"Value": counts.index})
    for dx in (*list_classes(labels), UNKNOWN):
        if dx in counts:
            frame[dx] = [f"{n:,} ({n / totals[dx]:.0%})" if n else "-" for n in counts[dx]]
        elif dx != UNKNOWN:
            frame[dx] = NOBODY
    return frame


def build_places(results: Results) -> PrintedTable:
    """How many cohorts, sites, vendors and scanners each diagnosis comes from, and the largest's share."""
    labels = results.read("labels")
    title = "Where each diagnosis comes from (people)"
    if labels is None:
        return explain_table("card_places", title, "Diagnosis")
    spreads = {place: spread_people(labels, place) for place in PLACES}
    counted = spreads["cohort"].groupby("dx")["person_id"].nunique()
    rows = []
    for dx in (*list_classes(labels), UNKNOWN):
        n_people = int(counted.get(dx, 0))
        if dx == UNKNOWN and not n_people:
            continue
        row = {"Diagnosis": dx, "People": f"{n_people:,}" if n_people else NOBODY}
        for place, spread in spreads.items():
            row |= _describe_largest(place, spread[spread["dx"] == dx], row["People"])
        rows.append(row)
    return PrintedTable("card_places", title, pd.DataFrame(rows), LABELS_PATH, describe_places(labels))


def _describe_largest(place: str, spread: pd.DataFrame, reason: str) -> dict[str, str]:
    """The two cells of one diagnosis and place; `reason` is given where nobody has the diagnosis."""
    heads = f"{place.capitalize()}{LEVELS}number", f"{place.capitalize()}{LEVELS}largest"
    known = spread[spread["value"] != UNKNOWN]
    n_people, n_known = spread["person_id"].nunique(), known["person_id"].nunique()
    if n_people and not n_known:
        reason = f"n/a: no {place} is known (N = 0)"
    if not n_known:
        return dict.fromkeys(heads, reason)
    counts = known["value"].value_counts().sort_index()
    largest = f"{counts.idxmax()} ({counts.max() / n_known:.0%} of {n_known:,})"
    return dict(zip(heads, (f"{len(counts):,}", largest), strict=True))


def describe_places(labels: pd.DataFrame) -> list[str]:
    """A sentence for each place that is unknown, and for each diagnosis that sits in one."""
    sentences, spreads = [], {}
    for place in PLACES:
        spread = spread_people(labels, place)
        known = spread[spread["value"] != UNKNOWN]
        n_known, n_people = known["person_id"].nunique(), spread["person_id"].nunique()
        if not n_known:
            sentences.append(f"No {place} is known (N = 0 of {n_people:,} people).")
        elif known["value"].nunique() == 1:
            whose = "Everybody" if n_known == n_people else f"Everybody whose {place} is known"
            sentences.append(
                f"{whose} (N = {n_known:,} of {n_people:,} people) comes from one {place} "
                f"({known['value'].iloc[0]}): whether anything holds elsewhere, this run cannot tell."
            )
        else:
            spreads[place] = spread
    return sentences + [line for dx in list_classes(labels) for line in _describe_class(dx, spreads)]


def _describe_class(dx: str, spreads: dict[str, pd.DataFrame]) -> list[str]:
    """The sentence of one diagnosis that sits in one place of some kind, with who else comes from there."""
    shares, values, described = {}, {}, {}
    for place, spread in spreads.items():
        own = spread.loc[spread["dx"] == dx, "value"]
        counts = own[own != UNKNOWN].value_counts().sort_index()
        if len(counts) and counts.max() >= NEARLY_ALL * counts.sum():
            shares[place], values[place] = counts.max() / counts.sum(), counts.idxmax()
            parts = [values[place]] + ([f"{shares[place]:.0%}"] if len(counts) > 1 else [])
            n_unknown = int((own == UNKNOWN).sum())
            parts += [f"not known of {n_unknown:,}"] if n_unknown else []
            described[place] = f"one {place} ({', '.join(parts)})"
    if not described:
        return []
    if shares.get("scanner") == shares.get("vendor"):
        described.pop("vendor", "")  # the scanner names it
    narrowest = next(place for place in ("site", "cohort", "scanner", "vendor") if place in described)
    spread = spreads[narrowest]
    n_people = spread.loc[spread["dx"] == dx, "person_id"].nunique()
    others = spread.loc[(spread["value"] == values[narrowest]) & ~spread["dx"].isin([dx, UNKNOWN]), "dx"]
    listed = ", ".join(f"{name} {n:,}" for name, n in others.value_counts().items())
    tail = "nobody of another diagnosis comes from there, so that it cannot be distinguished from it"
    if listed:
        tail = f"only others of that {narrowest} ({listed}) can tell the diagnosis from the place"
    alone = "alone" if min(shares.values()) == 1 else "alone, or nearly so"
    return [f"{dx} (N = {n_people:,}) comes from {', '.join(described.values())} {alone}: {tail}."]
