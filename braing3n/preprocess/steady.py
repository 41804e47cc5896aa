"""A visit whose files stay as they are while they are worked on: its results are those of its digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from braing3n.preprocess import visit as visits
from braing3n.preprocess.store import digest_raw, digest_segmentations


def process_steady(
    rows: Sequence[Mapping], digests: Sequence[tuple[str, ...]], tools
) -> tuple[visits.VisitResult, list[tuple[str, ...]]]:
    """Process a visit, and look again whether its files are still those of the digests.

    A scan whose file changed meanwhile (a download that goes on, a replaced file) is an exclusion, and the
    others are done again without it. Such a result is not final: it gets no key and is tried again.

    Args:
        digests: the sha256 of each row's series before the work; see `digest_raw`.

    Returns:
        The result, and the digests; empty for a scan that changed.
    """
    segmentations = [digest_segmentations(row) for row in rows]
    result = visits.process_visit(list(rows), tools)
    now = zip(digest_raw(list(rows)), map(digest_segmentations, rows), strict=True)
    is_steady = [
        item == before for item, before in zip(now, zip(digests, segmentations, strict=True), strict=True)
    ]
    if all(is_steady):
        return result, list(digests)
    steady = [number for number, holds in enumerate(is_steady) if holds]
    result = visits.VisitResult()
    kept: dict[int, tuple[str, ...]] = dict.fromkeys(range(len(rows)), ("",))
    if steady:
        result, others = process_steady([rows[k] for k in steady], [digests[k] for k in steady], tools)
        kept |= dict(zip(steady, others, strict=True))
    result.is_final = False
    result.cells += [_exclude(row) for row, holds in zip(rows, is_steady, strict=True) if not holds]
    return result, list(kept.values())


def _exclude(row: Mapping) -> dict:
    reason = (
        f"{Path(row['path']).name}: changed while it was read; run again when nothing writes to it any more."
    )
    cell = {"modality": row["modality"], "run": row["run"], "n_refused": 0}
    cell |= {"status": "excluded", "reason": reason}
    return cell | {"steps": "", "segmentations": ""}
