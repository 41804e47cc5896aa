"""One table of text cells as CSV, Markdown, LaTeX and HTML; reasons of missing cells become notes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from braing3n.core.runtime import write_atomically
from braing3n.paper.printed.tables import LEVELS, PrintedTable
from braing3n.site.pages import render

_MISSING = "n/a: "


def write_formats(table: PrintedTable, out_dir: Path) -> None:
    """Write `<name>.csv`, `.md`, `.tex` and `.html` into a folder, each atomically."""
    texts = {
        "csv": table.frame.map(defuse).rename(columns=defuse).to_csv(index=False),
        "md": render_markdown(table),
        "tex": render_latex(table),
        "html": render("table.html", title=table.title, table=render_html(table)),
    }
    for suffix, text in texts.items():
        with write_atomically(Path(out_dir) / f"{table.name}.{suffix}") as beside:
            beside.write_text(text)


def defuse(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: names of sites and people come from files."""
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell.split()[0].replace("−", "-"))
        return cell  # a number with its sign, an interval behind it
    except ValueError:
        return f"'{cell}"


def number_reasons(table: PrintedTable) -> tuple[pd.DataFrame, list[str]]:
    """The frame with `n/a: reason` as `n/a [k]`, and the notes followed by the reasons in order."""
    reasons: dict[str, int] = {}

    def shorten(cell: str) -> str:
        if not cell.startswith(_MISSING):
            return cell
        return f"n/a [{reasons.setdefault(cell.removeprefix(_MISSING), len(reasons) + 1)}]"

    frame = table.frame.astype(str).map(shorten)
    return frame, [*table.notes, *(f"[{k}] {reason}" for reason, k in reasons.items())]


def render_markdown(table: PrintedTable) -> str:
    """A title, a pipe table and its notes."""
    frame, notes = number_reasons(table)
    head = [name.replace(LEVELS, ", ") for name in frame.columns]
    lines = [head, ["---"] * len(head), *frame.to_numpy().tolist()]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *rows, "", *(f"- {note}" for note in notes)]) + "\n"


def render_latex(table: PrintedTable) -> str:
    """A booktabs table with its notes as the caption's continuation."""
    frame, notes = number_reasons(table)
    frame.columns = _split_columns(frame.columns)
    caption = _escape_latex(" ".join([f"{table.title.rstrip('.')}.", *notes]))
    body = frame.map(_escape_latex)
    if isinstance(body.columns, pd.MultiIndex):
        body.columns = pd.MultiIndex.from_tuples([tuple(map(_escape_latex, name)) for name in body.columns])
    else:
        body.columns = [_escape_latex(name) for name in body.columns]
    # Notes hold underscores and percent signs, which are escaped above and not twice.
    return body.to_latex(
        index=False, escape=False, caption=caption, label=f"tab:{table.name}", multicolumn_format="c"
    )


def _split_columns(names: pd.Index) -> pd.Index:
    if not any(LEVELS in name for name in names):
        return names
    return pd.MultiIndex.from_tuples(
        [tuple(name.split(LEVELS)) if LEVELS in name else (name, "") for name in names]
    )


def _escape_latex(text: str) -> str:
    for sign, code in (
        ("\\", r"\textbackslash "),
        *((sign, f"\\{sign}") for sign in "&%$#_{}"),
        ("±", r"$\pm$"),
    ):
        text = text.replace(sign, code)
    return text.replace("^", r"\textasciicircum ").replace("~", r"\textasciitilde ")


@cache
def render_html(table: PrintedTable) -> str:
    """A fragment of HTML by great-tables, columns with two levels under spanners; made once a table."""
    from great_tables import GT

    frame, notes = number_reasons(table)
    # It writes cell by cell, which columns of objects take faster than columns of strings.
    shown = GT(frame.astype(object), id=table.name).tab_header(title=table.title)
    if any(LEVELS in name for name in frame.columns):
        shown = shown.tab_spanner_delim(delim=LEVELS)
    for note in notes:
        shown = shown.tab_source_note(source_note=note)
    shown = shown.tab_options(table_font_size="12px", data_row_padding="3px", heading_align="left")
    return shown.as_raw_html()
