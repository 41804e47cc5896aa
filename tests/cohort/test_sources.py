"""Sources of fields: genotypes, ages from birth and sidecars, however tables write them."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.cohort import Found
from braing3n.cohort.sources import read_birth_age, read_genotype, read_sidecar, sum_items
from braing3n.core.errors import CohortError


class Visit:
    """One row's cells, and what a source says of them."""

    def __init__(self, scan_date="", **cells):
        self.facts, self.cells, self.flags, self.unknown = {"date": scan_date}, cells, [], []

    def find(self, table, column, missing=()):
        text = self.cells.get(column, "")
        return Found(text, f"{table}:{column}") if text else None

    def decode(self, table, found, codes):
        self.unknown.append(found.value)
        return Found("", found.source)

    def flag(self, text):
        self.flags.append(text)


@given(st.sampled_from("234"), st.sampled_from("234"))
def test_a_genotype_reads_back_from_every_form(one, other):
    expected = f"E{min(one, other)}/E{max(one, other)}"
    for text in (f"{one}/{other}", f"E{one}/E{other}", f"{one}{other}.0", f"e{one}e{other} (typed)"):
        assert read_genotype("t", "apoe")(Visit(apoe=text)).value == expected
    cells = Visit(a1=f"{one}.0", a2=other)
    assert read_genotype("t", "apoe", "a1+a2")(cells).value == expected


@given(st.text(st.sampled_from("E234156/. (ab"), min_size=1))
def test_a_genotype_is_two_known_alleles_or_an_unknown_code(text):
    visit = Visit(apoe=text)
    value = read_genotype("t", "apoe")(visit).value
    assert value in {f"E{a}/E{b}" for a in "234" for b in "234" if a <= b} or visit.unknown == [text]


@given(st.dates(date(1900, 1, 1), date(2020, 12, 31)), st.integers(0, 36_500))
def test_an_age_is_the_time_since_birth_by_day_or_by_month(born, n_days):
    scan = date.fromordinal(born.toordinal() + n_days)
    cells = {"dob": born.isoformat(), "month": str(born.month), "year": str(born.year)}
    for columns, error in (("dob", 1e-3), ("month+year", 0.05)):
        found = read_birth_age("t", columns)(Visit(scan.isoformat(), **cells))
        assert float(found.value) == pytest.approx(n_days / 365.25, abs=error)


@given(st.text(min_size=1))
def test_a_birth_that_is_no_date_is_flagged(text):
    visit = Visit("2010-01-01", dob=text)
    found = read_birth_age("t", "dob")(visit)
    assert found or visit.flags == [f"t:dob: {text!r} is no date"] or text.startswith("9999")


@pytest.fixture(scope="module")
def sidecar_path(tmp_path_factory):
    return tmp_path_factory.mktemp("sidecar") / "sub-1_T1w.json"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(JSON | st.fixed_dictionaries({"Manufacturer": JSON, "MagneticFieldStrength": JSON}))
def test_a_sidecar_is_one_row_or_one_sentence(sidecar_path, content):
    sidecar_path.write_text(json.dumps(content))
    if not isinstance(content, dict):
        with pytest.raises(CohortError, match=r"T1w\.json: is not a valid sidecar"):
            read_sidecar(sidecar_path)
        return
    (row,) = read_sidecar(sidecar_path)
    assert row["image"] == "sub-1_T1w"
    assert row["magneticfieldstrength"] == "" or 0.01 <= float(row["magneticfieldstrength"]) <= 20


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\ufeff[]", '[["Manufacturer", "GE"]]'])
def test_a_torn_or_odd_sidecar_is_one_sentence(sidecar_path, text):
    sidecar_path.write_text(text, encoding="utf-8")
    with pytest.raises(CohortError, match="is not a valid sidecar"):
        read_sidecar(sidecar_path)


@given(st.dictionaries(st.sampled_from("ab"), st.sampled_from(("0", "1.0", "2", "", "UR"))))
def test_a_sum_counts_only_where_each_item_is_answered(row):
    total = sum_items({"a": {"0": 0, "1": 1}, "b": {"0": 5, "1": 3}})(row)
    answers = [{"0": (0, 5), "1.0": (1, 3)}.get(row.get(item, "")) for item in "ab"]
    assert total == (None if None in answers else answers[0][0] + answers[1][1])
