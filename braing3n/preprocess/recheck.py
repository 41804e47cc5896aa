"""Process a visit and check afterwards that none of its files changed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from braing3n.preprocess import visit as visits
from braing3n.preprocess.store import digest_raw, digest_segmentations


def process_and_recheck(
    rows: Sequence[Mapping], digests: Sequence[tuple[str, ...]], tools
) -> tuple[visits.VisitResult, list[tuple[str, ...]]]:
    """Process a visit, and check afterwards that its files still have the digests of before.

    A scan whose file changed meanwhile (by an unfinished download, or a replaced file) is excluded, and the
    others are processed again without it. Such a result is not final: it gets no key and is tried again.

    Args:
        digests: the sha256 of each row's series before the work; see `digest_raw`.

    Returns:
        The result, and the digests; empty for a scan that changed.
    """
    segmentations = [digest_segmentations(row) for row in rows]
    result = visits.process_visit(list(rows), tools)
    now = zip(digest_raw(list(rows)), map(digest_segmentations, rows), strict=True)
    is_unchanged = [
        item == before for item, before in zip(now, zip(digests, segmentations, strict=True), strict=True)
    ]
    if all(is_unchanged):
        return result, list(digests)
    unchanged = [number for number, holds in enumerate(is_unchanged) if holds]
    result = visits.VisitResult()
    kept: dict[int, tuple[str, ...]] = dict.fromkeys(range(len(rows)), ("",))
    if unchanged:
        result, others = process_and_recheck(
            [rows[k] for k in unchanged], [digests[k] for k in unchanged], tools
        )
        kept |= dict(zip(unchanged, others, strict=True))
    result.is_final = False
    result.cells += [_exclude(row) for row, holds in zip(rows, is_unchanged, strict=True) if not holds]
    return result, list(kept.values())


def _exclude(row: Mapping) -> dict:
    reason = (
        f"{Path(row['path']).name}: changed while it was read; run again when nothing writes to it any more."
    )
    cell = {"modality": row["modality"], "run": row["run"], "n_refused": 0}
    cell |= {"status": "excluded", "reason": reason}
    return cell | {"steps": "", "segmentations": ""}
