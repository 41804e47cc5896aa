"""The review file: what it may say, how it is obeyed, and one sentence with the line for each mistake."""

from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.core.errors import ConfigurationError
from braing3n.manifest.quality.review import check_names, read_review, settle_decisions

IDS = ["lab_sub-01_ses-a_T1", "lab_sub-01_ses-a_FLAIR", "lab_sub-01_ses-b_T1", "lab_sub-011_T1"]


def write(tmp_path, text):
    path = tmp_path / "review.tsv"
    path.write_text(text)
    return path


def settle(tmp_path, lines, limit=0.0, scores=(9.0, 1.0, 1.0, float("nan"))):
    quality = pd.DataFrame({"volume_id": IDS, "outlier_score": scores, "outlier_measure": "noise"})
    path = write(tmp_path, "volume_id\tdecision\treason\n" + lines)
    return settle_decisions(quality, read_review(path), limit).set_index("volume_id")


def test_columns_may_stand_in_any_order_with_others_comments_and_a_spreadsheets_marks(tmp_path):
    text = "\ufeff# of today\nreason\tvolume_id\twho\tdecision\n"
    path = write(tmp_path, text + '"motion, much"\tlab_sub-01\tme\tDrop\n\n\tlab_sub-02\t\tkeep\n')
    found = [(item.name, item.decision, item.reason, item.line) for item in read_review(path)]
    assert found == [("lab_sub-01", "drop", "motion, much", 3), ("lab_sub-02", "keep", "", 5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("volume_id\treason\nlab_sub-01\tx\n", "line 1: has no column 'decision'"),
        ("", "line 1: has no column 'volume_id'"),
        ("volume_id,decision,reason\n", "line 1: has no column 'volume_id'"),
        (
            "volume_id\tdecision\treason\nlab_sub-01\tdorp\tx\n",
            "line 2: 'dorp' is no decision about lab_sub-01",
        ),
        (
            "volume_id\tdecision\treason\nlab_sub-01\tdrop\tx\n\nlab_sub-01\tkeep\ty\n",
            "line 4: lab_sub-01 is there already in line 2",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_line(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_review(path)
    assert str(path) in str(caught.value)


def test_a_review_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.tsv: the review \(manifest\.review\) cannot be read"):
        read_review(tmp_path / "no.tsv")


def test_unknown_names_are_errors_and_other_cohorts_rows_are_reported(tmp_path):
    head = "volume_id\tdecision\treason\n"
    for name in ("lab_sub-02_T1", "lab_sub-0", "lab", "lab_sub-01_ses-a_T"):
        decisions = read_review(write(tmp_path, f"{head}{IDS[0]}\tkeep\t\n{name}\tdrop\tx\n"))
        with pytest.raises(ConfigurationError, match=f"review.tsv, line 3: '{name}' is no volume_id"):
            check_names(decisions, IDS, ["lab"], "review.tsv")
    decisions = read_review(write(tmp_path, f"{head}{IDS[0]}\tkeep\t\nadni_sub-1\tdrop\tx\n"))
    assert "1 decisions are about cohorts that this run lacks (adni)" in check_names(
        decisions, IDS, ["lab"], ""
    )
    assert check_names(decisions[:1], IDS, ["lab"], "") == ""


def test_a_person_or_a_visit_is_dropped_whole_and_a_volumes_own_line_wins(tmp_path):
    settled = settle(tmp_path, "lab_sub-01\tdrop\tmoved\nlab_sub-01_ses-a_FLAIR\tkeep\tlooks fine\n")
    assert settled["status"].tolist() == ["excluded", "kept", "excluded", "kept"]
    assert settled["decision"].tolist() == ["drop", "keep", "drop", ""]
    assert settled["reason"].tolist() == ["dropped in review: moved", "", "dropped in review: moved", ""]
    settled = settle(tmp_path, "lab_sub-01_ses-a\tdrop\t\n")
    assert settled["status"].tolist() == ["excluded", "excluded", "kept", "kept"]
    assert settled["reason"].iloc[0] == "dropped in review"


def test_outliers_are_excluded_only_where_asked_and_keep_overrules(tmp_path):
    assert (settle(tmp_path, "")["status"] == "kept").all()
    settled = settle(tmp_path, "", limit=6.0)
    assert settled["status"].tolist() == ["excluded", "kept", "kept", "kept"]
    assert "noise" in settled["reason"].iloc[0]
    assert (settle(tmp_path, f"{IDS[0]}\tkeep\tseen\n", limit=6.0)["status"] == "kept").all()


@pytest.fixture(scope="module")
def review_path(tmp_path_factory):
    return tmp_path_factory.mktemp("review") / "review.tsv"


NAMES = st.text(st.sampled_from("ab01_-"), min_size=1)
REASONS = st.text(st.sampled_from("aé,;'_- 7")).map(str.strip)
LINES = st.dictionaries(NAMES, st.tuples(st.sampled_from(("keep", "drop", "Drop", "KEEP")), REASONS))
COLUMNS = ("volume_id", "decision", "reason", "who")


@given(LINES, st.permutations(COLUMNS), st.sampled_from(("\n", "\r\n", "\n\n# x\n")))
def test_what_a_person_decided_reads_back(review_path, lines, header, end):
    rows = [COLUMNS, *((name, word, why, "me") for name, (word, why) in lines.items())]
    cells = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    review_path.write_bytes(end.join("\t".join(row[name] for name in header) for row in cells).encode())
    found = {item.name: (item.decision, item.reason) for item in read_review(review_path)}
    assert found == {name: (word.lower(), why) for name, (word, why) in lines.items()}


BODIES = st.text(st.sampled_from('ab\t\n#" kep'))


@given(st.binary() | BODIES.map(lambda text: f"volume_id\tdecision\treason\n{text}".encode()))
def test_a_file_of_any_kind_is_decisions_or_one_sentence(review_path, content):
    review_path.write_bytes(content)
    with suppress(ConfigurationError):
        assert {item.decision for item in read_review(review_path)} <= {"keep", "drop"}
