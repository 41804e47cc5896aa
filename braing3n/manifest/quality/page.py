"""One page a cohort: every volume with its picture and quality numbers, the worst first, to review."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.core.errors import ContractError
from braing3n.core.runtime import write_atomically
from braing3n.manifest.quality.measures import MEASURES, MIN_COMPARED, OUTLYING, gather_quality
from braing3n.manifest.quality.review import COLUMNS, Decision, find_decision, read_review, settle_decisions
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.preprocess.quality import list_warnings
from braing3n.site.pages import embed_picture, stream

MAX_EMBEDDED = 2500  # pictures inside the page: 50 MB, which browsers still open at once
# A step that reports a mask with faults, or of a backend that failed, stands in parentheses.
FAULT = re.compile(r"(\(.*?\))(?=;|$)")
FOLDERS = re.compile(r"(?<![^\s'\"(])(?:/[^/\s'\"]+)+/(?=[^/\s'\"])")


@dataclass(frozen=True)
class Number:
    """A quality number on a card; `rank` sorts the cards, largest where worst, empty where there is none."""

    name: str
    short: str
    title: str
    text: str
    rank: str
    is_outlying: bool


@dataclass(frozen=True)
class Card:
    """What the page shows of a volume: `picture` is an address; each part of `steps` is a fault or is not."""

    name: str
    modality: str
    picture: str
    numbers: list[Number]
    native_brain: str
    warnings: list[str]
    judged: str
    steps: list[tuple[str, bool]]
    is_outlying: bool
    decision: str
    reason: str


def write_page(
    tables: list[Path], volumes_dir: Path, review: Path, max_outlier_score: float, out: Path
) -> None:
    """Write one HTML file, about 21 kB a volume at 1 mm, that needs nothing beside it up to 2,500 volumes.

    Of more, the pictures of the later ones are read from beside the volumes, which lie below the page.

    Args:
        tables: the preprocess tables of the cohort's shards, in the folder that is named as the cohort.
        review: the run's review; what it says is shown.
        max_outlier_score: as of `manifest.max_outlier_score`.
    """
    cohort, decisions = Path(tables[0]).parent.name, read_review(review)
    results = pd.concat([read_table(path, PREPROCESS) for path in tables], ignore_index=True)
    quality = settle_decisions(gather_quality(tables, volumes_dir), decisions, max_outlier_score)
    parts = render_page(cohort, results, sort_worst(quality), decisions, Path(out).parent)
    with write_atomically(out) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(parts)


def sort_worst(quality: pd.DataFrame) -> pd.DataFrame:
    """The largest `outlier_score` first; before all, what has too few others to be judged, by its Dice."""
    order = ["outlier_score", "atlas_dice", "volume_id"]
    return quality.sort_values(order, ascending=[False, True, True], na_position="first", ignore_index=True)


def render_page(
    cohort: str, results: pd.DataFrame, quality: pd.DataFrame, decisions: list[Decision], folder: Path
) -> Iterator[str]:
    """The page in pieces, since that of a large cohort has fifty megabytes.

    Args:
        results: the preprocess tables' rows.
        quality: in the order to show, from `settle_decisions`.
        decisions: of the run's review.
        folder: where the page goes.
    """
    lost = sorted(_list_excluded(results))
    dropped = _list_excluded(quality)
    rows = [[item.name, item.decision, item.reason] for item in decisions]
    return stream(
        "quality.html",
        cohort=cohort,
        n_scans=len(results),
        n_kept=len(quality) - len(dropped),
        n_outlying=int((quality["outlier_score"] > OUTLYING).sum()),
        lost=lost,
        dropped=dropped,
        outlying=f"{OUTLYING:g}",
        min_compared=MIN_COMPARED,
        measures=MEASURES,
        groups=_describe_groups(quality),
        cards=_describe_cards(quality, decisions, folder),
        review={"cohort": cohort, "columns": COLUMNS, "rows": rows},
    )


def _list_excluded(volumes: pd.DataFrame) -> list[tuple[str, str]]:
    """Names and reasons; these without the folders of a file, since pages are passed on."""
    rows = volumes.loc[volumes["status"] == "excluded", ["volume_id", "reason"]]
    return [(name, FOLDERS.sub("", reason)) for name, reason in rows.itertuples(index=False)]


def _describe_groups(quality: pd.DataFrame) -> list[dict]:
    """What the volumes of each modality are compared with."""
    groups = []
    for modality, part in quality.groupby("modality", sort=True):
        medians = []
        for name, measure in MEASURES.items():
            values = part[name].dropna()
            few = f"n/a: {len(values)} volumes, {MIN_COMPARED} are needed"
            medians.append(few if len(values) < MIN_COMPARED else f"{values.median():.{measure.n_digits}f}")
        n_outlying = int((part["outlier_score"] > OUTLYING).sum())
        groups.append(
            {"modality": modality, "n_volumes": len(part), "n_outlying": n_outlying, "medians": medians}
        )
    return groups


def _describe_cards(quality: pd.DataFrame, decisions: list[Decision], folder: Path) -> Iterator[Card]:
    """One card at a time: the first hold their pictures, the others name those below `folder`."""
    by_name = {item.name: item for item in decisions}
    for n, volume in enumerate(quality.itertuples(index=False)):
        row = volume._asdict()
        path = row["picture_path"]
        picture = _embed(path) if n < MAX_EMBEDDED else os.path.relpath(path, folder)
        yield _describe_card(row, picture, find_decision(row["volume_id"], by_name))


def _describe_card(row: dict, picture: str, decision_of_review: Decision | None) -> Card:
    score = row["outlier_score"]
    judged = (
        f"off by {score:.1f} in {MEASURES[row['outlier_measure']].title}"
        if score == score
        else f"not judged: {row['n_compared']} such volumes, {MIN_COMPARED} are needed"
    )
    # Where the faults are split from the rest, every second part is a fault.
    steps = [(text, n % 2 == 1) for n, text in enumerate(FAULT.split(row["steps"]))]
    return Card(
        name=row["volume_id"],
        modality=row["modality"],
        picture=picture,
        numbers=[_describe_number(row, name) for name in MEASURES],
        native_brain=f"{row['native_brain_ml']:.0f}",
        warnings=list_warnings(row),
        judged=judged,
        steps=steps,
        is_outlying=score > OUTLYING,
        decision=decision_of_review.decision if decision_of_review else "",
        reason=decision_of_review.reason if decision_of_review else "",
    )


def _describe_number(row: dict, name: str) -> Number:
    measure, value, distance = MEASURES[name], row[name], row[f"{name}_z"]
    is_known, is_judged = value == value, distance == distance
    off = f"; {distance:+.1f} robust deviations towards worse" if is_judged else ""
    return Number(
        name=name,
        short=measure.short,
        title=f"{measure.title}{off}",
        text=f"{value:.{measure.n_digits}f}" if is_known else "n/a",
        rank=f"{value if measure.is_more_worse else -value:.6g}" if is_known else "",
        is_outlying=distance > OUTLYING,
    )


def _embed(path: str) -> str:
    try:
        return embed_picture(Path(path))
    except OSError as error:
        raise ContractError(
            f"{path}: cannot be read ({error.strerror}); rerun its preprocess shard."
        ) from None
