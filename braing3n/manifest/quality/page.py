"""One page a cohort: every volume with its picture and quality numbers, the worst first, to review."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pandas as pd

from braing3n.core.contracts import read_table
from braing3n.core.errors import ContractError
from braing3n.core.runtime import write_atomically
from braing3n.manifest.quality.measures import MEASURES, MIN_COMPARED, OUTLYING, gather_quality
from braing3n.manifest.quality.review import COLUMNS, Decision, find_decision, read_review, settle_decisions
from braing3n.preprocess.contracts import PREPROCESS
from braing3n.preprocess.quality import list_warnings

MAX_EMBEDDED = 2500  # pictures inside the page: 50 MB, which browsers still open at once
STYLE_PATH, SCRIPT_PATH = (Path(__file__).with_name(f"page.{end}") for end in ("css", "js"))
# A step that tells of a mask with faults, or of a backend that failed, stands in parentheses.
FAULT = re.compile(r"\(.*?\)(?=;|$)")
FOLDERS = re.compile(r"(?<![^\s'\"(])(?:/[^/\s'\"]+)+/(?=[^/\s'\"])")
HOW_TO = (
    "Choose drop or keep below a picture and say why. <b>Copy the new rows</b> and paste them at the end of "
    "the file that <code>manifest.review</code> names in the configuration; or <b>download the whole file</b>"
    ", which also holds the rows that this run has read, and put it in that place. The next run obeys, and "
    "does nothing again of preprocessing. A row may also name a person or a visit: the beginning of a "
    "volume's name up to there. Until then this browser remembers what you chose."
)


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
        file.writelines(f"{part}\n" for part in parts)


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
    title = f"Quality of {escape(cohort)}"
    lost = results.loc[results["status"] == "excluded", ["volume_id", "reason"]].sort_values("volume_id")
    dropped = quality.loc[quality["status"] == "excluded", ["volume_id", "reason"]]
    outlying = int((quality["outlier_score"] > OUTLYING).sum())
    yield "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
    yield f"<title>{title}</title><style>\n{_read_text(STYLE_PATH)}</style></head><body><h1>{title}</h1>"
    yield (
        f"<p>{len(results):,} scans: {len(lost):,} excluded in preprocessing, {len(dropped):,} afterwards, "
        f"{len(quality) - len(dropped):,} kept. {outlying:,} volumes are off the others of their modality by "
        f"more than {OUTLYING:g} robust deviations in a number, which is then <span class='bad'>marked"
        f"</span>; those of a modality with fewer than {MIN_COMPARED} volumes cannot be judged and come "
        "first.</p>"
    )
    yield _show_excluded("Excluded in preprocessing", lost, is_linked=False)
    yield _show_excluded("Excluded by the review, or as outliers", dropped, is_linked=True)
    yield _show_groups(quality)
    yield f"<details><summary>How to review</summary><p>{HOW_TO}</p></details>"
    yield _show_bar(quality)
    yield "<main id='cards'>"
    names = {item.name: item for item in decisions}
    for n, row in enumerate(quality.to_dict("records")):
        source = _read_picture(row) if n < MAX_EMBEDDED else os.path.relpath(row["picture_path"], folder)
        yield _show_card(row, source, names)
    said = [[item.name, item.decision, item.reason] for item in decisions]
    described = json.dumps({"cohort": cohort, "columns": COLUMNS, "rows": said}).replace("<", "\\u003c")
    yield f"</main><script type='application/json' id='review'>{described}</script>"
    yield f"<script>\n{_read_text(SCRIPT_PATH)}</script></body></html>"


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _show_excluded(title: str, rows: pd.DataFrame, is_linked: bool) -> str:
    if not len(rows):
        return f"<p>{title}: none.</p>"
    lines = []
    for name, reason in rows.itertuples(index=False):
        shown = f"<a href='#{escape(name)}'>{escape(name)}</a>" if is_linked else escape(name)
        lines.append(f"<tr><td>{shown}</td><td>{escape(_hide_folders(reason))}</td></tr>")
    return (
        f"<details open><summary>{title}: {len(rows):,}</summary><div class='excluded'><table>"
        f"{''.join(lines)}</table></div></details>"
    )


def _hide_folders(text: str) -> str:
    """A reason without the folders of a file: pages are passed on."""
    return FOLDERS.sub("", text)


def _show_groups(quality: pd.DataFrame) -> str:
    """What the volumes of each modality are compared with."""
    heads = "".join(f"<th>{escape(measure.title)}</th>" for measure in MEASURES.values())
    lines = []
    for modality, part in quality.groupby("modality", sort=True):
        n_outlying = int((part["outlier_score"] > OUTLYING).sum())
        cells = []
        for name, measure in MEASURES.items():
            values = part[name].dropna()
            few = f"n/a: {len(values)} volumes, {MIN_COMPARED} are needed"
            shown = few if len(values) < MIN_COMPARED else f"{values.median():.{measure.n_digits}f}"
            cells.append(f"<td>{shown}</td>")
        line = f"<td>{escape(modality)}</td><td>{len(part):,}</td><td>{n_outlying:,}</td>{''.join(cells)}"
        lines.append(f"<tr>{line}</tr>")
    return (
        "<details><summary>Medians</summary><table><tr><th>Modality</th><th>Volumes</th><th>Outlying</th>"
        f"{heads}</tr>{''.join(lines)}</table></details>"
    )


def _show_bar(quality: pd.DataFrame) -> str:
    """What sorts, filters, and gives the review's rows."""
    sorts = "".join(
        f"<option value='{name}'>{escape(item.title)}</option>" for name, item in MEASURES.items()
    )
    modalities = "".join(f"<option>{escape(name)}</option>" for name in sorted(set(quality["modality"])))
    return (
        "<div id='bar'>Sort <select id='sort'><option value='order'>worst first</option>"
        f"<option value='id'>name</option>{sorts}</select> Show <select id='modality'><option value=''>all "
        f"modalities</option>{modalities}</select> <select id='which'><option value=''>all</option>"
        "<option value='outlying'>outlying</option><option value='decided'>decided</option>"
        "<option value='undecided'>undecided</option></select> <input id='find' type='search' "
        "placeholder='part of a name or step'> <span id='count'></span> <button id='copy'>Copy the new rows"
        "</button> <button id='download'>Download the whole file</button> <span id='described'></span></div>"
    )


def _show_card(row: dict, source: str, decisions: dict[str, Decision]) -> str:
    name, score = escape(row["volume_id"]), row["outlier_score"]
    is_outlying = score > OUTLYING
    judged = (
        f"off by {score:.1f} in {escape(MEASURES[row['outlier_measure']].title)}"
        if score == score
        else f"not judged: {row['n_compared']} such volumes, {MIN_COMPARED} are needed"
    )
    doubts = "".join(f"<span class='bad'>{escape(text)}</span>; " for text in list_warnings(row))
    said = find_decision(row["volume_id"], decisions)
    chosen = {value: " selected" if said and said.decision == value else "" for value in ("keep", "drop")}
    steps = FAULT.sub(lambda found: f"<span class='bad'>{found[0]}</span>", escape(row["steps"], quote=False))
    values = " ".join(f"data-{key.replace('_', '-')}='{_rank(row, key)}'" for key in MEASURES)
    return (
        f"<article id='{name}' data-modality='{escape(row['modality'])}' {values}"
        f" class='{'outlying' if is_outlying else ''}' data-decision='{said.decision if said else ''}'>"
        f"<img loading='lazy' decoding='async' alt='three slices of {name}' "
        f"src='{escape(source)}'><h3>{name}</h3>"
        f"<p class='numbers'>{_show_numbers(row)}</p><p class='steps'>{doubts}{judged}; {steps}</p>"
        "<p><select class='decision'><option value=''>no decision</option>"
        f"<option{chosen['keep']}>keep</option><option{chosen['drop']}>drop</option></select> "
        f"<input class='why' placeholder='why' value='{escape(said.reason) if said else ''}'></p></article>"
    )


def _rank(row: dict, name: str) -> str:
    """A number to sort by, largest where worst; empty where there is none."""
    value = row[name] if MEASURES[name].is_more_worse else -row[name]
    return f"{value:.6g}" if value == value else ""


def _show_numbers(row: dict) -> str:
    shown = []
    for name, measure in MEASURES.items():
        value, distance = row[name], row[f"{name}_z"]
        text = f"{value:.{measure.n_digits}f}" if value == value else "n/a"
        mark = " class='bad'" if distance > OUTLYING else ""
        off = f"; {distance:+.1f} robust deviations towards worse" if distance == distance else ""
        shown.append(f"<span title='{escape(measure.title)}{off}'>{measure.short} <b{mark}>{text}</b></span>")
    shown.append(f"<span title='native brain volume'>brain {row['native_brain_ml']:.0f} ml</span>")
    return " ".join(shown)


def _read_picture(row: dict) -> str:
    try:
        return f"data:image/jpeg;base64,{base64.b64encode(Path(row['picture_path']).read_bytes()).decode()}"
    except OSError as error:
        raise ContractError(
            f"{row['picture_path']}: cannot be read ({error.strerror}); rerun its preprocess shard."
        ) from None
