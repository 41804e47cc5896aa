"""Pairs of visits against a list written out anew, and what they must not know."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from braing3n.config import LongitudinalSettings, TokenizerSettings
from braing3n.core.contracts import check_table, read_table, write_table
from braing3n.longitudinal.command import app
from braing3n.longitudinal.contracts import FORECASTS, PAIRS
from braing3n.longitudinal.forecast import list_forecasts
from braing3n.longitudinal.pairs import explain_absence, list_pairs
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import write_weights
from braing3n.tokenizer.model import Tokenizer

SETTINGS = LongitudinalSettings(cohorts=("lab",))


def make_labels(visits):
    """Label rows of (person, session, age, dx, split, more)."""
    rows = []
    for person, session, age, dx, split, more in visits:
        row = {name: {str: "", float: np.nan, int: 0}[kind] for name, (kind, _) in LABELS.items()}
        row |= {"volume_id": f"lab_{person}_{session}_T1", "cohort": "lab", "modality": "T1"}
        row |= {"person_id": f"lab/{person}", "group_id": f"lab/{person}", "subject_id": person}
        rows.append(row | {"session_id": session, "age_years": age, "dx": dx, "split": split} | more)
    return pd.DataFrame(rows)


VISITS = [
    ("a", "1", 70.0, "HC", "train", {"sex": "F", "cdr": 0.0, "vendor": "GE", "field_strength_t": 1.5}),
    ("a", "2", 71.0, "MCI", "train", {"sex": "F", "cdr": 0.5, "vendor": "GE", "field_strength_t": 3.0}),
    ("a", "3", 73.5, "AD", "train", {"sex": "F", "cdr": 1.0, "vendor": "GE", "field_strength_t": 3.0}),
    ("b", "2", 61.2, "AD", "test", {}),
    ("b", "1", 61.0, "AD", "test", {}),  # a fifth of a year
    ("c", "1", 50.0, "PD", "train", {}),
    ("c", "2", 52.0, "PD", "train", {}),
    ("d", "1", 80.0, "HC", "validation", {}),
    ("e", "1", np.nan, "HC", "train", {}),
    ("e", "2", 66.0, "HC", "train", {}),
    ("f", "1", 40.0, "HC", "train", {}),
    ("f", "2", 40.0, "HC", "train", {}),
    ("g", "1", 55.0, "HC", "validation", {}),
    ("g", "2", 57.0, "HC", "validation", {}),
]


def test_pairs_are_every_earlier_and_later_visit_far_enough_apart():
    pairs, flags = list_pairs(make_labels(VISITS), SETTINGS)
    check_table(pairs, PAIRS, "test")
    found = set(zip(pairs["volume_id"], pairs["later_volume_id"], pairs["years"], strict=True))
    assert found == {
        ("lab_a_1_T1", "lab_a_2_T1", 1.0),
        ("lab_a_1_T1", "lab_a_3_T1", 3.5),
        ("lab_a_2_T1", "lab_a_3_T1", 2.5),
        ("lab_g_1_T1", "lab_g_2_T1", 2.0),
    }
    by_ends = pairs.set_index(["volume_id", "later_volume_id"])
    assert by_ends.loc[("lab_a_1_T1", "lab_a_3_T1"), ["disease", "cdr", "age_years"]].tolist() == [
        "HC",
        0.0,
        70.0,
    ]
    assert by_ends["scanner"].tolist() == ["other", "other", "same", "unknown"]
    assert any(flag.startswith("1 visits of people with several have no age") for flag in flags)
    assert any(flag.startswith("1 people have one age") for flag in flags)


def test_visits_are_in_order_of_age_whatever_their_names():
    visits = [
        ("a", "2", 60.0, "HC", "test", {"vendor": "GE"}),
        ("a", "1", 62.0, "HC", "test", {"vendor": "GE"}),  # its field strength is not known
        ("b", "1", np.nan, "HC", "test", {}),
    ]
    labels = make_labels(visits)
    pairs, _ = list_pairs(labels, SETTINGS)
    ends = pairs[["volume_id", "later_volume_id", "years", "scanner"]].to_numpy().tolist()
    assert ends == [["lab_a_2_T1", "lab_a_1_T1", 2.0, "unknown"]]
    forecasts = list_forecasts(labels, pairs, SETTINGS, SETTINGS.forecast)
    assert set(forecasts["volume_id"]) == {"lab_a_2_T1"}, "nobody is forecast whose age is not known"


def test_nothing_of_the_future_enters():
    """With another diagnosis, CDR and sex at the later visits the pairs of first visits stay the same."""
    labels = make_labels(VISITS)
    changed = labels.copy()
    is_later = labels["session_id"] != "1"
    changed.loc[is_later, ["dx", "cdr", "sex"]] = ["AD", 3.0, "M"]
    first = [
        list_pairs(table, SETTINGS)[0].query("volume_id.str.contains('_1_')") for table in (labels, changed)
    ]
    pd.testing.assert_frame_equal(*first)


def test_other_cohorts_modalities_and_second_scans_of_a_visit_make_no_pair():
    labels = make_labels(VISITS)
    assert list_pairs(labels, LongitudinalSettings(cohorts=("adni",)))[0].empty
    assert len(list_pairs(labels, LongitudinalSettings(cohorts=()))[0]) == 4
    assert list_pairs(labels, SETTINGS.model_copy(update={"modality": "T2"}))[0].empty
    again = labels[labels["person_id"] == "lab/a"].assign(run="2")
    again["volume_id"] = again["volume_id"] + "_run-2"
    assert len(list_pairs(pd.concat([labels, again]), SETTINGS)[0]) == 4


def test_a_run_without_pairs_says_why():
    labels = make_labels(VISITS)
    assert explain_absence(list_pairs(labels, SETTINGS)[0], SETTINGS) == ""
    held_out = labels.assign(split="test")
    assert "0 pairs of T1 visits of lab in the training split" in explain_absence(
        list_pairs(held_out, SETTINGS)[0], SETTINGS
    )


@pytest.mark.parametrize("n", [1, 64])
def test_forecasts_are_of_held_out_first_visits(n):
    labels = make_labels(VISITS)
    pairs = list_pairs(labels, SETTINGS)[0]
    options = SETTINGS.forecast.model_copy(update={"years": (1.0, 4.0), "n_baselines": n})
    table = list_forecasts(labels, pairs, SETTINGS, options)
    check_table(table, FORECASTS, "test")
    assert set(table["split"]) <= {"validation", "test"}
    own = table[table["person_id"] == "lab/g"]
    assert own["years"].tolist() == [0.0, 1.0, 4.0, 2.0]
    assert own["later_volume_id"].tolist() == ["", "", "", "lab_g_2_T1"]
    assert table["person_id"].nunique() == min(n, 3)
    assert set(table["volume_id"]) <= {"lab_g_1_T1", "lab_d_1_T1", "lab_b_1_T1"}


def test_a_run_without_pairs_goes_on_with_an_empty_table_and_the_reason(tmp_path, monkeypatch, capsys):
    """All of the word's commands, as the rules call them."""
    monkeypatch.chdir(tmp_path)
    write_table(make_labels(VISITS).assign(split="test"), "labels.parquet", LABELS)
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerSettings(d=3, widths=(8, 4), n_blocks=1), 12, 4, (2, 2, 2))
    write_weights("tokenizer.safetensors", tokenizer.state_dict(), "Tokenizer", tokenizer.describe())
    np.save("tokens.npy", np.zeros((len(VISITS), 8, 3), np.float16))
    given = ["--tokens", "tokens.npy", "--tokenizer", "tokenizer.safetensors", "--labels", "labels.parquet"]
    given += ["--weights", "bridge.safetensors", "--pairs", "pairs.parquet"]
    settings = ["--settings", SETTINGS.as_json()]
    for words in (
        ["pair", "--labels", "labels.parquet", "--out", "pairs.parquet", *settings],
        ["train", *given, *settings],
        [
            "forecast",
            *given,
            "--out",
            "f.npz",
            "--table",
            "f.parquet",
            "--settings",
            SETTINGS.forecast.as_json(),
        ],
    ):
        app(words, result_action="return_value")
    assert "no bridge is trained: 0 pairs" in capsys.readouterr().err
    assert read_table("f.parquet", FORECASTS).empty
    with np.load("f.npz") as file:
        assert file["tokens"].shape == (0, 8, 3)
    (reason,) = json.loads((tmp_path / "f_absent.json").read_text()).values()
    assert reason.startswith("0 pairs of T1 visits of lab in the training split")
