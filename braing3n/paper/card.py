"""The dataset card and the bias card: who and what a run holds, and where a class hangs on one site."""

from __future__ import annotations

import pandas as pd

from braing3n.cohort import list_cohorts, load_cohort
from braing3n.contracts import TASK_COLUMNS
from braing3n.paper.results import Results, explain_missing
from braing3n.paper.tables import Table

AGE_BANDS_YEARS = (0, 18, 40, 60, 75, 130)
BAND_NAMES = ("under 18", "18-39", "40-59", "60-74", "75 and over")
UNKNOWN = "unknown"
# Fields whose coverage is told, beside the tasks' own columns.
FIELDS = ("age_years", "sex", "dx", "site", "vendor", "field_strength_t", *TASK_COLUMNS)
TRAITS = ("sex", "age band", "race", "ethnicity", "vendor")
LABELS_PATH = "manifest/labels.parquet"


def build_coverage(results: Results) -> Table:
    """Metadata coverage: the share of each cohort's volumes for which a field is known."""
    labels = results.read("labels")
    title = "Metadata coverage (share of volumes)"
    if labels is None:
        return _missing("card_coverage", title, ["Field"])
    known = pd.DataFrame({name: labels[name].notna() & (labels[name] != "") for name in FIELDS})
    shares = known.groupby(labels["cohort"]).mean().T
    shares.insert(0, "all", known.mean())
    frame = shares.map(lambda share: f"{share:.0%}").rename_axis("Field").reset_index()
    frame.columns = [str(name) for name in frame.columns]
    return Table("card_coverage", title, frame, LABELS_PATH)


def build_cohorts(results: Results) -> Table:
    """Each cohort's people, follow-up, ages, sites, licence and source."""
    labels = results.read("labels")
    title = "Cohorts"
    if labels is None:
        return _missing("card_cohorts", title, ["Cohort"])
    rows = []
    for key, part in labels.groupby("cohort", sort=True):
        visits = part.groupby("person_id")["session_id"].nunique()
        ages = part["age_years"].dropna()
        declared = load_cohort(key) if key in list_cohorts() else None
        nothing = "n/a: the cohort's key is not the name of a file in cohorts/"
        rows.append(
            {
                "Cohort": key,
                "People": f"{len(visits):,}",
                "Followed up": f"{int((visits > 1).sum()):,}",
                "Volumes": f"{len(part):,}",
                "Age (years)": f"{ages.min():.0f}-{ages.max():.0f}" if len(ages) else "n/a: no age is known",
                "Sites": f"{part.loc[part['site'] != '', 'site'].nunique():,}",
                "Licence": declared.licence if declared else nothing,
                "Source": declared.source if declared else nothing,
            }
        )
    return Table("card_cohorts", title, pd.DataFrame(rows), LABELS_PATH)


def build_bias(results: Results) -> Table:
    """Who is represented within each diagnosis, in people, and how many sites and cohorts they come from."""
    labels = results.read("labels")
    title = "Who is represented, by diagnosis (people)"
    if labels is None:
        return _missing("card_bias", title, ["Trait", "Value"])
    people = labels.drop_duplicates("person_id").copy()
    people["age band"] = pd.cut(people["age_years"], AGE_BANDS_YEARS, right=False, labels=BAND_NAMES).astype(
        object
    )
    people["dx"] = people["dx"].replace("", UNKNOWN)
    counts = []
    for trait in TRAITS:
        values = people[trait].replace("", UNKNOWN).fillna(UNKNOWN)
        table = pd.crosstab(values, people["dx"])
        order = [name for name in BAND_NAMES if name in table.index] if trait == "age band" else []
        order += sorted(name for name in table.index if name not in (*order, UNKNOWN))
        order += [UNKNOWN] if UNKNOWN in table.index else []
        table = table.loc[order].astype(str)
        table.insert(0, "Value", table.index)
        table.insert(0, "Trait", trait)
        counts.append(table)
    places, notes = _count_places(people)
    frame = pd.concat([*counts, places], ignore_index=True)
    return Table("card_bias", title, frame, LABELS_PATH, notes)


def _count_places(people: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Sites and cohorts of each diagnosis, and a sentence for each diagnosis that sits in one place."""
    rows, notes = [], []
    for trait in ("site", "cohort"):
        known = people[people[trait] != ""]
        n_places = known.groupby("dx")[trait].nunique()
        rows.append(
            {"Trait": trait, "Value": "how many"} | {dx: str(n_places.get(dx, 0)) for dx in set(people["dx"])}
        )
        alone = n_places.index[n_places == 1] if known[trait].nunique() > 1 else []
        for dx in sorted(alone):
            place = known.loc[known["dx"] == dx, trait].iloc[0]
            notes.append(f"{dx} comes from one {trait} alone ({place}): it cannot be told apart from it.")
    return pd.DataFrame(rows), notes


def _missing(name: str, title: str, columns: list[str]) -> Table:
    frame = pd.DataFrame([[explain_missing("labels")] * len(columns)], columns=columns)
    return Table(name, title, frame, LABELS_PATH)
