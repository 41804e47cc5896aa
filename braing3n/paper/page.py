"""The run on one page: what came in, tables, controls and figures, each with the command that made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from braing3n import __version__
from braing3n.core.accounting import read_commit
from braing3n.manifest.counts import list_warnings
from braing3n.manifest.withdrawn import describe_weights
from braing3n.paper.printed.generation import list_unlearned
from braing3n.paper.printed.tables import PrintedTable
from braing3n.paper.render import render_html
from braing3n.paper.results import CHECKOUT, Results, locate
from braing3n.pretrain.verdict import find_fault
from braing3n.site.pages import embed_picture, render

# Caption and path in the run of the figures.
FIGURES = (
    ("Loss of the masked autoencoder", "pretrain/loss.png"),
    ("Volumes and their reconstructions", "tokenizer/reconstructions.png"),
    ("Samples of the conditional DiT", "diffusion/samples.png"),
    ("One noise under every arm", "control/one_noise.png"),
    ("Samples read by probes of real people", "control/scores.png"),
    ("Held-out people under other conditions", "control/counterfactuals.png"),
    ("Figure 4. Two held-out people: forecasts beside the true later visit", "longitudinal/figure_4.png"),
    ("Figure 7. What forecasts of the same people change, by years", "longitudinal/figure_7.png"),
    ("The samples most like a training volume, each beside it", "memorization/nearest.png"),
)

BARS = "Appendix F: each encoder's best slice, which is optimistic; dots: all volumes"

# Longer ones are folded.
MAX_OPEN_ROWS = 60
MAX_OPEN_REASONS = 10


def render_page(
    results: Results,
    sections: dict[str, list[PrintedTable]],
    stale: Sequence[str] = (),
    bars: Path | None = None,
) -> str:
    """One HTML page that needs nothing beside it: styles and pictures are inside.

    Args:
        results: the run.
        sections: heading to tables, in order.
        stale: sentences about results that are out of date.
        bars: the picture of Appendix F, which is drawn with the tables.
    """
    counts, losses = results.read("counts"), results.read("masked_loss")
    warnings = [*stale, *([] if counts is None else list_warnings(counts))]
    warnings += [] if losses is None else filter(None, [find_fault(losses)])
    return render(
        "report.html",
        run=describe_run(results),
        warnings=[*warnings, *list_unlearned(results), *list_withdrawn(results)],
        flow=_describe_flow(results),
        quality_pages=_list_quality_pages(results),
        sections={
            heading: [describe_table(results, table) for table in tables]
            for heading, tables in sections.items()
        },
        figures=[
            *([_describe_figure(results, BARS, f"paper/{bars.name}", bars)] if bars else []),
            *(_describe_figure(results, caption, path) for caption, path in FIGURES),
        ],
        origin={
            "version": __version__,
            "commit": read_commit(CHECKOUT),
            "settings": results.read_settings(),
        },
    )


def describe_table(results: Results, table: PrintedTable) -> dict:
    """A table as a page shows it: in HTML, with the command that makes it."""
    n_rows = len(table.frame)
    return {
        "name": table.name,
        "title": table.title,
        "html": render_html(table),
        "n_rows": n_rows,
        "is_long": n_rows > MAX_OPEN_ROWS,
        "command": results.command(table.source),
    }


def list_withdrawn(results: Results) -> list[str]:
    """A sentence for each weight file that was trained on people whom no inventory names any more."""
    cohorts = results.list_cohorts()
    return describe_weights(results.results_dir, cohorts) if cohorts else []


def describe_run(results: Results) -> dict:
    """The run's name and numbers; `n_volumes` is None where it has no volume list."""
    run = {"name": results.run, "volume_list": locate("volume_list"), "n_volumes": None}
    volumes = results.read("volume_list")
    if volumes is None:
        return run
    return run | {
        "n_volumes": len(volumes),
        "n_people": volumes["person_id"].nunique(),
        "n_cohorts": volumes["cohort"].nunique(),
        "splits": ", ".join(f"{name} {n}" for name, n in volumes["split"].value_counts().items()),
    }


def _describe_flow(results: Results) -> dict:
    """Scans found, left out and kept by each stage, and why; `stages` is empty where there is no flow."""
    flow = results.read_flow()
    if flow is None:
        return {"path": locate("flow"), "stages": []}
    whole, reasons = flow[flow["reason"] == ""], flow[flow["reason"] != ""]
    lost = reasons.groupby("reason")["excluded"].sum().sort_values(ascending=False, kind="stable")
    stages = whole.groupby("stage", sort=False)[["received", "kept", "excluded"]].sum()
    return {
        "n_found": stages["received"].iloc[0],
        "stages": [
            {"name": name, "n_excluded": row["excluded"], "n_kept": row["kept"]}
            for name, row in stages.iterrows()
        ],
        "reasons": dict(lost.items()),
        "is_long": len(lost) > MAX_OPEN_REASONS,
    }


def _list_quality_pages(results: Results) -> list[str]:
    """The cohorts of the run whose volumes can be looked at."""
    cohorts = results.list_cohorts()
    paths = sorted(results.results_dir.glob("preprocess/*/quality.html"))
    keys = [path.parent.name for path in paths]
    return [key for key in keys if cohorts is None or key in cohorts]


def _describe_figure(results: Results, caption: str, path: str, file: Path | None = None) -> dict:
    """A picture of the run with the command that makes it; `picture` is empty where there is none."""
    file = file or results.results_dir / path
    return {
        "caption": caption,
        "path": path,
        "picture": embed_picture(file) if file.exists() else "",
        "command": results.command(path),
    }
