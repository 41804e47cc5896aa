"""Tables of text: each its own, with notes and reasons, and what a spreadsheet would run is text."""

import pandas as pd
import pytest

from braing3n.paper.printed.tables import PrintedTable
from braing3n.paper.render import defuse, render_html, render_latex, render_markdown, write_formats


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+SUM(A1)", "@x", "-2+3+cmd", "\tx", "-site"])
def test_a_formula_is_written_as_text(cell, tmp_path):
    assert defuse(cell) == f"'{cell}"
    table = PrintedTable("table_3", "Cohorts", pd.DataFrame({"Site": [cell], cell: ["1"]}), "x")
    write_formats(table, tmp_path)
    read = pd.read_csv(tmp_path / "table_3.csv")
    assert read["Site"].iloc[0] == f"'{cell}"
    assert list(read.columns)[1].startswith("'")


@pytest.mark.parametrize("cell", ["-0.12", "+0.138 [+0.119, +0.158]", "-3", "n/a: too few", "", 3.5])
def test_numbers_with_a_sign_stay(cell):
    assert defuse(cell) == cell


def test_tables_of_one_name_are_each_rendered_as_their_own():
    """Also where the earlier ones are gone, and the next lie at their place in memory."""
    for k in range(50):
        page = render_html(PrintedTable("scores", "Scores", pd.DataFrame({"AUC": [f"cell {k}."]}), "x"))
        assert f"cell {k}." in page


def test_notes_and_reasons_stand_below_a_table_in_every_format():
    frame = pd.DataFrame({"AUC | ours": ["n/a: a|b is 4-D"], "AUC | paper": [".9"], "task": ["sex"]})
    table = PrintedTable("t", "T", frame, "x", ["of 5 folds"])
    for text in (render_html(table), render_markdown(table), render_latex(table)):
        assert "of 5 folds" in text
        assert "[1] a|b is 4-D" in text
        assert "n/a [1]" in text
    assert "| a\\|b |" in render_markdown(PrintedTable("t", "T", pd.DataFrame({"x": ["a|b"]}), "x"))
    assert r"\multicolumn{2}{c}{AUC}" in render_latex(table)
