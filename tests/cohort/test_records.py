"""Cells as numbers and codes: what is not understood is flagged or stops the ingest, and is never lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import Cell, Cohort, Found, Table
from braing3n.cohort.records import MISSING, CohortTables, to_number
from braing3n.core.errors import CohortError

CODES = {"1": "M", "2": "F", "female": "F", "9": ""}
TABLE = Table("people", r"people\.csv", {"ID": "subject"}, missing=("-4",))
FIELDS = {
    "age_years": (Cell("people", "age"),),
    "field_strength_t": (Cell("people", "tesla"),),
    "sex": (Cell("people", "sex", CODES),),
}
CELLS = st.text(
    st.characters(exclude_characters='"', exclude_categories=["Cc", "Cs", "Z"])
) | st.floats().map(str)


@pytest.fixture(scope="module")
def open_book(tmp_path_factory):
    """Open a cohort with one table of one person, its cells as given."""
    path = tmp_path_factory.mktemp("records") / "people.csv"

    def write(**cells):
        names, texts = zip(*cells.items(), strict=True)
        line = ",".join(f'"{text}"' for text in texts)
        path.write_text(f"ID,{','.join(names)},end\n7,{line},x\n", encoding="utf-8")
        return CohortTables(Cohort("t", "s", "l", "c", tables=(TABLE,), fields=FIELDS), [path], {})

    return write


def is_nothing(text):
    return text.lower() in MISSING or text == "-4"


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(("{}", " {} ", "+{}")))
def test_a_number_reads_back(number, form):
    assert to_number(form.format(abs(number))) == abs(number)
    assert to_number(str(-number)) == -number


@given(st.text())
def test_a_text_is_a_finite_number_or_none(text):
    number = to_number(text)
    assert number is None or abs(number) < float("inf")


@pytest.mark.parametrize("text", ["1_000", "1_2", "inf", "nan", "1e999", "", "1,5", "0x10"])
def test_what_only_python_or_nobody_reads_as_a_number_is_none(text):
    assert to_number(text) is None


@given(age=CELLS, tesla=CELLS)
def test_a_number_is_within_its_bounds_or_flagged(open_book, age, tesla):
    record = open_book(age=age, tesla=tesla).read({"subject": "7"})
    bounds = {"age_years": (age, 0, 120), "field_strength_t": (tesla, 0.01, 20)}
    for name, (text, low, high) in bounds.items():
        if low <= record[name] <= high:
            assert record[name] == float(text)
            assert record[f"{name}_source"]
        else:
            assert is_nothing(text) or f"{name}: " in record["qc_flag"], (text, record)
            assert record[name] != record[name]
            assert record[f"{name}_source"] == ""


@given(sex=CELLS | st.sampled_from([*CODES, "FEMALE", "2.0", "1.5"]))
def test_a_code_is_spelled_out_or_stops_the_ingest(open_book, sex):
    reader = open_book(sex=sex)
    record = reader.read({"subject": "7"})
    if is_nothing(sex):
        assert record["sex"] == ""
    elif record["sex"] or sex in ("9", "9.0", "09"):
        reader.check_codes("mine")
        assert record["sex"] == CODES.get(sex.lower(), CODES.get(f"{to_number(sex) or 0:g}"))
    else:
        with pytest.raises(CohortError, match=r"mine: codes .*people\.csv, column 'sex': ") as caught:
            reader.check_codes("mine")
        assert repr(sex) in str(caught.value)


@given(st.sampled_from(["1", "2", "female"]), st.sampled_from(("{}", "0{}", "{}.0", "{}.00")))
def test_a_code_is_known_as_a_spreadsheet_writes_it(open_book, code, form):
    text = form.format(code) if code.isdigit() else code.upper()
    visit = open_book(sex="1").open_visit({"subject": "7"})
    assert visit.decode("people", Found(text, "people:sex"), CODES).value == CODES[code]
