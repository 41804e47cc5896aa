"""One scan's record from tables alone, for the rules that no printed fixture shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braing3n.cohort import load_cohort, settle_options
from braing3n.cohort.records import CohortTables

from .trees import write_table


def read_record(
    kind: str, folder: Path, tables: Mapping[str, str], facts: Mapping[str, str], **options: Any
) -> dict[str, Any]:
    """The record of one scan with these tables and no others; a code that is not known stops it."""
    for name, text in tables.items():
        write_table(folder / name, text)
    cohort = load_cohort(kind)
    reader = CohortTables(cohort, [folder / name for name in tables], settle_options(kind, cohort, options))
    record = reader.read(facts)
    reader.check_codes(kind)
    return record
