"""Read the labels of a BIDS dataset: participants.tsv, sessions.tsv and the scans' sidecars."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from braing3n.contracts import TASK_COLUMNS
from braing3n.errors import CohortError
from braing3n.inventory.headers import normalise_vendor

DIAGNOSES = ("HC", "MCI", "AD", "PD", "ASD", "SCZ", "ADHD", "GBM", "Glioma", "Paediatric")
# Spellings that datasets use; anything else stays in dx_detail and leaves dx empty.
DX_CODES = {name.lower(): name for name in DIAGNOSES} | {
    "control": "HC",
    "controls": "HC",
    "healthy": "HC",
    "healthy control": "HC",
    "cn": "HC",
    "nc": "HC",
}
SEX_CODES = {"f": "F", "female": "F", "m": "M", "male": "M"}
MISSING = ("", "n/a", "na", "nan", "none", "unknown")
# Our field -> the columns that datasets call it, the first one present is read.
COLUMNS = {
    "age_years": ("age", "age_years", "age_at_scan"),
    "sex": ("sex", "gender"),
    "dx": ("dx", "diagnosis", "group"),
    "site": ("site", "site_id", "scan_site"),
    "scan_date": ("acq_time",),
}
DAYS_PER_YEAR = 365.25


def read_bids_records(raw_dir: Path, cohort: str, scans: pd.DataFrame) -> pd.DataFrame:
    """One record a scan; a missing row or cell leaves fields empty and a flag, never loses a volume."""
    people = _read_people(raw_dir / "participants.tsv")
    visits = {
        subject: _read_table(raw_dir / f"sub-{subject}" / f"sub-{subject}_sessions.tsv", "session_id", "ses-")
        for subject in scans["subject_id"].unique()
    }
    return pd.DataFrame([_read_scan(scan, raw_dir, people, visits) for scan in scans.itertuples()])


def _read_people(path: Path) -> dict[str, dict[str, str]]:
    return _read_table(path, "participant_id", "sub-")


def _read_table(path: Path, id_column: str, prefix: str) -> dict[str, dict[str, str]]:
    """Rows of a TSV by id without its prefix; an empty mapping where there is no file."""
    if not path.exists():
        return {}
    frame = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if id_column not in frame:
        raise CohortError(f"{path}: has no column '{id_column}'; rename the column with the ids.")
    frame.columns = [str(name).strip() for name in frame.columns]
    return {row[id_column].removeprefix(prefix): row for row in frame.to_dict("records")}


def _read_scan(scan, raw_dir: Path, people: dict, visits: dict) -> dict:
    """The record of one scan: a visit's own cell wins over the person's."""
    person = people.get(scan.subject_id, {})
    visit = visits.get(scan.subject_id, {}).get(scan.session_id, {})
    flags = [] if person or not people else ["no row in participants.tsv"]
    record: dict = {"volume_id": scan.volume_id}
    cells = {}
    for field, names in COLUMNS.items():
        cells[field], record[f"{field}_source"] = _find_cell(names, visit, person)
    record["age_years"] = _read_age(cells["age_years"], visit, record, flags)
    record["sex"] = _read_code(cells["sex"], SEX_CODES, "sex", flags)
    record["dx"] = _read_code(cells["dx"], DX_CODES, "dx", flags)
    record["dx_detail"], record["site"], record["scan_date"] = cells["dx"], cells["site"], cells["scan_date"]
    record |= _read_sidecar(Path(scan.path), raw_dir)
    for name, kind in TASK_COLUMNS.items():
        text, record[f"{name}_source"] = _find_cell((name,), visit, person)
        record[name] = _to_number(text, name, flags) if kind is float else text
    for name in sorted({*person, *visit}):
        if name.startswith("control_"):
            record[name] = _find_cell((name,), visit, person)[0]
    return record | {"clinical_lag_days": float("nan"), "qc_flag": "; ".join(flags)}


def _find_cell(names: tuple[str, ...], visit: dict, person: dict) -> tuple[str, str]:
    """The first cell that is not missing, and where it stood."""
    for table, row in (("sessions.tsv", visit), ("participants.tsv", person)):
        for name in names:
            text = str(row.get(name, "")).strip()
            if text.lower() not in MISSING:
                return text, f"{table}:{name}"
    return "", ""


def _read_age(text: str, visit: dict, record: dict, flags: list[str]) -> float:
    """Age at the scan; where only the baseline's age is known, the visit's days are added."""
    age = _to_number(text.removesuffix("+"), "age_years", flags)
    days = _to_number(str(visit.get("days_since_baseline", "")), "days_since_baseline", flags)
    if record["age_years_source"].startswith("participants") and days == days:
        record["age_years_source"] += " + sessions.tsv:days_since_baseline"
        age += days / DAYS_PER_YEAR
    return age


def _to_number(text: str, field: str, flags: list[str]) -> float:
    if text.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        flags.append(f"{field}: {text!r} is no number")
        return float("nan")


def _read_code(text: str, codes: dict[str, str], field: str, flags: list[str]) -> str:
    if text and text.lower() not in codes:
        flags.append(f"{field}: code {text!r} is not known")
    return codes.get(text.lower(), "")


def _read_sidecar(path: Path, raw_dir: Path) -> dict:
    """Vendor and field strength of the scan's own sidecar or of one for the whole dataset; no other field."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    facts: dict = {}
    for sidecar in (raw_dir / f"{stem.rsplit('_', 1)[-1]}.json", path.with_name(f"{stem}.json")):
        if sidecar.exists():
            try:
                facts |= json.loads(sidecar.read_text(encoding="utf-8-sig"))
            except (ValueError, UnicodeDecodeError):
                raise CohortError(f"{sidecar}: is not valid JSON; mend or remove it.") from None
    strength = facts.get("MagneticFieldStrength")
    return {
        "vendor": normalise_vendor(str(facts.get("Manufacturer", ""))),
        "vendor_source": "sidecar:Manufacturer" if "Manufacturer" in facts else "",
        "field_strength_t": float(strength) if isinstance(strength, (int, float)) else float("nan"),
        "field_strength_t_source": "sidecar:MagneticFieldStrength" if strength else "",
    }
