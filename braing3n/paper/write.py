"""All tables of a run in all formats, the card's figures, and the two pages that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from braing3n.core.errors import ConfigurationError
from braing3n.core.runtime import write_atomically
from braing3n.paper.bars import write_bars
from braing3n.paper.card.card import build_cohorts
from braing3n.paper.card.card_page import build_tables, render_card
from braing3n.paper.card.figures import draw_figures
from braing3n.paper.page import render_page
from braing3n.paper.printed.anatomy import build_anatomy, build_anatomy_by_age, build_anatomy_of_others
from braing3n.paper.printed.benchmark import build_controls, build_encoders, build_scores, build_table_6
from braing3n.paper.printed.fidelity import (
    build_fidelity,
    build_fidelity_by_split,
    build_fidelity_on_others,
    build_table_2b,
    build_table_8,
    build_table_8_by_split,
    build_variety,
)
from braing3n.paper.printed.generation import (
    build_changes,
    build_counterfactuals,
    build_errors,
    build_judged,
    build_longitudinal,
    build_table_2a,
    build_table_7,
)
from braing3n.paper.printed.head_to_head import build_appendix_f, build_table_1
from braing3n.paper.printed.memorization import (
    build_contrastive,
    build_copies,
    build_membership,
    build_memorization,
    build_planted,
)
from braing3n.paper.printed.pretraining import build_masked_loss
from braing3n.paper.printed.rivals_and_checks import (
    build_checks,
    build_every_check,
    build_fairness,
    build_fairness_summary,
    build_readouts,
    build_rivals,
)
from braing3n.paper.printed.sweep import build_table_5
from braing3n.paper.printed.tables import build_table_3
from braing3n.paper.printed.usefulness import build_usefulness
from braing3n.paper.render import write_formats
from braing3n.paper.results import Results

SECTIONS = {
    "Data": (build_table_3, build_cohorts),
    "Pretraining": (build_masked_loss,),
    "Benchmark": (
        build_table_1,
        build_table_6,
        build_appendix_f,
        build_encoders,
        build_rivals,
        build_checks,
        build_fairness_summary,
    ),
    "Controls": (build_controls,),
    "Tokenizer": (build_table_5,),
    "Generation": (
        build_table_2a,
        build_table_7,
        build_counterfactuals,
        build_usefulness,
        build_longitudinal,
        build_errors,
        build_changes,
        build_judged,
        build_table_2b,
        build_table_8,
        build_table_8_by_split,
        build_fidelity,
        build_fidelity_by_split,
        build_fidelity_on_others,
        build_variety,
        build_anatomy,
        build_anatomy_by_age,
        build_anatomy_of_others,
        build_memorization,
        build_copies,
        build_contrastive,
        build_planted,
        build_membership,
    ),
    "Every score": (build_scores, build_every_check, build_fairness, build_readouts),
}


def write_paper(results_dir: Path, out_dir: Path, stale: Sequence[str] = ()) -> None:
    """Write every table as CSV, Markdown, LaTeX and HTML, the card, and index.html last.

    stale: sentences about results that are out of date, which the page shows.

    Raises:
        ConfigurationError: there is no such results folder.
    """
    if not Path(results_dir).is_dir():
        raise ConfigurationError(f"{results_dir}: no such results folder; run the workflow first.")
    results, out_dir = Results(Path(results_dir)), Path(out_dir)
    sections = {heading: [build(results) for build in builders] for heading, builders in SECTIONS.items()}
    card_tables = build_tables(results)
    for table in [*card_tables.values(), *(table for tables in sections.values() for table in tables)]:
        write_formats(table, out_dir)
    pages = {
        "card.html": render_card(results, card_tables, draw_figures(results, out_dir)),
        "index.html": render_page(results, sections, stale, write_bars(results, out_dir)),
    }
    for name, text in pages.items():
        with write_atomically(out_dir / name) as beside:
            beside.write_text(text)
