"""All tables of a run in all formats, and the page that shows them."""

from __future__ import annotations

from pathlib import Path

from braing3n.errors import ConfigurationError
from braing3n.paper import card
from braing3n.paper.benchmark import build_controls, build_encoders, build_scores, build_table_6
from braing3n.paper.page import render_page
from braing3n.paper.render import write_formats
from braing3n.paper.results import Results
from braing3n.paper.tables import build_flow, build_memorization, build_table_3, build_table_5, build_table_8
from braing3n.runtime import write_atomically

SECTIONS = {
    "Data": (build_table_3, build_flow),
    "Dataset card": (card.build_cohorts, card.build_coverage, card.build_bias),
    "Benchmark": (build_table_6, build_encoders),
    "Controls": (build_controls,),
    "Tokenizer": (build_table_5,),
    "Generation": (build_table_8, build_memorization),
    "Every score": (build_scores,),
}


def write_paper(results_dir: Path, out_dir: Path) -> None:
    """Write every table as CSV, Markdown, LaTeX and HTML, and index.html last.

    Raises:
        ConfigurationError: there is no such results folder.
    """
    if not Path(results_dir).is_dir():
        raise ConfigurationError(f"{results_dir}: no such results folder; run the workflow first.")
    results = Results(Path(results_dir))
    sections = {heading: [build(results) for build in builders] for heading, builders in SECTIONS.items()}
    for tables in sections.values():
        for table in tables:
            write_formats(table, out_dir)
    with write_atomically(Path(out_dir) / "index.html") as beside:
        beside.write_text(render_page(results, sections))
