"""What is known of a run's volumes: diagnoses, ages and metadata, ours beside the paper's."""

from __future__ import annotations

import pandas as pd

from braing3n.core.contracts import TASK_COLUMNS
from braing3n.paper.card.card import LABELS_PATH, explain_table
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.paper.published import read_published
from braing3n.paper.results import Results

UNKNOWN = "unknown"
NOBODY = "n/a: nobody of this run has the diagnosis (N = 0); where it is from stands in disease coverage"
# What belongs to a person, not to a visit.
PERSONAL = ("sex", "race", "ethnicity")
# Fields whose coverage is reported, beside the tasks' own columns.
FIELDS = ("age_years", "sex", "dx", "site", "vendor", "field_strength_t", *TASK_COLUMNS)
# Fields that the paper also gives within the diagnoses that they belong to.
WITHIN = {
    "cdr": ("AD", "MCI"),
    "mmse": ("AD", "MCI"),
    "grade": ("GBM", "Glioma"),
    "idh1": ("GBM", "Glioma"),
    "mgmt": ("GBM", "Glioma"),
}


def list_classes(labels: pd.DataFrame) -> list[str]:
    """The paper's diagnoses in its order, then other ones of the run; without the unknown."""
    published = list(read_published()["disease_coverage"])
    return published + sorted(set(labels["dx"]) - {"", *published})


def explain_absent(dx: str, ours: set[str]) -> str:
    """The cell of a diagnosis that no volume has: which of the paper's cohorts have it."""
    homes = [row for row in read_published()["table_3"] if dx in row["diagnoses"].split(", ")]
    described = [
        f"{row['cohort']}{' (in this run, without it)' if row['key'] in ours else ''}" for row in homes
    ]
    return f"n/a: no {dx} (N = 0); in the paper it comes from {', '.join(described)}"


def list_people(volumes: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """One row a person (and each of `keys`): the earliest age, and of `PERSONAL` the first that is known."""
    ordered = volumes.sort_values(["age_years", "volume_id"], kind="stable")
    texts = ordered[list(PERSONAL)]
    described = texts.where(texts != "").assign(age_years=ordered["age_years"])
    people = described.groupby([ordered["person_id"], *(ordered[key] for key in keys)], sort=True).first()
    return people.reset_index().fillna(dict.fromkeys(PERSONAL, ""))


def mark_diagnosed(labels: pd.DataFrame) -> pd.DataFrame:
    """The volumes of a known diagnosis, and as `unknown` those of people of whom none is known."""
    is_known = labels["dx"] != ""
    is_other = ~labels["person_id"].isin(labels.loc[is_known, "person_id"])
    chosen = labels[is_known | is_other]
    return chosen.assign(dx=chosen["dx"].replace("", UNKNOWN))


def build_diseases(results: Results) -> PrintedTable:
    """People and volumes of each diagnosis, ours beside the paper's; an absent one says why."""
    labels = results.read("labels")
    title, name = "Disease coverage", "card_diseases"
    if labels is None:
        return explain_table(name, title, "Diagnosis")
    published, ours = read_published()["disease_coverage"], set(labels["cohort"])
    grouped = labels.groupby("dx")["person_id"].agg(["nunique", "size"])
    rows = []
    for dx in list_classes(labels):
        n_people, n_volumes = grouped.loc[dx] if dx in grouped.index else (0, 0)
        row = {"Diagnosis": dx}
        row["People"] = f"{n_people:,}" if n_people else explain_absent(dx, ours)
        row[f"Volumes{LEVELS}ours"] = f"{n_volumes:,}" if n_volumes else explain_absent(dx, ours)
        paper = f"{int(published[dx]):,}" if dx in published else "n/a: not a diagnosis of the paper"
        row[f"Volumes{LEVELS}paper"] = paper
        rows.append(row)
    n_people, n_volumes = grouped.loc[""] if "" in grouped.index else (0, 0)
    n_unknown = int(read_published()["table_3"][-1]["volumes"]) - sum(map(int, published.values()))
    row = {"Diagnosis": UNKNOWN, "People": f"{n_people:,}", f"Volumes{LEVELS}ours": f"{n_volumes:,}"}
    rows.append(row | {f"Volumes{LEVELS}paper": f"{n_unknown:,}"})
    notes = ["A person whose diagnosis changes between visits counts in each."]
    notes.append("The paper's unknown: its total less the sum of its classes.")
    return PrintedTable(name, title, pd.DataFrame(rows), LABELS_PATH, notes)


def build_diseases_by_cohort(results: Results) -> PrintedTable:
    """People and volumes of each diagnosis in each cohort."""
    labels = results.read("labels")
    title, name = "Diagnoses by cohort: people / volumes", "card_diseases_by_cohort"
    if labels is None:
        return explain_table(name, title, "Cohort")
    grouped = labels.groupby(["cohort", "dx"])["person_id"].agg(["nunique", "size"])
    cells = {key: f"{row['nunique']:,} / {row['size']:,}" for key, row in grouped.iterrows()}
    classes = {dx: dx for dx in list_classes(labels)} | {"": UNKNOWN}
    absent = dict.fromkeys(set(classes) - set(labels["dx"]) - {""}, NOBODY)
    rows = [
        {"Cohort": key} | {head: cells.get((key, dx), absent.get(dx, "-")) for dx, head in classes.items()}
        for key in sorted(set(labels["cohort"]))
    ]
    return PrintedTable(name, title, pd.DataFrame(rows), LABELS_PATH, ["-: none in this cohort."])


def measure_coverage(labels: pd.DataFrame) -> pd.DataFrame:
    """Whether each volume's field is known; columns are `FIELDS`."""
    return pd.DataFrame({name: labels[name].notna() & (labels[name] != "") for name in FIELDS})


def build_coverage(results: Results) -> PrintedTable:
    """Metadata coverage: the share of volumes for which a field is known, ours beside the paper's."""
    labels = results.read("labels")
    title = "Metadata coverage (share of volumes for which a field is known)"
    if labels is None:
        return explain_table("card_coverage", title, "Field")
    published, known = read_published()["metadata_coverage"], measure_coverage(labels)
    by_cohort = known.groupby(labels["cohort"]).mean()
    rows = []
    for field in FIELDS:
        n_people = labels.loc[known[field], "person_id"].nunique()
        row = {"Field": field, f"All{LEVELS}ours": f"{known[field].mean():.0%}"}
        row[f"All{LEVELS}people"] = f"{n_people:,}"
        row[f"All{LEVELS}paper"] = published.get(field, "n/a: the paper does not give it")
        rows.append(row | {key: f"{share:.0%}" for key, share in by_cohort[field].items()})
        if field in WITHIN:
            rows.append(_cover_within(labels, known[field], WITHIN[field]))
    return PrintedTable("card_coverage", title, pd.DataFrame(rows), LABELS_PATH)


def _cover_within(labels: pd.DataFrame, known: pd.Series, group: tuple[str, ...]) -> dict[str, str]:
    """The row of one field within some diagnoses."""
    field = f"{known.name} ({', '.join(group)})"
    inside = labels["dx"].isin(group)
    absent = f"n/a: no volume of {' or '.join(group)} (N = 0)"
    shares = known[inside].groupby(labels.loc[inside, "cohort"]).mean()
    row = {"Field": field, f"All{LEVELS}ours": f"{known[inside].mean():.0%}" if inside.any() else absent}
    row[f"All{LEVELS}people"] = f"{labels.loc[known & inside, 'person_id'].nunique():,}"
    row[f"All{LEVELS}paper"] = read_published()["metadata_coverage"][field]
    return row | {
        key: f"{shares[key]:.0%}" if key in shares else absent for key in sorted(set(labels["cohort"]))
    }


def build_ages(results: Results) -> PrintedTable:
    """Ages of people at their first visit, by cohort and diagnosis."""
    labels = results.read("labels")
    title = "Ages at the first visit (years)"
    if labels is None:
        return explain_table("card_ages", title, "Cohort")
    people = list_people(labels, "cohort")
    parts = [("all", "all", list_people(labels))]
    for cohort, part in labels.groupby("cohort", sort=True):
        parts.append((cohort, "all", people[people["cohort"] == cohort]))
        diagnosed = list_people(mark_diagnosed(part), "dx")
        order = [dx for dx in (*list_classes(part), UNKNOWN) if dx in set(diagnosed["dx"])]
        if len(order) > 1:
            parts += [(cohort, dx, diagnosed[diagnosed["dx"] == dx]) for dx in order]
    rows = [{"Cohort": cohort, "Diagnosis": dx, **_describe_ages(part)} for cohort, dx, part in parts]
    notes = [f"The paper: {read_published()['corpus']['ages_years']} years.", "SD: standard deviation."]
    notes.append("Diagnoses are listed where a cohort has several.")
    return PrintedTable("card_ages", title, pd.DataFrame(rows), LABELS_PATH, notes)


def _describe_ages(people: pd.DataFrame) -> dict[str, str]:
    ages = people["age_years"].dropna()
    row = {"People": f"{len(people):,}", "With age": f"{len(ages):,}"}
    if not len(ages):
        reason = "n/a: no age is known (N = 0)"
        return row | dict.fromkeys(("Mean (SD)", "Median (quartiles)", "Range"), reason)
    low, middle, high = ages.quantile([0.25, 0.5, 0.75])
    spread = f"{ages.std():.1f}" if len(ages) > 1 else "-"
    row["Mean (SD)"] = f"{ages.mean():.1f} ({spread})"
    row["Median (quartiles)"] = f"{middle:.1f} ({low:.1f}-{high:.1f})"
    return row | {"Range": f"{ages.min():.1f}-{ages.max():.1f}"}
