"""The dataset card: what each cohort of a run holds, beside what it was expected to hold, and its terms."""

from __future__ import annotations

import pandas as pd

from braing3n.cohort import Cohort, list_cohorts, load_cohort
from braing3n.core.contracts import MODALITIES
from braing3n.manifest.counts import list_warnings
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.paper.published import read_published
from braing3n.paper.results import Results, explain_missing

LABELS_PATH = "manifest/labels.parquet"
DAYS_PER_YEAR = 365.25


def explain_table(name: str, title: str, column: str, missing: str = "labels") -> PrintedTable:
    """A table that only says which result is not there."""
    frame = pd.DataFrame([{column: explain_missing(missing)}])
    return PrintedTable(name, title, frame, LABELS_PATH)


def find_declared(results: Results, key: str) -> Cohort | None:
    """The cohort file that read a cohort of the run, or None where it is unknown."""
    counts = results.read("counts")
    kinds = {} if counts is None else dict(zip(counts["cohort"], counts["kind"], strict=True))
    kind = kinds.get(key, key)
    return load_cohort(kind) if kind in list_cohorts() else None


def build_cohorts(results: Results) -> PrintedTable:
    """Each cohort's people, volumes, follow-up, ages and sites."""
    labels = results.read("labels")
    title = "Cohorts"
    if labels is None:
        return explain_table("card_cohorts", title, "Cohort")
    rows = []
    for key, part in labels.groupby("cohort", sort=True):
        visits = part.groupby("person_id")["session_id"].nunique()
        ages = part["age_years"].dropna()
        n_sites = part.loc[part["site"] != "", "site"].nunique()
        rows.append(
            {
                "Cohort": key,
                "People": f"{len(visits):,}",
                "Followed up": f"{int((visits > 1).sum()):,}",
                "Volumes": f"{len(part):,}",
                "Age (years)": f"{ages.min():.0f}-{ages.max():.0f}" if len(ages) else _explain_unknown("age"),
                "Sites": f"{n_sites:,}" if n_sites else _explain_unknown("site"),
            }
        )
    return PrintedTable("card_cohorts", title, pd.DataFrame(rows), LABELS_PATH)


def _explain_unknown(what: str) -> str:
    return f"n/a: no {what} is known (N = 0)"


def build_counts(results: Results) -> PrintedTable:
    """Found against expected: a cohort beyond the tolerance is warned of in the notes."""
    counts = results.read("counts")
    title, name = "Found against expected", "card_counts"
    if counts is None:
        return explain_table(name, title, "Cohort", "counts")
    rows = []
    for row in counts.itertuples():
        cells = {"Cohort": row.cohort}
        for quantity in ("volumes", "people"):
            wanted = (
                f"n/a: {row.note}" if row.verdict == "n/a" else f"{getattr(row, f'expected_{quantity}'):,}"
            )
            cells[f"{quantity.capitalize()}{LEVELS}found"] = f"{getattr(row, f'n_{quantity}'):,}"
            cells[f"{quantity.capitalize()}{LEVELS}expected"] = wanted
        cells["Within the tolerance"] = {"met": "yes", "not met": "no"}.get(row.verdict, f"n/a: {row.note}")
        rows.append(cells)
    notes = [f"Warning: {sentence}" for sentence in list_warnings(counts)]
    return PrintedTable(name, title, pd.DataFrame(rows), "manifest/counts.parquet", notes)


def build_terms(results: Results) -> PrintedTable:
    """Licence, access, source and citation of the run's cohorts, then of the paper's other ones."""
    labels = results.read("labels")
    ours = [] if labels is None else sorted(set(labels["cohort"]))
    others = [row["key"] for row in read_published()["table_3"] if row["key"] not in (*ours, "total")]
    rows = []
    for key in [*ours, *others]:
        declared = find_declared(results, key)
        row = {"Cohort": key, "In this run": "yes" if key in ours else "no"}
        nothing = "n/a: the cohort's key is not the name of a file in cohorts/"
        row |= dict.fromkeys(("Licence", "Access", "Source", "Citation"), nothing)
        if declared is not None:
            row["Licence"], row["Source"], row["Citation"] = (
                declared.licence,
                declared.source,
                declared.citation,
            )
            row["Access"] = declared.access or "n/a: not in the cohort's specification"
        rows.append(row)
    return PrintedTable("card_terms", "Licences and access", pd.DataFrame(rows), LABELS_PATH)


def build_modalities(results: Results) -> PrintedTable:
    """Volumes and people of each modality, by cohort."""
    labels = results.read("labels")
    title = "Modalities by cohort: volumes (people)"
    if labels is None:
        return explain_table("card_modalities", title, "Cohort")
    parts = [*labels.groupby("cohort", sort=True), ("all", labels)]
    rows = []
    for key, part in parts:
        row = {"Cohort": key}
        for name in MODALITIES:
            chosen = part[part["modality"] == name]
            row[name] = f"{len(chosen):,} ({chosen['person_id'].nunique():,})" if len(chosen) else "-"
        rows.append(row)
    notes = ["-: none. A person who is in two cohorts counts in both, and once in all."]
    return PrintedTable("card_modalities", title, pd.DataFrame(rows), LABELS_PATH, notes)


def build_follow_up(results: Results) -> PrintedTable:
    """People who were scanned more than once: visits, and years from the first to the last."""
    labels = results.read("labels")
    title = "Followed-up people"
    if labels is None:
        return explain_table("card_follow_up", title, "Cohort")
    visits = _measure_visits(labels)
    rows = [_describe_visits(key, part) for key, part in visits.groupby("cohort", sort=True)]
    notes = [
        "A visit is a session; visits of one person in two cohorts are not counted as a follow-up.",
        "Span: from dates of scans, else from ages where these differ between visits.",
        f"The paper: {int(read_published()['corpus']['followed_up']):,} people with several visits.",
    ]
    followed = visits[visits["n_visits"] > 1]["person_id"].nunique()
    notes.insert(0, f"All cohorts: {followed:,} of {visits['person_id'].nunique():,} people.")
    return PrintedTable("card_follow_up", title, pd.DataFrame(rows), LABELS_PATH, notes)


def _measure_visits(labels: pd.DataFrame) -> pd.DataFrame:
    """One row a person and cohort: `n_visits`, and `span_years` where dates or ages give it."""
    dates = labels["scan_date"] if "scan_date" in labels else pd.Series("", index=labels.index)
    days = pd.to_datetime(dates, errors="coerce", format="ISO8601")
    grouped = labels.assign(day=days).groupby(["cohort", "person_id"])
    visits = grouped["session_id"].nunique().rename("n_visits").reset_index()
    spans = grouped.agg(
        d0=("day", "min"), d1=("day", "max"), a0=("age_years", "min"), a1=("age_years", "max")
    )
    by_date = (spans["d1"] - spans["d0"]).dt.days.where(grouped["day"].nunique() > 1) / DAYS_PER_YEAR
    by_age = (spans["a1"] - spans["a0"]).where(lambda years: years > 0)
    visits["span_years"] = by_date.where(by_date > 0, by_age.where(by_age > 0)).to_numpy()
    return visits


def _describe_visits(key: str, visits: pd.DataFrame) -> dict[str, str]:
    several = visits[visits["n_visits"] > 1]
    spans = several["span_years"].dropna()
    row = {"Cohort": key, "People": f"{len(visits):,}", "Followed up": f"{len(several):,}"}
    if not len(several):
        nobody = "n/a: nobody was scanned at two visits (N = 0)"
        return row | {"Visits, median (most)": nobody, "Span in years, median (range), n": nobody}
    row["Visits, median (most)"] = f"{several['n_visits'].median():g} ({several['n_visits'].max()})"
    unknown = "n/a: neither dates nor ages give the span (N = 0)"
    row["Span in years, median (range), n"] = (
        f"{spans.median():.1f} ({spans.min():.1f}-{spans.max():.1f}), n {len(spans):,}"
        if len(spans)
        else unknown
    )
    return row


def name_scanners(labels: pd.DataFrame) -> pd.Series:
    """Vendor and field strength as one text, such as `GE 3 T`; empty where neither is known."""
    field = labels["field_strength_t"].round(2)
    strengths = {value: f"{value:g} T" for value in field.dropna().unique()}
    return (labels["vendor"] + " " + field.map(strengths).fillna("").astype(str)).str.strip()


def build_scanners(results: Results) -> PrintedTable:
    """How many sites, and which scanners, each cohort comes from."""
    labels = results.read("labels")
    title = "Sites and scanners by cohort (people)"
    if labels is None:
        return explain_table("card_scanners", title, "Cohort")
    rows = []
    for key, part in labels.assign(scanner=name_scanners(labels)).groupby("cohort", sort=True):
        n_people = part["person_id"].nunique()
        sited = part[part["site"] != ""]
        n_sites = f"{sited['site'].nunique():,} (of {sited['person_id'].nunique():,})"
        row = {"Cohort": key, "People": f"{n_people:,}"}
        row["Sites"] = n_sites if len(sited) else _explain_unknown("site")
        for column in ("scanner", "vendor"):
            counts = part[part[column] != ""].groupby(column)["person_id"].nunique()
            counts = counts.sort_values(ascending=False, kind="stable")
            listed = ", ".join(f"{name} ({n:,})" for name, n in counts.items())
            row[f"{column.capitalize()}s"] = listed or _explain_unknown(column)
        rows.append(row)
    n_sites = labels.loc[labels["site"] != "", "site"].nunique()
    paper = read_published()["corpus"]["sites"]
    notes = [f"All cohorts: {n_sites:,} sites; the paper: {paper}."]
    notes.append("A scanner is a vendor with a field strength; a person may count in several.")
    return PrintedTable("card_scanners", title, pd.DataFrame(rows), LABELS_PATH, notes)


def build_sites(results: Results) -> PrintedTable:
    """Every site with its scanners, people and volumes."""
    labels = results.read("labels")
    title = "Every site"
    if labels is None:
        return explain_table("card_sites", title, "Cohort")
    keys = ["cohort", "site", "scanner"]
    grouped = labels.assign(scanner=name_scanners(labels)).groupby(keys, sort=True)["person_id"]
    counts = grouped.agg(["nunique", "size"]).reset_index()
    frame = pd.DataFrame(
        {
            "Cohort": counts["cohort"],
            "Site": counts["site"].replace("", "unknown"),
            "Scanner": counts["scanner"].replace("", "unknown"),
            "People": [f"{n:,}" for n in counts["nunique"]],
            "Volumes": [f"{n:,}" for n in counts["size"]],
        }
    )
    return PrintedTable("card_sites", title, frame, LABELS_PATH)


def build_exclusions(results: Results) -> PrintedTable:
    """What was left out at which stage and why, and in which cohorts."""
    flow = results.read_flow()
    title, name = "Exclusions by stage and reason (volumes)", "card_exclusions"
    if flow is None:
        return explain_table(name, title, "Stage", "flow")
    lost, whole = flow[flow["reason"] != ""], flow[flow["reason"] == ""]
    received = whole.groupby("stage", sort=False)["received"].sum()
    rows = []
    for stage, n_received in received.items():
        part = lost[lost["stage"] == stage]
        by_reason = part.groupby("reason")["excluded"].sum().sort_values(ascending=False, kind="stable")
        for reason, n in by_reason.items():
            where = part[part["reason"] == reason].sort_values("cohort")
            listed = ", ".join(f"{row.cohort} {row.excluded:,}" for row in where.itertuples())
            rows.append({"Stage": stage, "Excluded": f"{n:,}", "Reason": reason, "Cohorts": listed})
        if not len(part):
            nothing = f"n/a: nothing was left out (N = 0 of {n_received:,})"
            rows.append({"Stage": stage, "Excluded": "0", "Reason": nothing, "Cohorts": nothing})
    notes = [f"{stage}: {n:,} received." for stage, n in received.items()]
    return PrintedTable(name, title, pd.DataFrame(rows), "manifest/flow.parquet", notes)
