"""Tables of text: what a spreadsheet would run is text."""

import pandas as pd
import pytest

from braing3n.paper.printed.tables import Table
from braing3n.paper.render import defuse, write_formats


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+SUM(A1)", "@x", "-2+3+cmd", "\tx", "-site"])
def test_a_formula_is_written_as_text(cell, tmp_path):
    assert defuse(cell) == f"'{cell}"
    table = Table("table_3", "Cohorts", pd.DataFrame({"Site": [cell], cell: ["1"]}), "x")
    write_formats(table, tmp_path)
    read = pd.read_csv(tmp_path / "table_3.csv")
    assert read["Site"].iloc[0] == f"'{cell}"
    assert list(read.columns)[1].startswith("'")


@pytest.mark.parametrize("cell", ["-0.12", "+0.138 [+0.119, +0.158]", "-3", "n/a: too few", "", 3.5])
def test_numbers_with_a_sign_stay(cell):
    assert defuse(cell) == cell
