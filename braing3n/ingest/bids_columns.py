"""Columns of a person's own `participants.tsv` that the configuration names to be probed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from braing3n.cohort.tables import normalise_column, read_rows
from braing3n.core.contracts import LABEL_COLUMNS, OWN
from braing3n.core.errors import ConfigurationError
from braing3n.ingest.bids import Dataset, ScanLabels

KNOWN = (*LABEL_COLUMNS, "dx_detail", "scan_date")


def check_columns(columns: Mapping[str, str], raw_dirs: Mapping[str, Path]) -> None:
    """Every named column is one of a `participants.tsv`, or of the label table.

    Raises:
        ConfigurationError: names the column, and those that there are.
    """
    if not columns:
        return
    there: dict[str, str] = {}
    for raw_dir in raw_dirs.values():
        path = raw_dir / "participants.tsv"
        header = read_rows(path)[0] if path.exists() else []
        there |= {normalise_column(name): name for name in header}
    for name in columns:
        if normalise_column(name) not in there and name not in KNOWN:
            close = difflib.get_close_matches(normalise_column(name), there, n=1)
            known = ", ".join(there.values()) or "none is there"
            hint = f"did you mean '{there[close[0]]}'?" if close else f"its columns: {known}."
            raise ConfigurationError(f"probe.columns: no participants.tsv has a column '{name}'; {hint}")


def read_columns(
    volumes: pd.DataFrame, labels: pd.DataFrame, columns: Mapping[str, str], raw_dirs: Mapping[str, Path]
) -> tuple[pd.DataFrame, list[str]]:
    """The named columns of each listed volume, and a sentence for each cell that cannot be read.

    Classes are text, their levels spelled out; numbers are floats. Where a cohort has no such column, the
    label table's is taken; where that has none either, the cell is empty.

    Args:
        volumes: the volume list.
        labels: the label table, of the same volumes.
        columns: column -> classification or regression.
        raw_dirs: cohort -> folder of its download.
    """
    table, flags = volumes[["volume_id"]].copy(), []
    known = labels.set_index("volume_id")
    people = volumes.groupby("cohort")["subject_id"].unique()
    datasets = {key: Dataset(path, tuple(people[key])) for key, path in raw_dirs.items() if key in people}
    for name, kind in columns.items():
        cells = []
        for scan in volumes.itertuples():
            scan_labels = ScanLabels(datasets[scan.cohort], scan.subject_id, scan.session_id)
            n_before = len(scan_labels.flags)
            cell = _read_cell(scan_labels, name, kind)
            if cell in ("", None) and name in known:
                cell = known.at[scan.volume_id, name]
            cells.append(cell)
            flags += [f"{scan.cohort}: {flag}" for flag in scan_labels.flags[n_before:]]
        is_number = kind == "regression"
        series = pd.Series(cells, index=table.index)
        table[OWN + name] = pd.to_numeric(series, errors="coerce") if is_number else series.astype(str)
    return table, list(dict.fromkeys(flags))


def _read_cell(labels: ScanLabels, name: str, kind: str) -> str | float | None:
    column = normalise_column(name)
    if kind == "classification":
        return labels.read_text(column, (column,))[column]
    number = labels.read_number(column)[column]
    return number if number == number else None
