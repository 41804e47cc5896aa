"""Tables as people download them: every encoding, separator, line end and header gives the same rows."""

import csv
import io
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import Table
from braing3n.cohort.tables import SEPARATORS, decode_text, find_files, is_table, read_rows, read_table_file
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


# What a cell may hold: letters, both kinds of quotes, other tables' separators; a line end would be quoted.
CELLS = st.text(st.sampled_from("ab7é '\".,;|"), max_size=8).map(str.strip)
HEADER = ["ID", "Age", "Note", "Ort"]


@pytest.fixture(scope="module")
def table_path(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "people.csv"


@given(
    st.lists(st.tuples(*[CELLS] * 4).filter(any), min_size=1, max_size=12),
    st.sampled_from(SEPARATORS),
    st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1252")),
    st.sampled_from(("\n", "\r\n", "\r")),
)
def test_a_table_that_a_spreadsheet_writes_reads_back(table_path, lines, separator, encoding, end):
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\n").writerows([HEADER, *lines])
    table_path.write_bytes(file.getvalue().replace("\n", end).encode(encoding))
    header, rows, faults = read_rows(table_path)
    assert (header, faults) == (HEADER, [])
    assert rows == [dict(zip(HEADER, line, strict=True)) for line in lines]


def test_commas_within_cells_do_not_separate_where_tabs_do(table_path):
    table_path.write_text("ID\tAge\tDrugs\n" + "01\t50\ta, b, c, d, e\n" * 9)
    assert read_rows(table_path)[1][0] == {"ID": "01", "Age": "50", "Drugs": "a, b, c, d, e"}


@given(st.binary() | st.binary().map(lambda content: b"\xff\xfe" + content))
def test_bytes_of_any_kind_are_rows_or_one_sentence(table_path, content):
    table_path.write_bytes(content)
    header, rows, _ = read_rows(table_path)
    assert all(set(row) <= set(header) for row in rows)
    with suppress(CohortError):
        rows = read_table_file(table_path, Table("people", r"people\.csv", {"ID": "subject"}))
        assert all("id" in row for row in rows)


@given(st.text(), st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")))
def test_text_reads_back_with_plain_line_ends(text, encoding):
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    text = text.lstrip("\ufeff")
    plain = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    assert decode_text((mark + text).encode(encoding)) == plain


@given(st.lists(st.dates(date(1990, 1, 1), date(2190, 1, 1)), min_size=1, unique=True), st.data())
def test_the_newest_export_is_found_in_any_order_and_form(days, data):
    names = [day.strftime(data.draw(st.sampled_from(("%d%b%Y", "%Y%m%d")))) for day in days]
    paths = data.draw(st.permutations([Path(f"people_{name}.csv") for name in names]))
    assert find_files(TABLE, paths) == [Path(f"people_{names[days.index(max(days))]}.csv")]
