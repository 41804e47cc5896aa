"""Who is who, and which split: functions of ids alone."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braing3n.config import ManifestSettings
from braing3n.core.errors import ConfigurationError
from braing3n.manifest.people import assign_split, check_splits, describe_copies, join_people

NO_PAIRS = pd.DataFrame({"volume_id": [], "other_volume_id": []})


def test_byte_equal_scans_make_one_person_of_two_ids():
    volumes = pd.DataFrame(
        {
            "volume_id": ["1", "2", "3", "4"],
            "person_id": ["a/1", "b/7", "b/7", "c/3"],
            "group_id": ["a/1", "b/7", "b/7", "c/3"],
            "raw_sha256": ["same", "same", "other", ""],
        }
    )
    joined = join_people(volumes, NO_PAIRS)
    assert list(joined["person_id"]) == ["a/1", "a/1", "a/1", "c/3"]
    assert list(joined["group_id"]) == ["a/1", "a/1", "a/1", "c/3"]


def test_near_duplicates_join_groups_with_all_who_are_in_them_and_nobodys_person_id():
    volumes = pd.DataFrame(
        {
            "volume_id": ["1", "2", "3", "4", "5"],
            "person_id": ["a/1", "b/7", "b/8", "c/3", "d/4"],
            "group_id": ["a/1", "b/family-2", "b/family-2", "c/3", "d/4"],
            "raw_sha256": ["", "x", "y", "y", "z"],
        }
    )
    pairs = pd.DataFrame({"volume_id": ["1"], "other_volume_id": ["2"]})
    joined = join_people(volumes, pairs)
    assert list(joined["person_id"]) == ["a/1", "b/7", "b/8", "b/8", "d/4"]
    assert list(joined["group_id"]) == ["a/1"] * 4 + ["d/4"]


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.text(min_size=1))
def test_nobody_moves_when_others_come(groups, newcomer):
    settings = ManifestSettings(train=0.6, validation=0.2)
    before = [assign_split(group, settings) for group in groups]
    assign_split(newcomer, settings)
    assert [assign_split(group, settings) for group in groups] == before


def test_the_shares_are_met():
    settings = ManifestSettings(train=0.6, validation=0.2)
    splits = pd.Series([assign_split(f"g{i}", settings) for i in range(5000)]).value_counts(normalize=True)
    assert splits["train"] == pytest.approx(0.6, abs=0.03)
    assert splits["validation"] == pytest.approx(0.2, abs=0.03)


def test_an_empty_split_stops_with_one_sentence():
    volumes = pd.DataFrame({"group_id": ["a", "b"], "split": ["train", "validation"]})
    with pytest.raises(ConfigurationError, match="split 'test' is empty with 2 groups"):
        check_splits(volumes)


def test_one_file_under_two_ids_is_reported():
    digests = {"a": "x", "b": "x", "c": "y"}
    rows = [{"volume_id": f"{name}_T1", "person_id": name, "raw_sha256": x} for name, x in digests.items()]
    volumes = pd.DataFrame(rows)
    assert describe_copies(volumes) == ["a_T1, b_T1: one raw file under several ids, taken as one person."]
