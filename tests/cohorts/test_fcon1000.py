"""FCON1000: tables whose columns are known by their cells, and two layouts of one person."""

import re

import pytest

from braing3n.cohort import Miniature, load_cohort
from braing3n.core.errors import CohortError

from .fixtures import SPECIFICATIONS, read_fixture
from .trees import list_miniature, run_ingest, write_tree

FCON1000 = load_cohort("fcon1000")


def read(tmp_path, paths, tables=None, options=None):
    """The outcome of some paths and tables."""
    write_tree(tmp_path / "raw", list_miniature(Miniature("\n".join(paths))), tables or {})
    return run_ingest("fcon1000", tmp_path / "raw", tmp_path, options)


def test_swapped_columns_are_distinguished_by_their_cells(tmp_path):
    if not SPECIFICATIONS.is_dir():
        pytest.skip("../shared/cohorts is not beside this checkout")
    tables = read_fixture("fcon1000").tables
    name, line = next((name, text) for name, text in tables.items() if "Bangor" in name)
    outcome = read(tmp_path, ["Bangor/sub90005/anat/mprage_anonymized.nii.gz"], {name: line})
    row = outcome.records.iloc[0]
    age, sex = re.search(r"\d+$", line.strip()).group(), re.search(r"\t([mf])\t", line).group(1).upper()
    assert (row["age_years"], row["sex"]) == (float(age), sex)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sub00001\t1\t33\tm\tR\nsub00002\t2\t9999\tf\tL\n", (33, "M", "R")),
        ("sub00001\t7\t?\t33.25\r\nsub00002\t150\tf\t20\r\n", (33.25, "", "")),
        ("sub00001\t12\tM\t-1\nsub00002\t300\tF\t44\n", (None, "M", "")),
        ("\n", None),
        ("sub00001\t12\t33\nsub00002\t13\t44\n", None),
    ],
)
def test_age_sex_and_hand_of_a_table_without_header(tmp_path, text, expected):
    path, tables = "Oxford_part1/sub00001/anat/mprage_anonymized.nii.gz", {"Oxford_demographics.txt": text}
    if expected is None:
        with pytest.raises(CohortError, match=r"Oxford_demographics.txt: no column holds m and f"):
            read(tmp_path, [path], tables)
        return
    row = read(tmp_path, [path], tables).records.iloc[0]
    age = None if row.isna()["age_years"] else row["age_years"]
    assert (row["subject_id"], age, row["sex"], row["handedness"]) == ("Oxford_sub00001", *expected)


def test_the_adults_with_adhd_can_be_called_healthy_as_in_the_paper(tmp_path):
    path = "NewYork_a_ADHD_part1/NewYork_a_ADHD/sub90003/anat/mprage_anonymized.nii.gz"
    assert read(tmp_path / "a", [path]).records["dx"].tolist() == ["ADHD"]
    assert read(tmp_path / "b", [path], options={"fcon_adhd_as_hc": True}).records["dx"].tolist() == ["HC"]


@pytest.mark.parametrize("header", ["participant_id\tage\tsex\thanded", "Subject\tage\tsex\thandedness"])
def test_the_bids_release_gives_the_same_person_once(tmp_path, header):
    paths = ["Oulu/sub-90001/anat/sub-90001_T1w.nii.gz", "Leipzig/sub-90001/anat/sub-90001_T1w.nii.gz"]
    classic = "download/Oulu/sub90001/anat/mprage_anonymized.nii.gz"
    rows = {"Oulu": "sub-90001\t22\tf\tR", "Leipzig": "sub-90001\t9999\tm\tL"}
    tables = {f"{site}/participants.tsv": f"{header}\n{row}\n" for site, row in rows.items()}
    outcome = read(tmp_path, [*paths, classic], tables)
    records = outcome.records.set_index("subject_id")
    assert list(records.index) == ["Leipzig_sub90001", "Oulu_sub90001"]
    assert records.loc["Oulu_sub90001", "path"].endswith(classic)
    assert records["sex"].tolist() == ["M", "F"]
    assert records["handedness"].tolist() == ["L", "R"]
    assert records["age_years"].isna().tolist() == [True, False]
    assert outcome.left_out["reason"].str.startswith("the same person in another layout").tolist() == [True]


def test_a_skull_stripped_scan_is_taken_where_there_is_no_other(tmp_path):
    path = "Oulu/sub9000{1,2}/anat/mprage_skullstripped.nii.gz"
    records = read(tmp_path, [path, "Oulu/sub90001/anat/mprage_anonymized.nii.gz"]).records
    assert records["is_stripped"].tolist() == [0, 1]
    assert records["is_defaced"].tolist() == [1, 0]


def test_a_hand_that_nobody_explains_costs_no_other_hand(tmp_path):
    rows = "".join(f"sub0000{n}\t{n}\t2{n}\tm\t{hand}\n" for n, hand in enumerate("RLBRR", start=1))
    paths = [f"Oxford/sub0000{n}/anat/mprage_anonymized.nii.gz" for n in range(1, 6)]
    records = read(tmp_path, paths, {"Oxford_demographics.txt": rows}).records
    assert records["handedness"].tolist() == ["R", "L", "A", "R", "R"]


def test_a_hand_that_is_no_word_at_all_stops_with_its_value(tmp_path):
    rows = "".join(f"sub0000{n}\t{n}\t2{n}\tm\t{hand}\n" for n, hand in enumerate("RLXRR", start=1))
    with pytest.raises(CohortError, match=r"Oxford_demographics.txt, column 'hand': 'X'"):
        read(tmp_path, ["Oxford/sub00003/anat/mprage_anonymized.nii.gz"], {"Oxford_demographics.txt": rows})


def test_one_age_that_is_none_costs_no_other_age(tmp_path):
    ages = [*range(20, 40), 430]
    rows = "".join(f"sub{n:05d}\t{n}\t{age}\tm\n" for n, age in enumerate(ages, start=1))
    paths = [f"Oxford/sub{n:05d}/anat/mprage_anonymized.nii.gz" for n in (1, 21)]
    records = read(tmp_path, paths, {"Oxford_demographics.txt": rows}).records
    assert records["age_years"].iloc[0] == 20
    assert records["age_years"].isna().tolist() == [False, True]
    assert "430 is not between 0 and 120" in records["qc_flag"].iloc[1]
