"""Tables as people download them: every encoding, separator, line end and header gives the same rows."""

import pandas as pd
import pytest

from braing3n.cohort import Table
from braing3n.cohort.tables import find_files, is_table, read_table_file
from braing3n.core.errors import CohortError

TABLE = Table("people", r"people.*\.(csv|tsv|xlsx?)", {"ID": "subject"}, needs=("Age",))
TEXT = "ID ,Age,Stadt\n007,61.5,Zürich\n8,,Köln\n"
ROWS = [{"id": "007", "age": "61.5", "stadt": "Zürich"}, {"id": "8", "age": "", "stadt": "Köln"}]
VARIANTS = {
    "plain.csv": TEXT.encode(),
    "byte-order mark.csv": TEXT.encode("utf-8-sig"),
    "utf-16.csv": TEXT.encode("utf-16"),
    "windows latin.csv": TEXT.encode("cp1252"),
    "cr only.csv": TEXT.replace("\n", "\r").encode(),
    "crlf.csv": TEXT.replace("\n", "\r\n").encode(),
    "tabs under csv.csv": TEXT.replace(",", "\t").encode(),
    "commas under tsv.tsv": TEXT.encode(),
    "semicolons.csv": TEXT.replace(",", ";").encode(),
    "two header rows.csv": b"Identifier,Age at visit,City\n" + TEXT.encode(),
    "a title above.csv": b"Export of 2024-01-01\n\n" + TEXT.encode(),
    "blank rows.csv": TEXT.encode() + b",,\n,,\n",
}


@pytest.mark.parametrize("name", VARIANTS)
def test_any_form_gives_the_same_rows(tmp_path, name):
    path = tmp_path / f"people {name}"
    path.write_bytes(VARIANTS[name])
    assert is_table(path, TABLE)
    assert read_table_file(path, TABLE) == ROWS


@pytest.mark.parametrize("end", ["xls", "xlsx"])
def test_workbooks_give_the_rows_of_the_named_sheet(tmp_path, end):
    path = tmp_path / f"people.{end}"
    cells = [["ID", "Age", "Seen"], ["007", 61.5, pd.Timestamp("2006-03-02")], [8, None, None]]
    if end == "xlsx":
        with pd.ExcelWriter(path) as book:
            pd.DataFrame([["nothing"]]).to_excel(book, sheet_name="Notes", index=False)
            pd.DataFrame(cells).to_excel(book, sheet_name="Table", index=False, header=False)
    else:
        import xlwt

        book = xlwt.Workbook()
        book.add_sheet("Notes").write(0, 0, "nothing")
        sheet, day = book.add_sheet("Table"), xlwt.easyxf(num_format_str="YYYY-MM-DD")
        for i, line in enumerate(cells):
            for j, cell in enumerate(line):
                if hasattr(cell, "to_pydatetime"):
                    sheet.write(i, j, cell.to_pydatetime(), day)
                elif cell is not None:
                    sheet.write(i, j, cell)
        book.save(path)
    table = Table("people", r"people\.xlsx?", {"ID": "subject"}, sheet="Table")
    assert read_table_file(path, table) == [
        {"id": "007", "age": "61.5", "seen": "2006-03-02"},
        {"id": "8", "age": "", "seen": ""},
    ]


def test_a_table_without_its_key_is_one_sentence(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("Subject,Age\n1,2\n")
    table = Table("people", r"people\.csv", {"ID": "subject"})
    with pytest.raises(
        CohortError, match=r"people\.csv: has no column 'ID' \(its first line: Subject, Age\)"
    ):
        read_table_file(path, table)


def test_a_file_of_the_name_without_the_columns_is_another_table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("ID,Weight\n1,2\n")
    assert not is_table(path, TABLE)
    assert read_table_file(path, TABLE) is None


def test_of_several_exports_the_newest_counts(tmp_path):
    paths = [tmp_path / f"people_{day}.csv" for day in ("01May2026", "22Nov2025", "03Jan2026")]
    assert find_files(TABLE, paths) == paths[:1]
    assert find_files(Table("all", TABLE.files, {"ID": "subject"}, is_newest_only=False), paths) == paths
