"""Columns of a person's tables: what is a feature, a class, a number or a rival, and what is printed."""

import numpy as np
import pandas as pd
import pytest

from braing3n.apply.probe_input import choose_kind, find_columns, join, standardise_columns
from braing3n.core.errors import BrainG3nError


def test_numeric_columns_are_features_and_the_rest_is_named(capsys):
    """An index that pandas wrote without a name is none; an age would give itself away."""
    table = pd.DataFrame(
        {"Unnamed: 0": [0, 1], "id": [1, 2], "Age": [50, 60], "a": [0.1, 0.2], "scanner": "X"}
    )
    assert find_columns(table, ["id"]) == ["Age", "a"]
    out = capsys.readouterr().out
    assert "features: 2 numeric columns (Age, a); text, left out: scanner\n" in out
    assert "warning: Age among the features" in out
    assert find_columns(table.assign(feature_0=1.0), ["id"]) == ["feature_0"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("cells", [["0,1", "-2,5e-3"], ["1,5", None]])
def test_a_feature_with_decimal_commas_is_refused_and_not_left_out(cells):
    table = pd.DataFrame({"id": ["a", "b"], "good": [1.0, 2.0], "thickness": cells})
    with pytest.raises(BrainG3nError, match=r"'thickness' are no numbers .*: write numbers with a point"):
        find_columns(table, ["id"])
    assert find_columns(table.assign(thickness=["1,2", "left, right"]), ["id"]) == ["good"]


@pytest.mark.parametrize(
    ("values", "is_class"),
    [
        (["patient", "control", "control"], True),
        (["1", "2", "x"], True),
        ([f"{k}.5" for k in range(30)], False),
        ([1, 2, 3], True),
        ([1.5, 2.0], False),
        ([True, False], True),
        (list(range(11)), False),
        ([f"site {k}" for k in range(30)], True),
    ],
)
def test_text_and_few_whole_numbers_are_classes(values, is_class):
    assert choose_kind(pd.Series(values), "x") == is_class


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("58,2", "most cells of age are numbers, but '58,2' is none: write numbers with a point"),
        ("89+", "most cells of age are numbers, but '89+' is none: empty it, or give --kind classification"),
    ],
)
def test_numbers_that_one_cell_turns_into_text_are_no_classes(cell, sentence):
    with pytest.raises(BrainG3nError) as found:
        choose_kind(pd.Series([*(f"{k}.5" for k in range(20)), cell]), "age")
    assert sentence in str(found.value)


def test_rivals_are_found_whatever_the_case_and_their_bad_cells_are_counted(capsys):
    table = pd.DataFrame(
        {"_row": range(3), "id": list("abc"), " AGE ": ["50", "61,5", None], "Gender": list("FMF")}
    )
    standard = standardise_columns(table, "dx", "id")
    np.testing.assert_array_equal(standard["age_years"], [50, np.nan, np.nan])
    assert list(standard["sex"]) == ["F", "M", "F"]
    out = capsys.readouterr().out
    assert "cells of  AGE  that are no numbers, so unknown: 1 ('61,5'): write numbers with" in out


def test_rows_without_an_id_are_nobodys(capsys):
    features = pd.DataFrame({"participant_id": ["a", None, "b"], "feature_0": [1.0, 2.0, 3.0]})
    labels = pd.DataFrame(
        {"participant_id": ["a", "b", None, None], "family": list("xyzz"), "age": [5, 6, 7, 8]}
    )
    table, x = join(features, labels, "age", "family", "")
    assert list(table["participant_id"]) == ["a", "b"]
    np.testing.assert_array_equal(x[:, 0], [1, 3])
    assert "left out: 1 with a participant_id that the labels have not" in capsys.readouterr().out


def test_a_scan_that_stands_twice_is_said(capsys):
    x = np.random.default_rng(0).normal(size=(6, 20))
    x[4], x[5, :19] = x[1], x[2, :19]
    features = pd.DataFrame(x).add_prefix("feature_").assign(id=list("abcdbc"))
    labels = pd.DataFrame({"id": list("abcd"), "age": [1, 2, 3, 4]})
    assert len(join(features, labels, "age", "id", "id")[0]) == 6
    assert "warning: 1 rows have the features of an earlier row of the same id" in capsys.readouterr().out
    join(features.iloc[:4], labels, "age", "id", "id")
    assert capsys.readouterr().out == ""
