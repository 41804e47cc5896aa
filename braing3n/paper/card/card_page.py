"""The page of the dataset card and the bias card: tables and figures by question, warnings first."""

from __future__ import annotations

from pathlib import Path

from braing3n.manifest.counts import list_warnings
from braing3n.paper.card import bias, card, coverage, findings
from braing3n.paper.page import describe_run, describe_table, list_withdrawn
from braing3n.paper.printed.tables import PrintedTable, build_flow, build_table_3
from braing3n.paper.results import Results
from braing3n.site.pages import embed_picture, render

# Heading -> what is shown, in order: a builder of a table, or the name of a figure.
SECTIONS = {
    "What the run holds, beside the paper": (
        build_table_3,
        "card_volumes",
        card.build_cohorts,
        card.build_counts,
    ),
    "Diagnoses": (coverage.build_diseases, coverage.build_diseases_by_cohort),
    "Ages": ("card_ages", coverage.build_ages),
    "Modalities and follow-up": (card.build_modalities, card.build_follow_up),
    "Sites and scanners": (card.build_scanners, card.build_sites),
    "What is known of the volumes": ("card_coverage", coverage.build_coverage),
    "What was left out, and why": ("card_flow", card.build_exclusions, build_flow, findings.build_quality),
    "One brain under two ids": (findings.build_pairs,),
    "Segmentations": (findings.build_segmentations,),
    "Bias card: who is represented": (
        "card_pyramids",
        bias.build_places,
        bias.build_bias,
        bias.build_bias_sites,
    ),
    "Licences and access": (card.build_terms,),
}
CAPTIONS = {
    "card_volumes": "Volumes of each cohort by modality",
    "card_flow": "What became of each cohort's scans",
    "card_ages": "Ages by cohort",
    "card_coverage": "Share of each cohort's volumes for which a field is known (%)",
    "card_pyramids": "Sex and age of the people of each diagnosis",
}


def build_tables(results: Results) -> dict[str, PrintedTable]:
    """All tables of the page by name, each built once."""
    builders = [item for items in SECTIONS.values() for item in items if callable(item)]
    return {table.name: table for table in (build(results) for build in builders)}


def list_cautions(results: Results) -> list[str]:
    """What a reader must know first: counts that are off, and diagnoses that sit in one place."""
    counts, labels = results.read("counts"), results.read("labels")
    warned = [] if counts is None else list_warnings(counts)
    return warned + ([] if labels is None else bias.describe_places(labels))


def render_card(results: Results, tables: dict[str, PrintedTable], pictures: dict[str, Path]) -> str:
    """One HTML page that needs nothing beside it.

    Args:
        results: the run.
        tables: from `build_tables`.
        pictures: name to PNG, from `draw_figures`.
    """
    shown = iter(tables.values())
    sections = {
        heading: [
            {"table": describe_table(results, next(shown))}
            if callable(item)
            else {"figure": item, "caption": CAPTIONS[item], "picture": embed_picture(pictures[item])}
            for item in items
        ]
        for heading, items in SECTIONS.items()
    }
    return render(
        "card.html",
        run=describe_run(results),
        warnings=[*list_cautions(results), *list_withdrawn(results)],
        sections=sections,
    )
