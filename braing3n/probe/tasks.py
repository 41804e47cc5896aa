"""What is probed: the paper's 23 tasks as one table, binary disease pairs, and planted controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from braing3n.core.contracts import OWN

if TYPE_CHECKING:
    import pandas as pd

SLICES = ("all", "T1", "T1c", "T2", "FLAIR", "patient-pooled")
CONTROL_PREFIX = "control_"
# Age and sex, site and scanner: columns of the label table, and their names in tables of others.
KNOWN = {
    "age_years": ("age_years", "age"),
    "sex": ("sex", "gender"),
    "site": ("site", "site_id"),
    "vendor": ("vendor", "manufacturer"),
    "field_strength_t": ("field_strength_t", "field_strength", "magneticfieldstrength"),
    "modality": ("modality", "contrast"),
}


@dataclass(frozen=True)
class Task:
    """One label to read from features.

    Attributes:
        key: name in every table.
        title: the row's name in Table 6 of the paper (for other sources, in ours).
        column: the label table's column.
        kind: "classification" or "regression".
        classes: (class, raw values) pairs, compared without case; empty: every value is a class.
        other: the class of every other value that is given; empty: such values are left out.
        round_to: round numbers to multiples of this before they are compared; 0: as they are.
        n_top: keep only this many classes, those with most people; 0: all.
        slices: the slices that are probed.
        provenance: where the classes come from: "given" by the paper, "derived" from it, or "chosen".
        source: "paper", "pair" (a binary disease contrast), "own" (a column that the configuration names) or
            "control" (planted by a phantom).
    """

    key: str
    title: str
    column: str
    kind: str = "classification"
    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    other: str = ""
    round_to: float = 0.0
    n_top: int = 0
    slices: tuple[str, ...] = SLICES
    provenance: str = "chosen"
    source: str = "paper"

    def is_read_from(self, column: str) -> bool:
        """Whether a column of age and sex, site and scanner is the task's own, perhaps under another name."""
        name = self.column.removeprefix(OWN).strip().casefold()
        return column == self.column or name in KNOWN.get(column, ())

    def read_target(self, labels: pd.DataFrame) -> pd.Series:
        """The target of each row: class names ('' where unknown), or floats (NaN where unknown)."""
        import pandas as pd

        if self.column not in labels:
            missing = float("nan") if self.kind == "regression" else ""
            return pd.Series(missing, index=labels.index)
        if self.kind == "regression":
            return pd.to_numeric(labels[self.column], errors="coerce").astype(float)
        raw = labels[self.column]
        if self.round_to:
            raw = (pd.to_numeric(raw, errors="coerce") / self.round_to).round() * self.round_to
        text = raw.map(lambda value: "" if pd.isna(value) else _as_text(value))
        if self.classes:
            known = {value.casefold(): name for name, values in self.classes for value in values}
            text = text.map(lambda value: known.get(value.casefold(), self.other if value else ""))
        if self.n_top:
            n_people = labels[text != ""].groupby(text[text != ""])["person_id"].nunique()
            order = sorted(n_people.index, key=lambda name: (-n_people[name], name))
            text = text.where(text.isin(order[: self.n_top]), "")
        return text


def _as_text(value: object) -> str:
    """A label as text; whole floats lose their '.0', so that 4.0 and '4' are one grade."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _classes(*names: str, **values: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, (name,)) for name in names) + tuple(values.items())


_DISEASES = ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "GBM", "Glioma")
_NO_T1C = ("all", "T1", "T2", "FLAIR", "patient-pooled")
_T1_ONLY = ("all", "T1", "patient-pooled")

# Class maps are ours (the paper gives only their number); slices are those that Table 6 reports.
PAPER_TASKS = (
    Task("disease", "Disease (8-way, AUC)", "dx", classes=_classes(*_DISEASES), provenance="derived"),
    Task("sex", "Sex (AUC)", "sex", classes=_classes("F", "M"), provenance="given"),
    Task(
        "modality", "Modality (4-way, AUC)", "modality", slices=("all", "patient-pooled"), provenance="given"
    ),
    Task("site", "Site (19-way, AUC)", "site", n_top=19),
    Task(
        "field_strength",
        "Field strength (binary, AUC)",
        "field_strength_t",
        classes=(("1.5 T", ("1.5",)), ("3 T", ("3",))),
        round_to=0.5,
        slices=_T1_ONLY,
    ),
    Task(
        "handedness",
        "Handedness (binary, AUC)",
        "handedness",
        classes=_classes(right=("R", "right"), left=("L", "left")),
        slices=_NO_T1C,
    ),
    Task(
        "ethnicity",
        "Ethnicity (binary, AUC)",
        "ethnicity",
        classes=(
            ("Hispanic", ("Hispanic", "Hispanic or Latino", "Hisp/Latino", "Hispanic/Latino")),
            (
                "not Hispanic",
                ("not Hispanic", "Not Hispanic or Latino", "Not Hisp/Latino", "Not Hispanic/Latino"),
            ),
        ),
        slices=_NO_T1C,
    ),
    Task(
        "apoe_e4",
        "APOE e4 carrier (binary, AUC)",
        "apoe",
        classes=(("carrier", ("E2/E4", "E3/E4", "E4/E4")), ("non-carrier", ("E2/E2", "E2/E3", "E3/E3"))),
        slices=_NO_T1C,
        provenance="given",
    ),
    Task(
        "apoe_genotype",
        "APOE genotype (3-way, AUC)",
        "apoe",
        classes=_classes("E3/E3", "E3/E4", "E4/E4"),
        slices=_NO_T1C,
    ),
    Task("race", "Race (binary, AUC)", "race", classes=_classes("White"), other="other", slices=_NO_T1C),
    Task(
        "vendor",
        "Scanner vendor (binary, AUC)",
        "vendor",
        classes=(("Siemens", ("Siemens", "Siemens Healthineers")),),
        other="other",
        slices=_T1_ONLY,
    ),
    Task("idh1", "IDH1 mutation (AUC)", "idh1", classes=_classes("wildtype", "mutant"), provenance="given"),
    Task(
        "mgmt",
        "MGMT methylation (AUC)",
        "mgmt",
        classes=_classes("unmethylated", "methylated"),
        provenance="given",
    ),
    Task("grade", "Tumor grade (3-way, AUC)", "grade", classes=_classes("2", "3", "4")),
    Task(
        "cdr_stage",
        "CDR staging (5-way, AUC)",
        "cdr",
        classes=_classes("0", "0.5", "1", "2", "3"),
        slices=_T1_ONLY,
        provenance="derived",
    ),
    Task("age", "Brain age", "age_years", "regression", provenance="given"),
    Task("mmse", "MMSE", "mmse", "regression", provenance="given"),
    Task("cdr", "CDR continuous", "cdr", "regression", slices=_T1_ONLY, provenance="given"),
    Task("moca", "MoCA", "moca", "regression", provenance="given"),
    Task("education", "Education years", "education_years", "regression", provenance="given"),
    Task("gds", "GDS depression", "gds", "regression", provenance="given"),
    Task("updrs3", "UPDRS-III", "updrs3", "regression", provenance="given"),
    Task("scopa", "SCOPA autonomic", "scopa", "regression", provenance="given"),
)


def list_tasks(labels: pd.DataFrame, columns: Mapping[str, str] | None = None) -> list[Task]:
    """The paper's 23 tasks, healthy people against each disease, own columns, and the controls of `labels`.

    columns: own column -> classification or regression.
    """
    import pandas as pd

    pairs = [("HC", name) for name in (*_DISEASES[1:], "ADHD")] + [("MCI", "AD")]
    tasks = list(PAPER_TASKS)
    for first, second in pairs:
        slices = ("all", "T1c") if second in ("GBM", "Glioma") else ("all", "T1")
        key, title = f"{first}_vs_{second}".lower(), f"{first} vs {second} (AUC)"
        tasks.append(Task(key, title, "dx", classes=_classes(first, second), slices=slices, source="pair"))
    for name, kind in (columns or {}).items():
        title = name if kind == "regression" else f"{name} (own column, AUC)"
        tasks.append(Task(OWN + name, title, OWN + name, kind, source="own"))
    for column in sorted(name for name in labels.columns if name.startswith(CONTROL_PREFIX)):
        title = f"Control: {column.removeprefix(CONTROL_PREFIX).replace('_', ' ')}"
        if pd.api.types.is_numeric_dtype(labels[column]):
            tasks.append(Task(column, title, column, "regression", slices=("all",), source="control"))
        else:
            classes = _classes("control", "case")
            tasks.append(Task(column, title, column, classes=classes, slices=("all",), source="control"))
    return tasks
