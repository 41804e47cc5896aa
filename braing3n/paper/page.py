"""The run on one page: what came in, tables, controls and figures, each with the command that made it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from braing3n import __version__
from braing3n.core.accounting import read_commit
from braing3n.manifest.counts import list_warnings
from braing3n.manifest.withdrawn import describe_weights
from braing3n.paper.printed.generation import list_unlearned
from braing3n.paper.printed.tables import Table
from braing3n.paper.render import render_html
from braing3n.paper.results import CHECKOUT, Results, locate
from braing3n.pretrain.verdict import find_fault

# Caption and path in the run of the figures.
FIGURES = (
    ("Loss of the masked autoencoder", "pretrain/loss.png"),
    ("Volumes and their reconstructions", "tokenizer/reconstructions.png"),
    ("Samples of the conditional DiT", "diffusion/samples.png"),
)

# Longer ones are folded.
MAX_OPEN_ROWS = 60
MAX_OPEN_REASONS = 10
CLOSE = "</body></html>\n"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
.table { overflow-x: auto; margin: 1rem 0 .3rem; } img { max-width: 100%; }
code { background: #f4f4f4; padding: .1rem .3rem; font-size: .85em; } .made { color: #666; font-size: .85em; }
.flow { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: 1rem 0; }
.box { border: 1px solid #bbb; border-radius: 6px; padding: .5rem .9rem; text-align: center; }
.box b { display: block; font-size: 1.3rem; } .box.lost { border-color: #c66; }
.warning { border-left: 4px solid #d55e00; background: #fdf3ec; padding: .4rem .8rem; margin: .4rem 0; }
summary { cursor: pointer; margin: 1rem 0; }
.table .gt_table { margin-left: 0 !important; }
"""


def render_page(results: Results, sections: dict[str, list[Table]], stale: Sequence[str] = ()) -> str:
    """One HTML page that needs nothing beside it: styles and pictures are inside.

    Args:
        results: the run.
        sections: heading to tables, in order.
        stale: sentences about results that are out of date.
    """
    counts, losses = results.read("counts"), results.read("masked_loss")
    warnings = [] if counts is None else list_warnings(counts)
    warnings += [] if losses is None else filter(None, [find_fault(losses)])
    parts = [
        open_page(f"BrainG3N: run {results.run}"),
        f"<p>{describe_run(results)} Who and what the run holds, in full, with the bias card: "
        "<a href='card.html'>dataset card</a>.</p>",
        *show_warnings(stale),
        *show_warnings(warnings),
        *show_warnings(list_unlearned(results)),
        *show_warnings(list_withdrawn(results)),
        _draw_flow(results),
        _link_quality(results),
    ]
    for heading, tables in sections.items():
        parts += [f"<h2>{escape(heading)}</h2>", *(show_table(results, table) for table in tables)]
    parts += ["<h2>Figures</h2>", *_show_figures(results), show_origin(results), CLOSE]
    return "\n".join(parts)


def open_page(title: str) -> str:
    """The head of a page and its first heading."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>"
    )


def show_table(results: Results, table: Table) -> str:
    """A table, where it comes from, and links to its other formats; a long one is folded."""
    links = " ".join(f"<a href='{table.name}.{kind}'>{kind}</a>" for kind in ("csv", "md", "tex", "html"))
    made = f"<p class='made'>{links}, from <code>{escape(results.command(table.source))}</code></p>"
    shown = f"<div class='table'>{render_html(table)}</div>{made}"
    if len(table.frame) <= MAX_OPEN_ROWS:
        return shown
    title = f"{escape(table.title)} ({len(table.frame):,} rows)"
    return f"<details><summary>{title}</summary>{shown}</details>"


def show_warnings(sentences: Sequence[str]) -> list[str]:
    """What a reader must not overlook, a box a sentence."""
    return [f"<div class='warning'>{escape(sentence)}</div>" for sentence in sentences]


def list_withdrawn(results: Results) -> list[str]:
    """A sentence for each weight file that was trained on people whom no inventory names any more."""
    cohorts = results.list_cohorts()
    return describe_weights(results.results_dir, cohorts) if cohorts else []


def show_origin(results: Results) -> str:
    """The version and commit that wrote the page, and the run's settings, folded."""
    commit = read_commit(CHECKOUT)
    made = f"braing3n {__version__}" + (f", commit <code>{escape(commit)}</code>" if commit else "")
    settings = results.read_settings()
    shown = f"<details><summary>Settings of the run</summary><pre>{escape(settings)}</pre></details>"
    return f"<p class='made'>Written by {made}.</p>{shown if settings else ''}"


def show_picture(path: Path, caption: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(caption)}' src='data:image/png;base64,{data}'>"


def _show_command(results: Results, path: str) -> str:
    return f"<p class='made'>from <code>{escape(results.command(path))}</code></p>"


def describe_run(results: Results) -> str:
    """One sentence: volumes, people, cohorts and splits."""
    volumes = results.read("volume_list")
    if volumes is None:
        return f"This run has no {locate('volume_list')} yet."
    splits = ", ".join(f"{name} {n}" for name, n in volumes["split"].value_counts().items())
    n_people, n_cohorts = volumes["person_id"].nunique(), volumes["cohort"].nunique()
    return (
        f"{len(volumes):,} volumes of {n_people:,} people in {n_cohorts} cohorts ({escape(splits)} volumes). "
        "Numbers of this run stand beside those of the paper; <code>n/a</code> has its reason in the notes."
    )


def _draw_flow(results: Results) -> str:
    """Boxes: found, left out, excluded, kept; and each reason with its number."""
    flow = results.read_flow()
    if flow is None:
        return f"<p>No flow diagram: this run has no {locate('flow')}.</p>"
    whole, reasons = flow[flow["reason"] == ""], flow[flow["reason"] != ""]
    lost = reasons.groupby("reason")["excluded"].sum().sort_values(ascending=False, kind="stable")
    stages = whole.groupby("stage", sort=False)[["received", "kept", "excluded"]].sum()
    boxes = [f"<div class='box'><b>{stages['received'].iloc[0]:,}</b>scans found</div>"]
    for stage, row in stages.iterrows():
        boxes.append(f"&rarr;<div class='box lost'><b>{row['excluded']:,}</b>left out by {stage}</div>")
        boxes.append(f"&rarr;<div class='box'><b>{row['kept']:,}</b>kept</div>")
    listed = "".join(f"<li>{n:,}: {escape(reason)}</li>" for reason, n in lost.items())
    listed = f"<ul>{listed}</ul>" if listed else ""
    if len(lost) > MAX_OPEN_REASONS:
        listed = f"<details><summary>{len(lost)} reasons</summary>{listed}</details>"
    return f"<div class='flow'>{''.join(boxes)}</div>{listed}"


def _link_quality(results: Results) -> str:
    """Where every volume can be looked at."""
    cohorts = results.list_cohorts()
    paths = sorted(results.results_dir.glob("preprocess/*/quality.html"))
    paths = [path for path in paths if cohorts is None or path.parent.name in cohorts]
    if not paths:
        return "<p>Quality of the volumes: n/a, this run has no preprocess/*/quality.html.</p>"
    keys = [escape(path.parent.name) for path in paths]
    links = [f"<a href='../preprocess/{key}/quality.html'>{key}</a>" for key in keys]
    return f"<p>Quality of the volumes, a picture each, the worst first: {', '.join(links)}.</p>"


def _show_figures(results: Results) -> list[str]:
    shown = []
    for caption, name in FIGURES:
        path = results.results_dir / name
        if not path.exists():
            shown.append(f"<p>{escape(caption)}: n/a, this run has no {escape(name)}.</p>")
            continue
        shown.append(f"<p><b>{escape(caption)}</b> ({escape(name)})</p>")
        shown.append(show_picture(path, caption))
        shown.append(_show_command(results, name))
    return shown
