"""Compare what each cohort holds with what its file expects; warn when more than the tolerance apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.cohort import find_kind, load_cohort
from braing3n.core.contracts import read_table, write_table
from braing3n.manifest.contracts import COUNTS
from braing3n.volumes.contracts import VOLUME_LIST

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.cohort.settings import CohortSettings

MINIATURE = "a miniature"


def expect_counts(cohorts: Mapping[str, CohortSettings]) -> dict[str, dict]:
    """What the configured cohorts should hold.

    A cohort maps to its kind and, where there is nothing to compare with, the reason; else to its numbers.
    """
    expected = {}
    for key, settings in cohorts.items():
        kind = find_kind(key, settings)
        cohort = load_cohort(kind)
        reason = "" if cohort.n_volumes and cohort.n_people else f"cohorts/{kind}.py expects no number"
        if settings.miniature:
            reason = MINIATURE
        numbers = {} if reason else {"volumes": cohort.n_volumes, "people": cohort.n_people}
        expected[key] = {"kind": kind, "reason": reason, **numbers}
    return expected


def count_cohorts(volume_list: Path, expected: Mapping[str, dict], tolerance: float, out: Path) -> None:
    """Write one row a cohort, found and expected, and print a sentence for each that is off."""
    import pandas as pd

    volumes = read_table(volume_list, VOLUME_LIST)
    by_cohort = volumes.groupby("cohort")["person_id"].agg(["size", "nunique"])
    rows = []
    for key, item in sorted(expected.items()):
        n_volumes, n_people = by_cohort.loc[key] if key in by_cohort.index else (0, 0)
        row = {"cohort": key, "kind": item["kind"], "n_volumes": int(n_volumes), "n_people": int(n_people)}
        row |= {"expected_volumes": item.get("volumes", 0), "expected_people": item.get("people", 0)}
        rows.append(row | _judge(row, item["reason"], tolerance))
    counts = pd.DataFrame(rows, columns=list(COUNTS))
    for sentence in list_warnings(counts):
        print(f"warning: {sentence}")
    write_table(counts, out, COUNTS)


def list_warnings(counts: pd.DataFrame) -> list[str]:
    """The sentences about cohorts that are off."""
    return counts.loc[counts["verdict"] == "not met", "note"].tolist()


def _judge(row: dict, reason: str, tolerance: float) -> dict[str, str]:
    """The verdict on one cohort, and the reason for none or the sentence that warns."""
    if reason:
        return {"verdict": "n/a", "note": reason}
    parts, is_off = [], False
    for quantity in ("volumes", "people"):
        found, wanted = row[f"n_{quantity}"], row[f"expected_{quantity}"]
        share = found / wanted - 1
        is_off = is_off or abs(share) > tolerance
        parts.append(f"{found:,} of {wanted:,} expected {quantity} ({100 * share:+.0f} %)")
    if not is_off:
        return {"verdict": "met", "note": ""}
    sentence = f"{row['cohort']}: {' and '.join(parts)}, beyond the tolerance of {100 * tolerance:g} %."
    return {"verdict": "not met", "note": sentence}
