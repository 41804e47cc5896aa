"""Read the labels of a BIDS dataset: participants, sessions and scans tables, and the scans' sidecars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pandas as pd

from braing3n.cohort.dates import parse_date
from braing3n.cohort.records import to_number
from braing3n.cohort.tables import describe_dead_link, read_rows
from braing3n.core.contracts import TASK_COLUMNS
from braing3n.ingest.bids_tables import (
    Answer,
    LabelTable,
    find_cell,
    normalise_row,
    read_label_table,
    select_visit,
)
from braing3n.ingest.bids_values import (
    DAYS_PER_YEAR,
    DX_CODES,
    HUMAN,
    OLDEST_YEARS,
    SEX_CODES,
    decode,
    decode_hand,
    is_missing,
    parse_age,
    spell_out,
)
from braing3n.inventory.sidecars import Sidecars, describe_scanner

# Our field -> the columns that datasets call it, without case and punctuation; the first that says something
# is read.
COLUMNS = {
    "age_years": (
        *("age", "age_years", "age_yrs", "age_at_scan", "age_at_session", "age_at_visit", "ageatscan"),
        *("age_at_mri", "age_at_first_scan", "age_at_first_scan_years", "age_at_baseline", "age_baseline"),
        *("age_scan", "scan_age", "age_mri"),
    ),
    "sex": ("sex", "gender", "sex_at_birth", "biological_sex"),
    "dx": ("dx", "diagnosis", "group"),
    "site": ("site", "site_id", "scan_site"),
    "scan_date": ("acq_time",),
    "handedness": ("handedness", "hand"),
}
# Columns whose name is the unit of their ages.
AGE_UNITS = {"age_months": "months", "age_in_months": "months", "age_days": "days", "age_weeks": "weeks"}
# What lasts from visit to visit: where a visit's row is silent, the person's other rows are read.
LASTING = ("sex", "gender", "handedness", "hand", "race", "ethnicity", "apoe", "education_years")


def read_bids_records(raw_dir: Path, cohort: str, scans: pd.DataFrame) -> pd.DataFrame:
    """One record a scan; a missing row or cell leaves fields empty and a flag, never loses a volume.

    A flag names the table, the subject and the value.
    """
    dataset = Dataset(raw_dir, tuple(scans["subject_id"].unique()))
    return pd.DataFrame([dataset.read(scan) for scan in scans.itertuples()])


class Dataset:
    """The tables and sidecars of one dataset."""

    def __init__(self, raw_dir: Path, subjects: tuple[str, ...]):
        self.raw_dir, self.subjects = raw_dir, subjects
        self.people = read_label_table(raw_dir / "participants.tsv", "sub-")
        self.people.note_unread("age", (*COLUMNS["age_years"], *AGE_UNITS))
        self.people.note_unread("sex", COLUMNS["sex"])
        self.sidecars = Sidecars(raw_dir)
        self.read_visits = cache(self._read_visits)
        self.read_times = cache(read_times)

    def _read_visits(self, subject: str) -> LabelTable:
        return read_label_table(self.raw_dir / f"sub-{subject}" / f"sub-{subject}_sessions.tsv", "ses-")

    def find_acquisition_time(self, scan_path: Path, flags: list[str]) -> str:
        """A scan's `acq_time` in the `_scans.tsv` of its session or subject; empty where there is none.

        flags gains a sentence for a table that is not there to be read.
        """
        for folder in scan_path.parents[1:3]:
            for path in sorted(folder.glob("sub-*_scans.tsv")):
                if fault := describe_dead_link(path):
                    flags.append(fault)
                    continue
                text = self.read_times(path).get(scan_path.relative_to(folder).as_posix(), "")
                if not is_missing(text):
                    return text
        return ""

    def read(self, scan) -> dict:
        """The record of one scan: its visit's own cell wins over the person's."""
        labels = ScanLabels(self, scan.subject_id, scan.session_id)
        record: dict = {"volume_id": scan.volume_id}
        record |= labels.read_age()
        record |= labels.read_code("sex", partial(decode, codes=SEX_CODES))
        record |= labels.read_code("dx", partial(decode, codes=DX_CODES))
        labels.check_species()
        record |= labels.read_text("site", COLUMNS["site"])
        record |= labels.read_text("scan_date", COLUMNS["scan_date"])
        day = self.find_acquisition_time(Path(scan.path), labels.flags)
        if day:
            record |= {"scan_date": day, "scan_date_source": "scans.tsv:acq_time"}
        record["scan_date"] = labels.read_day(record["scan_date"], record["scan_date_source"])
        for name, kind in TASK_COLUMNS.items():
            record |= labels.read_number(name) if kind is float else labels.read_text(name, (name,))
        record |= labels.read_code("handedness", decode_hand)
        for name in labels.list_controls():
            record[name] = labels.find((name,)).text
        facts, faults = self.sidecars.read(Path(scan.path))
        vendor, strength_t, fault = describe_scanner(facts)
        labels.flags += [*faults, *([f"sub-{scan.subject_id}: {fault}"] if fault else [])]
        record |= {
            "vendor": vendor,
            "vendor_source": "sidecar:Manufacturer" if vendor else "",
            "field_strength_t": strength_t,
            "field_strength_t_source": "sidecar:MagneticFieldStrength" if strength_t == strength_t else "",
            "clinical_lag_days": float("nan"),
        }
        return record | {"qc_flag": "; ".join(dict.fromkeys(labels.flags))}


class ScanLabels:
    """The rows of one scan's person and visit, and the flags of what they say."""

    def __init__(self, dataset: Dataset, subject: str, session: str):
        self.subject, self.people, self.visits = subject, dataset.people, dataset.read_visits(subject)
        name, remark = self.people.match(subject, dataset.subjects)
        self.all_rows = self.people.rows.get(name, [])
        self.flags = [*self.people.faults, *self.visits.faults, *([remark] if remark else [])]
        if self.people.rows and not self.all_rows:
            self.flags.append(self.people.explain_no_row(subject))
        self.person = self.all_rows
        if self.people.has_visits:
            self.person = select_visit(self.all_rows, session)
            if self.all_rows and not self.person:
                self.flags.append(f"{self.people.name}: no row of sub-{subject} is of session '{session}'")
        self.visit = select_visit(self.visits.rows.get("", []), session) if session else []

    def find(self, names: tuple[str, ...]) -> Answer:
        """The first cell that is not missing, of the visit before the person; contradictions are flagged."""
        asked = [(self.visits, self.visit), (self.people, self.person)]
        if any(name in LASTING for name in names):
            asked.append((self.people, self.all_rows))
        for table, rows in asked:
            answer = find_cell(table, rows, names)
            if answer.rivals:
                values = " and ".join(repr(text) for text in answer.rivals)
                self._flag(answer, f"has rows that say {values}")
            if answer.source:
                return answer
        return Answer()

    def _flag(self, answer: Answer, text: str) -> None:
        self.flags.append(f"{answer.source}, sub-{self.subject}: {text}")

    def _find_table(self, answer: Answer) -> LabelTable:
        return self.visits if answer.source.startswith("sessions") else self.people

    def _find_levels(self, answer: Answer) -> Mapping[str, str]:
        return self._find_table(answer).levels.get(answer.column, {})

    def read_text(self, field: str, names: tuple[str, ...]) -> dict:
        """A field that is kept as it stands, its levels spelled out."""
        answer = self.find(names)
        text = spell_out(answer.text, self._find_levels(answer)) if answer.text else ""
        return {field: text, f"{field}_source": answer.source if text else ""}

    def read_code(self, field: str, decode: Callable[[str, Mapping[str, str]], str | None]) -> dict:
        """A coded field; of a diagnosis the spelling stays in dx_detail."""
        answer = self.find(COLUMNS.get(field, (field,)))
        levels = self._find_levels(answer)
        value = decode(answer.text, levels) if answer.text else ""
        if value is None:
            self._flag(answer, f"the code {answer.text!r} is not known, so {field} stays empty")
        record = {field: value or "", f"{field}_source": answer.source}
        if field == "dx":
            record["dx_detail"] = spell_out(answer.text, levels) if answer.text else ""
        return record

    def read_day(self, text: str, source: str) -> str:
        """The day of an acquisition time, without the time and its zone; else a flag."""
        day = parse_date(text)
        if text and day is None:
            self.flags.append(f"{source}, sub-{self.subject}: {text!r} is not a date")
        return day.isoformat() if day else ""

    def check_species(self) -> None:
        """Flag an animal: its age may be in months, and no atlas of ours is its own."""
        answer = self.find(("species",))
        if answer.text and answer.text.lower() not in HUMAN:
            self._flag(answer, f"the species {answer.text!r} is not human")

    def read_number(self, field: str) -> dict:
        """A numeric field."""
        answer = self.find((field,))
        return {
            field: self._parse(answer, to_number(answer.text), "number"),
            f"{field}_source": answer.source,
        }

    def _parse(self, answer: Answer, value: float | None, kind: str) -> float:
        if answer.text and value is None:
            self._flag(answer, f"{answer.text!r} is not a {kind}")
        return float("nan") if value is None else value

    def read_age(self) -> dict:
        """Age at the scan; where only the baseline's age is known, the visit's days are added.

        A number that the table's description spells out as a class (`4`: 16-20 years) is no age.
        """
        answer = self.find((*COLUMNS["age_years"], *AGE_UNITS))
        spelled = spell_out(answer.text, self._find_levels(answer))
        answer = replace(answer, text=spelled or answer.text)
        unit = AGE_UNITS.get(answer.column) or self._find_table(answer).units.get(answer.column, "")
        age = self._parse(
            answer, parse_age(answer.text, unit), f"plausible age{f' in {unit}' if unit else ''}"
        )
        source = answer.source
        if source.startswith("participants") and not self.people.has_visits:
            days = find_cell(self.visits, self.visit, ("days_since_baseline",))
            n_days = self._parse(days, to_number(days.text), "number") if days.text else float("nan")
            if n_days == n_days:
                age, source = age + n_days / DAYS_PER_YEAR, f"{source} + {days.source}"
            if not 0 <= age <= OLDEST_YEARS and age == age:
                self._flag(days, f"{days.text!r} days after the baseline the age would be {age:g}")
                age = float("nan")
        return {"age_years": age, "age_years_source": source}

    def list_controls(self) -> list[str]:
        """The columns of planted effects (phantoms)."""
        rows = [*self.person, *self.visit]
        return sorted({name for row in rows for name in row if name.startswith("control_")})


def read_times(path: Path) -> dict[str, str]:
    """File name -> `acq_time` of a `_scans.tsv`."""
    _, rows, _ = read_rows(path)
    rows = [normalise_row(row) for row in rows]
    return {row.get("filename", ""): row.get("acq_time", "") for row in rows}
