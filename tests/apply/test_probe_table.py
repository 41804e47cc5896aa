"""A probe of a person's own table: what was planted is found, and every bad input is one sentence."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.apply.probe_input import read
from braing3n.cli import main
from braing3n.core.errors import BrainG3nError


@pytest.fixture
def tables(tmp_path):
    """Two scans of each of 40 people, with age, gender and group in one table a person."""
    rng = np.random.default_rng(0)
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{k:02d}" for k in range(40)],
            "family": [f"f{k // 2}" for k in range(40)],
            "age": rng.uniform(20, 80, 40),
            "gender": rng.choice(["F", "M"], 40),
            "group": rng.choice(["patient", "control"], 40),
        }
    )
    scans = people.loc[np.repeat(np.arange(40), 2), ["participant_id"]].reset_index(drop=True)
    own = people.loc[np.repeat(np.arange(40), 2)]
    for k in range(6):
        scans[f"feature_{k}"] = rng.normal(size=80)
    scans["feature_0"] += (own["age"].to_numpy() - 50) / 5
    scans["feature_1"] += 4.0 * (own["group"] == "patient").to_numpy()
    scans.to_parquet(tmp_path / "features.parquet")
    people.to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    return tmp_path


def run(folder, label="age", group="family", more=(), **changed):
    options = {"features": "features.parquet", "labels": "labels.tsv"} | changed
    words = [part for name, value in options.items() for part in (f"--{name}", str(folder / value))]
    words += ["--label", label, "--group", group, "--out", str(folder / "out")]
    words += [] if "--random-labels" in more else ["--random-labels", "4"]
    return main(["probe", *words, *more])


def read_scores(folder, metric):
    scores = pd.read_csv(folder / "out/scores.tsv", sep="\t", na_values=["n/a"])
    return scores[scores["metric"] == metric].set_index("read_from")


def test_a_planted_number_is_found_and_rivals_stand_beside_it(tables, capsys):
    assert run(tables) == 0
    scores = read_scores(tables, "r")
    assert scores.loc["features", "low"] > 0.7
    assert scores.loc["demographics", "columns"] == "sex"  # age is the label
    assert scores.loc["demographics", "value"] < 0.6
    assert scores.loc["acquisition", "reason"] == "none of its columns is known"
    assert (scores.loc["features", "n_people"], scores.loc["features", "n_rows"]) == (20, 80)
    found = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    assert found.groupby("person_id")["fold"].nunique().max() == 1
    assert (tables / "out/plot.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pd.read_csv(tables / "out/controls.tsv", sep="\t")) == 5
    assert "features" in capsys.readouterr().out


def test_its_folds_are_scikit_learns_fits(tables):
    run(tables)
    found = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    x = pd.read_parquet(tables / "features.parquet").filter(like="feature_").to_numpy()
    y, fold = found["target"].to_numpy(), found["fold"].to_numpy()
    expected = np.zeros(80)
    for k in range(5):
        model = make_pipeline(StandardScaler(), Ridge(1.0)).fit(x[fold != k], y[fold != k])
        expected[fold == k] = model.predict(x[fold == k])
    np.testing.assert_allclose(found["predicted"], expected)
    assert read_scores(tables, "r2").loc["features", "value"] == pytest.approx(r2_score(y, expected))


def test_the_gap_is_corrected_within_the_training_people_of_each_fold(tables):
    """A line fitted on predictions out of fold among the other folds' people, by two loops."""
    run(tables)
    found = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    x = pd.read_parquet(tables / "features.parquet").filter(like="feature_").to_numpy()
    y, fold = found["target"].to_numpy(), found["fold"].to_numpy()
    expected = np.zeros(80)
    for k in range(5):
        inner = np.full(80, np.nan)
        for j in set(range(5)) - {k}:
            rows = (fold != k) & (fold != j)
            model = make_pipeline(StandardScaler(), Ridge(1.0)).fit(x[rows], y[rows])
            inner[fold == j] = model.predict(x[fold == j])
        others, own = fold != k, fold == k
        slope, intercept = np.polyfit(y[others], (inner - y)[others], 1)
        expected[own] = (found["predicted"] - y)[own] - slope * y[own] - intercept
    np.testing.assert_allclose(found["gap"], found["predicted"] - y)
    np.testing.assert_allclose(found["gap_corrected"], expected, atol=1e-6)
    ties = [abs(np.corrcoef(y, found[name])[0, 1]) for name in ("gap", "gap_corrected")]
    assert ties[1] < ties[0] / 2


def test_a_planted_class_is_found(tables):
    assert run(tables, label="group") == 0
    scores = read_scores(tables, "auc")
    assert scores.loc["features", "low"] > 0.8
    assert scores.loc["demographics", "columns"] == "age_years, sex"
    assert scores.loc["demographics", "value"] < 0.8
    assert list(pd.read_csv(tables / "out/predictions.tsv", sep="\t").columns[-2:]) == [
        *("chance_control", "chance_patient")
    ]


def test_the_chances_and_the_curve_are_of_the_named_class(tables, monkeypatch):
    drawn = []
    curve = metrics.roc_curve
    monkeypatch.setattr(metrics, "roc_curve", lambda *given: drawn.append(given) or curve(*given))
    run(tables, label="group")
    found = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    assert metrics.roc_auc_score(found["target"] == "patient", found["chance_patient"]) > 0.8
    np.testing.assert_allclose(found["chance_control"], 1 - found["chance_patient"], atol=1e-9)
    assert [metrics.roc_auc_score(*given) > 0.8 for given in drawn] == [True]


def test_rows_without_a_label_are_left_out_with_their_features(tables):
    """Each other row keeps its own: the same as where only those with a label were given."""
    labels = pd.read_csv(tables / "labels.tsv", sep="\t")
    labels.loc[[0, 3, 17], "age"] = np.nan
    labels.to_csv(tables / "labels.tsv", sep="\t", index=False)
    run(tables)
    found = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    scans = pd.read_parquet(tables / "features.parquet")
    kept = scans["participant_id"].isin(labels.loc[labels["age"].notna(), "participant_id"])
    assert list(found["row"]) == [f"row {k + 1}" for k in np.flatnonzero(kept)]
    scans[kept].to_parquet(tables / "features.parquet")
    run(tables)
    again = pd.read_csv(tables / "out/predictions.tsv", sep="\t")
    np.testing.assert_allclose(again["predicted"], found["predicted"])


def test_what_is_probed_and_what_is_left_out_is_printed(tables, capsys):
    """Words that tables have for nothing are no class, and ids that the labels lack do not go in silence."""
    labels = pd.read_csv(tables / "labels.tsv", sep="\t").iloc[:39]
    labels.loc[labels.index[:4], "group"] = ["NA", "None", "n/a", " "]
    labels.to_csv(tables / "labels.tsv", sep="\t", index=False)
    assert run(tables, label="group") == 0
    out = capsys.readouterr().out
    left = "2 with a participant_id that the labels have not; 8 with no group (empty, n/a, NA, None, nan"
    assert f"warning: 70 of 80 rows are probed; left out: {left}" in out
    assert f"label: group, people of each class: control {count(labels, 'control')}, patient" in out
    assert "acquisition: n/a, none of its columns is known" in out
    assert run(tables) == 0
    ages = labels["age"]
    assert f"label: age, a number from {ages.min():g} to {ages.max():g}, 20 people" in capsys.readouterr().out


def count(labels, name):
    """Families of which somebody is of a class."""
    return labels[labels["group"] == name]["family"].nunique()


def test_another_seed_deals_other_folds(tables):
    run(tables)
    ours = pd.read_csv(tables / "out/predictions.tsv", sep="\t")["fold"]
    run(tables, more=["--seed", "7"])
    assert (pd.read_csv(tables / "out/predictions.tsv", sep="\t")["fold"] != ours).any()


def test_one_scan_under_two_peoples_ids_is_refused(tables, capsys):
    scans = pd.read_parquet(tables / "features.parquet")
    more = np.random.default_rng(1).normal(size=(len(scans), 20))
    scans = pd.concat([scans, pd.DataFrame(more).add_prefix("feature_more_")], axis=1)
    columns = scans.columns.drop("participant_id")
    scans.loc[40, columns] = scans.loc[0, columns]
    scans.to_parquet(tables / "features.parquet")
    assert run(tables) == 2
    assert "row 1 and row 41 have equal features" in capsys.readouterr().err


def test_numeric_columns_are_features_where_none_is_named_so(tables):
    table = pd.read_parquet(tables / "features.parquet")
    names = {f"feature_{k}": f"thickness {k}" for k in range(6)}
    table.rename(columns=names).assign(note="text").to_csv(tables / "own.csv", index=False)
    run(tables)
    expected = read_scores(tables, "r")
    assert run(tables, features="own.csv") == 0
    pd.testing.assert_frame_equal(read_scores(tables, "r"), expected)


def test_the_table_of_encode_and_a_bids_table_of_people_fit(tables):
    """As `encode` writes it: `sub` without its prefix, f0000 and so on, and a number that is no feature."""
    run(tables, group="participant_id")
    expected = read_scores(tables, "r")
    table = pd.read_parquet(tables / "features.parquet")
    table = table.rename(columns={f"feature_{k}": f"f{k:04d}" for k in range(6)})
    table.insert(0, "sub", table.pop("participant_id").str.removeprefix("sub-"))
    table.assign(distance_percentile=np.arange(80.0)).to_parquet(tables / "features.parquet")
    assert run(tables, group="participant_id") == 0
    pd.testing.assert_frame_equal(read_scores(tables, "r"), expected)


def test_an_id_keeps_its_zeros(tables):
    for name, load in (
        ("features.parquet", pd.read_parquet),
        ("labels.tsv", lambda p: pd.read_csv(p, sep="\t")),
    ):
        table = load(tables / name)
        table["participant_id"] = table["participant_id"].str.replace("sub-", "0")
        if name == "labels.tsv":
            table.to_csv(tables / name, sep="\t", index=False)
        else:
            table.to_parquet(tables / name)
    assert run(tables) == 0
    assert read_scores(tables, "r").loc["features", "n_rows"] == 80


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.tsv", "id\tage\n1\t5\n".encode("utf-16"), "its text is not UTF-8; save it as UTF-8"),
        ("t.tsv", "id\tsex\n1\tmännlich\n".encode("latin-1"), "its text is not UTF-8; save it as UTF-8"),
        ("t.csv", b"id;age\n1;5\n", "its cells are separated by ';', and those of a .csv by ','"),
        ("t.tsv", b"id,age\n1,5\n", "its cells are separated by ',', and those of a .tsv by '\\t'"),
        ("t.tsv", b"", "No columns to parse from file"),
        ("t.tsv", b"id\tage\n1\t5\t6\n2\t7\t8\n", "Length of header or names does not match length of data"),
    ],
    ids=["UTF-16", "Latin-1", "semicolons", "commas", "empty", "cells too many"],
)
def test_a_table_that_is_not_what_it_is_named_is_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BrainG3nError, match=re.escape(sentence)) as found:
        read(tmp_path / name)
    assert str(found.value).startswith(str(tmp_path / name))


def test_an_empty_cell_at_the_ends_of_rows_shifts_no_column(tmp_path):
    (tmp_path / "t.tsv").write_text("\ufeffparticipant_id\tage\n01\t50\t\n02\t60\t\n", encoding="utf-8")
    assert read(tmp_path / "t.tsv").to_dict("list") == {"participant_id": ["01", "02"], "age": [50, 60]}


@pytest.mark.parametrize("words", [("--random-labels", "-1"), ("--seed", "-1"), ("--seed", str(2**32))])
def test_a_number_out_of_range_is_one_sentence(tables, capsys, words):
    assert run(tables, more=words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert f"{words[0]}" in lines[0]
    assert not (tables / "out").exists()


def test_results_that_would_have_no_place_are_refused_before_the_work(tables, capsys, monkeypatch):
    monkeypatch.setattr("braing3n.probe.halves.read_probe", None)
    (tables / "out").write_text("a file of mine")
    assert run(tables) == 2
    assert f"{tables / 'out'}: nothing can be written there (File exists)" in capsys.readouterr().err
    assert (tables / "out").read_text() == "a file of mine"


def write_nan(folder):
    table = pd.read_parquet(folder / "features.parquet")
    table.loc[3, "feature_2"] = np.nan
    table.to_parquet(folder / "features.parquet")


def write_twice(folder):
    table = pd.read_csv(folder / "labels.tsv", sep="\t")
    pd.concat([table, table.iloc[:1]]).to_csv(folder / "labels.tsv", sep="\t", index=False)


def write_few(folder):
    pd.read_parquet(folder / "features.parquet").iloc[:8].to_parquet(folder / "features.parquet")


def write_others(folder):
    table = pd.read_parquet(folder / "features.parquet")
    table.assign(participant_id="another").to_parquet(folder / "features.parquet")


def write_no_features(folder):
    pd.read_parquet(folder / "features.parquet")[["participant_id"]].to_parquet(folder / "features.parquet")


def write_empty(folder):
    table = pd.read_csv(folder / "labels.tsv", sep="\t")
    table.assign(age="n/a").to_csv(folder / "labels.tsv", sep="\t", index=False)


def write_infinite(folder):
    table = pd.read_csv(folder / "labels.tsv", sep="\t")
    table.loc[2, "age"] = np.inf
    table.to_csv(folder / "labels.tsv", sep="\t", index=False)


def write_text(folder):
    (folder / "features.parquet").write_text("no table")


@pytest.mark.parametrize(
    ("spoil", "changed", "sentence"),
    [
        (
            None,
            {"label": "iq"},
            "--label: no column 'iq'; columns: participant_id, family, age, gender, group",
        ),
        (None, {"group": "clan"}, "--group: no column 'clan'"),
        (None, {"group": "age"}, "--group: 'age' is the label; name the column of the person or family"),
        (None, {"features": "none.parquet"}, "none.parquet: no such file"),
        (None, {"features": "scan.nii.gz"}, "give a table as .parquet, .tsv or .csv"),
        (write_text, {}, "cannot be read as a table"),
        (write_nan, {}, "feature_2 of participant_id 'sub-01' is no finite number ('nan')"),
        (write_twice, {}, "participant_id 'sub-00' stands in two rows"),
        (write_few, {}, "'age' cannot be probed: only 2 people for 5 folds"),
        (
            write_others,
            {},
            "no participant_id is in both tables (features: 'another', labels: 'sub-00', for example)",
        ),
        (write_empty, {}, "no row of the features has both age and family under its participant_id"),
        (write_infinite, {}, "--label: age 'inf' is no finite number"),
        (
            None,
            {"label": "family", "group": "participant_id"},
            "dropped: f0 (2 people), f1 (2 people), f10 (2",
        ),
        (write_no_features, {}, "no column feature_* and no numeric column"),
    ],
)
def test_a_bad_input_is_one_sentence(tables, capsys, spoil, changed, sentence):
    if spoil:
        spoil(tables)
    assert run(tables, **changed) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not (tables / "out").exists()
