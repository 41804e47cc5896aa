"""Found against expected is a warning beyond the tolerance, never an error, never for a miniature."""

import pandas as pd
import pytest

from braing3n.cohort import load_cohort
from braing3n.config import CohortSettings
from braing3n.core.contracts import read_table, write_table
from braing3n.manifest.command import app
from braing3n.manifest.contracts import COUNTS
from braing3n.manifest.counts import count_cohorts, expect_counts, list_warnings
from braing3n.volumes.contracts import VOLUME_LIST


@pytest.fixture
def count(tmp_path):
    """A function: expected, tolerance -> the counts of a list with 20 volumes of 10 people in `ixi`."""
    blanks = {str: "", int: 0, float: float("nan")}
    blank = {name: blanks[kind] for name, (kind, _) in VOLUME_LIST.items()}
    rows = [
        blank
        | {"volume_id": f"v{n}", "cohort": "ixi", "person_id": f"p{n % 10}"}
        | {"modality": "T1", "split": "train"}
        for n in range(20)
    ]
    write_table(pd.DataFrame(rows), tmp_path / "list.parquet", VOLUME_LIST)

    def run(expected, tolerance=0.05):
        paths = tmp_path / "list.parquet", tmp_path / "counts.parquet"
        count_cohorts(paths[0], expected, tolerance, paths[1])
        return read_table(paths[1], COUNTS).set_index("cohort")

    return run


def expect(volumes, people, key="ixi"):
    return {key: {"kind": key, "reason": "", "volumes": volumes, "people": people}}


@pytest.mark.parametrize(
    ("volumes", "people", "tolerance", "verdict"),
    [
        (20, 10, 0.0, "met"),
        (21, 10, 0.05, "met"),
        (22, 10, 0.05, "not met"),
        (20, 11, 0.05, "not met"),
        (16, 10, 0.05, "not met"),
        (22, 11, 0.1, "met"),
    ],
)
def test_volumes_and_people_are_compared_within_the_tolerance(
    count, capsys, volumes, people, tolerance, verdict
):
    row = count(expect(volumes, people), tolerance).loc["ixi"]
    assert (row["n_volumes"], row["n_people"]) == (20, 10), "people by person_id, not by rows"
    assert row["verdict"] == verdict
    assert capsys.readouterr().out.startswith("warning: ixi: ") == (verdict == "not met")


def test_the_warning_is_one_sentence_with_both_numbers(count, capsys):
    count(expect(40, 10))
    assert capsys.readouterr().out == (
        "warning: ixi: 20 of 40 expected volumes (-50 %) and 10 of 10 expected people (+0 %), "
        "beyond the tolerance of 5 %.\n"
    )


def test_a_cohort_of_which_nothing_was_kept_is_warned_of(count):
    row = count(expect(100, 50, key="adni")).loc["adni"]
    assert (row["n_volumes"], row["verdict"]) == (0, "not met")


def test_a_miniature_and_a_generic_dataset_have_nothing_to_compare_with(count, capsys):
    cohorts = {
        "ixi": CohortSettings(miniature={"spacing_mm": 3.0}),
        "lab": CohortSettings(kind="bids", raw_dir="x"),
        "oasis": CohortSettings(kind="oasis1", raw_dir="x"),
    }
    expected = expect_counts(cohorts)
    assert expected["ixi"] == {"kind": "ixi", "reason": "a miniature"}
    assert expected["lab"] == {"kind": "bids", "reason": "cohorts/bids.py expects no number"}
    assert expected["oasis"]["volumes"] == load_cohort("oasis1").n_volumes
    counts = count(expected)
    assert counts["verdict"].to_dict() == {"ixi": "n/a", "lab": "n/a", "oasis": "not met"}
    assert [text[:6] for text in list_warnings(counts.reset_index())] == ["oasis:"]
    assert capsys.readouterr().out.count("\n") == 1


def test_the_command_line_writes_the_table(count, tmp_path):
    count({})
    (tmp_path / "cohorts.ixi.json").write_text(CohortSettings(raw_dir="x").as_json())
    (tmp_path / "tolerance.json").write_text("0.05")
    arguments = ["counts", "--volume-list", str(tmp_path / "list.parquet")]
    arguments += ["--settings-dir", str(tmp_path), "--cohorts", "ixi"]
    arguments += ["--tolerance", str(tmp_path / "tolerance.json"), "--out", str(tmp_path / "out.parquet")]
    app(arguments, result_action="return_value")
    (row,) = read_table(tmp_path / "out.parquet", COUNTS).to_dict("records")
    assert (row["cohort"], row["n_volumes"], row["verdict"]) == ("ixi", 20, "not met")
