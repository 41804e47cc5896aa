"""One cohort's inventory and tables to its records, whichever way the cohort is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from braing3n.cohort import Cohort
from braing3n.cohort.records import CohortTables
from braing3n.core.accounting import check_accounting
from braing3n.core.bids import volume_id
from braing3n.core.errors import CohortError, show_text
from braing3n.ingest.bids_values import DIAGNOSES
from braing3n.ingest.contracts import RECORDS

VOLUME = ["cohort", "subject_id", "session_id", "run", "modality"]
N_SHOWN = 20


def read_tsv(path: Path) -> pd.DataFrame:
    """A table of an inventory, all text."""
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def build_records(
    cohort: Cohort,
    key: str,
    scans: pd.DataFrame,
    left_out: pd.DataFrame,
    tables: list[Path],
    options: Mapping[str, Any],
    raw_dir: Path,
) -> pd.DataFrame:
    """One record a scan, columns of the contract `records`; what is odd is printed.

    Args:
        scans: the inventory's `scans.tsv`.
        left_out: its `left_out.tsv`; rows of such a scan are not without one.
        tables: the files that hold labels.

    Raises:
        CohortError: a code that nobody spelled out, or a table that cannot be read.
    """
    scans = scans.copy()
    names = [volume_id(*row) for row in scans[VOLUME].itertuples(index=False)]
    scans.insert(0, "volume_id", pd.Series(names, dtype=str))
    if cohort.read_records is not None:
        labels = cohort.read_records(raw_dir, key, scans)
    else:
        labels = _read_declared(cohort, key, scans, left_out, tables, options)
    if labels.empty:  # a download of which nothing is taken still has its accounting
        described = [name for name in RECORDS if name not in scans or name == "volume_id"]
        labels = pd.DataFrame({name: pd.Series(dtype=str) for name in described})
    table = scans.drop(columns="facts").merge(labels, on="volume_id", how="left", validate="one_to_one")
    check_accounting(scans["volume_id"], table["volume_id"], [], f"ingest of {key}")
    flagged = table.loc[table["qc_flag"] != "", ["volume_id", "qc_flag"]]
    for row in flagged.head(N_SHOWN).itertuples():
        print(show_text(f"{row.volume_id}: {row.qc_flag}"))
    if len(flagged) > N_SHOWN:
        print(f"... and {len(flagged) - N_SHOWN} more flagged volumes; see the column qc_flag.")
    return table


def _read_declared(
    cohort: Cohort,
    key: str,
    scans: pd.DataFrame,
    left_out: pd.DataFrame,
    tables: list[Path],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    reader = CohortTables(cohort, tables, options)
    rows = [
        {"volume_id": scan["volume_id"]} | reader.read(read_facts(scan)) for scan in scans.to_dict("records")
    ]
    reader.check_codes(key)
    for scan in left_out.to_dict("records"):
        reader.use_rows(read_facts(scan))
    _check_values(key, rows, options)
    if absent := ", ".join(reader.list_absent()):
        print(show_text(f"{key}: no file is one of the tables {absent}; fields of theirs stay empty."))
    for sentence in reader.list_slips():
        print(show_text(f"{key}: {sentence}"))
    for name, keys in reader.list_unused_rows().items():
        shown = ", ".join(keys[:N_SHOWN]) + (" ..." if len(keys) > N_SHOWN else "")
        print(show_text(f"{key}: {len(keys)} ids of the table '{name}' have no scan: {shown}"))
    return pd.DataFrame(rows)


def _check_values(key: str, rows: list[dict[str, Any]], options: Mapping[str, Any]) -> None:
    """Check that a cohort's codes stand for values that the records may have.

    Raises:
        CohortError: names the field and the values.
    """
    diagnoses = (*DIAGNOSES, *options.get("keep_dx", ()))  # other words are a cohort's own, kept on request
    closed = {name: rule for name, (kind, rule) in RECORDS.items() if kind is str and isinstance(rule, tuple)}
    for name, allowed in (closed | {"dx": diagnoses}).items():
        odd = sorted({row.get(name) or "" for row in rows} - {"", *allowed})
        if odd:
            more = " (dx_detail keeps other words)" if name == "dx" else ""
            raise CohortError(
                f"{key}: the cohort's file makes {name} {', '.join(map(repr, odd))}, which is none of "
                f"{', '.join(filter(None, allowed))}; correct its codes{more}."
            )


def read_facts(scan: Mapping[str, str]) -> dict[str, str]:
    """What a field's source may ask of a row of `scans.tsv`: its facts, its ids, and its path's parts."""
    path = Path(scan["path"])
    ids = {name: scan[f"{name}_id"] for name in ("subject", "session")}
    ids |= {"run": scan["run"], "modality": scan["modality"]}
    return {**json.loads(scan["facts"]), **ids, "name": path.name, "folder": path.parent.as_posix()}
