"""The review: what a person decided about volumes, in a TSV that the next run obeys."""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from braing3n.core.bids import volume_id
from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import write_if_changed

if TYPE_CHECKING:
    import pandas as pd

    from braing3n.config import Config

COLUMNS = ("volume_id", "decision", "reason")
DECISIONS = ("keep", "drop")


@dataclass(frozen=True)
class Decision:
    """One line: `name` is a volume_id, or its beginning up to a person or a visit."""

    name: str
    decision: str
    reason: str
    line: int


def write_review(config: Config) -> None:
    """Check the run's review and write it, `results/<run>/manifest/review.tsv`, where it changed.

    It is a leaf of the DAG, as inventories are: sorted, without comments: only what it says counts.

    Raises:
        ConfigurationError: it cannot be read, or names what is not there.
    """
    decisions = read_review(Path(config.manifest.review)) if config.manifest.review else []
    if decisions:
        others = check_names(decisions, list_volumes(config), config.cohorts, config.manifest.review)
        if others:
            print(f"{config.manifest.review}: {others}", file=sys.stderr)
    lines = sorted(f"{item.name}\t{item.decision}\t{item.reason}\n" for item in decisions)
    path = Path("results") / config.run / "manifest" / "review.tsv"
    write_if_changed(path, "".join(["\t".join(COLUMNS) + "\n", *lines]))


def read_review(path: Path) -> list[Decision]:
    """The decisions of a review; empty lines and those that begin with # count for nothing.

    Raises:
        ConfigurationError: no such file, a missing column, another decision than keep or drop, a name that is
            there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text in UTF-8"
        raise ConfigurationError(
            f"{path}: the review (manifest.review) cannot be read ({why}); correct its path, or write a file "
            "with the columns volume_id, decision and reason."
        ) from None
    rows = [
        (n, [cell.strip().strip('"') for cell in line.split("\t")])  # some spreadsheets quote cells
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    n_header, header = rows[0] if rows else (1, [])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise ConfigurationError(
            f"{path}, line {n_header}: has no column '{missing[0]}'; the first line must name the columns "
            "volume_id, decision and reason, with tabs between them."
        )
    decisions: dict[str, Decision] = {}
    for n, cells in rows[1:]:
        named = dict(zip(header, [*cells, *[""] * len(header)], strict=False))
        name, decision = named["volume_id"], named["decision"].lower()
        if decision not in DECISIONS:
            raise ConfigurationError(
                f"{path}, line {n}: '{named['decision']}' is no decision about {name or 'a volume'}; "
                "write keep or drop."
            )
        if name in decisions:
            raise ConfigurationError(
                f"{path}, line {n}: {name} is there already in line {decisions[name].line}; keep one of them."
            )
        decisions[name] = Decision(name, decision, named["reason"], n)
    return list(decisions.values())


def list_volumes(config: Config) -> list[str]:
    """The ids of all scans in a run's inventories."""
    ids = []
    for key in config.cohorts:
        path = Path("results") / config.run / "inventory" / key / "scans.tsv"
        with path.open(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t")
            names = "cohort", "subject_id", "session_id", "run", "modality"
            ids += [volume_id(*(row[name] for name in names)) for row in rows]
    return ids


def check_names(decisions: Iterable[Decision], ids: list[str], cohorts: Iterable[str], where: str) -> str:
    """Check that each decision is about a volume, a visit or a person of the run.

    Decisions about cohorts that are not of the run are ignored; a sentence reports them, if any.

    Raises:
        ConfigurationError: an unknown name, with file and line.
    """
    known = {beginning for name in ids for beginning in list_names(name)}
    others = []
    for item in decisions:
        cohort, is_name, _ = item.name.partition("_sub-")
        if is_name and cohort not in cohorts:
            others.append(cohort)
        elif item.name not in known:
            close = difflib.get_close_matches(item.name, known, n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise ConfigurationError(
                f"{where}, line {item.line}: '{item.name}' is no volume_id of this run, nor the beginning of "
                f"one up to a person or a visit{hint}"
            )
    names = ", ".join(sorted(set(others)))
    return f"{len(others)} decisions are about cohorts that this run lacks ({names})." if others else ""


def list_names(name: str) -> list[str]:
    """The names by which a volume can be reviewed: its person's, its visit's, and its own the last."""
    start = name.index("_sub-") + 1
    ends = [i for i in range(start, len(name)) if name[i] == "_"]
    return [*(name[:end] for end in ends), name]


def find_decision(name: str, decisions: dict[str, Decision]) -> Decision | None:
    """The decision on a volume: of its own line, its visit's and its person's the first that is there."""
    return next((decisions[item] for item in reversed(list_names(name)) if item in decisions), None)


def settle_decisions(
    quality: pd.DataFrame, decisions: Iterable[Decision], max_outlier_score: float
) -> pd.DataFrame:
    """Add `decision`, `status` and `reason`: what the review says, else what is too far off.

    Args:
        quality: from `judge_quality`.
        max_outlier_score: 0: no volume is excluded for its numbers.
    """
    by_name = {item.name: item for item in decisions}
    settled, described, status, reasons = quality.copy(), [], [], []
    for row in quality.itertuples():
        found, reason = find_decision(row.volume_id, by_name), ""
        if found is not None and found.decision == "drop":
            reason = "dropped in review" + (f": {found.reason}" if found.reason else "")
        elif found is None and 0 < max_outlier_score < row.outlier_score:
            reason = (
                f"outlier in its cohort by {row.outlier_measure} (manifest.max_outlier_score "
                f"{max_outlier_score:g})"
            )
        described.append(found.decision if found is not None else "")
        status.append("excluded" if reason else "kept")
        reasons.append(reason)
    return settled.assign(decision=described, status=status, reason=reasons)
