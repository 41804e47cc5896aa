"""IXI's sheet: the codes that it explains, the one that it does not, and rows that contradict each other."""

import pytest

from braing3n.core.errors import CohortError

from .reading import read_record

HEADER = 'IXI_ID,"SEX_ID (1=m, 2=f)",ETHNIC_ID,QUALIFICATION_ID,DOB,DATE_AVAILABLE,STUDY_DATE,AGE\n'
FACTS = {"subject": "IXI900", "number": "900", "site": "Guys"}


def read(folder, *rows, name="IXI.csv"):
    return read_record("ixi", folder, {name: HEADER + "\n".join(rows) + "\n"}, FACTS)


@pytest.mark.parametrize(
    ("code", "race"),
    [("1", "White"), ("3", "Asian"), ("4", "Black"), ("5", "Asian"), ("6", "Other"), ("0", "")],
)
def test_every_code_of_the_sheet(tmp_path, code, race):
    assert read(tmp_path, f"900,1,{code},3,,1,,44")["race"] == race


def test_a_code_that_the_sheet_does_not_explain_stops(tmp_path):
    with pytest.raises(CohortError, match="'2'"):
        read(tmp_path, "900,1,2,3,,1,,44")


def test_the_table_as_csv_is_read(tmp_path):
    assert read(tmp_path, "900,2,1,3,,1,,44")["sex"] == "F"


def test_two_sexes_of_one_person_are_none_and_a_flag(tmp_path):
    record = read(tmp_path, "900,1,1,3,,1,,44", "900,2,1,3,,0,,44")
    assert record["sex"] == ""
    assert "sex: rows of one person say 1 and 2" in record["qc_flag"]
