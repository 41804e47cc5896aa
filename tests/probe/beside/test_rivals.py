"""Rivals say what their columns say: no less, and nothing of the task's own column."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.core.contracts import OWN, check_table
from braing3n.probe.beside.rivals import code_column, probe_rivals
from braing3n.probe.contracts import RIVALS
from braing3n.probe.plan import plan_probe, plan_probes
from braing3n.probe.tasks import PAPER_TASKS, Task

TASKS = {task.key: task for task in PAPER_TASKS}


@pytest.fixture(scope="module")
def rivals(corpus, settings):
    labels = corpus[0]
    probes = [probe for probe in plan_probes(labels, settings) if probe.slice in ("all", "FLAIR")]
    return check_table(probe_rivals(labels, probes, settings), RIVALS, "rivals")


def find(rivals, rival, task, metric, name="all"):
    where = (rivals["rival"] == rival) & (rivals["task"] == task) & (rivals["metric"] == metric)
    (row,) = rivals[where & (rivals["slice"] == name)].itertuples()
    return row


def test_a_disease_that_is_its_site_is_known_by_site_and_age_is_not(rivals):
    assert find(rivals, "acquisition", "control_decoy", "auc").low > 0.7
    row = find(rivals, "acquisition", "age", "r")
    assert row.low < 0 < row.high
    assert find(rivals, "demographics and acquisition", "control_decoy", "auc").low > 0.7


def test_a_tasks_own_column_is_left_out(rivals):
    for task, column in (("sex", "sex"), ("age", "age_years"), ("site", "site"), ("modality", "modality")):
        rows = rivals[(rivals["task"] == task) & rivals["rival"].ne("intercept")]
        assert len(rows)
        assert not rows["columns"].str.split(", ").map(lambda names, own=column: own in names).any()
    assert find(rivals, "demographics", "sex", "auc").value < 0.7  # its own column would make it 1
    assert find(rivals, "demographics", "disease", "auc").columns == "age_years, sex"


ALIASES = {
    "age_years": ["age", "Age_years"],
    "sex": ["sex", "Gender"],
    "site": ["Site", "site_id"],
    "vendor": ["vendor", "Manufacturer"],
    "field_strength_t": ["field_strength", "MagneticFieldStrength"],
    "modality": ["modality", "contrast"],
}


def test_each_known_column_is_recognised_under_its_names_and_no_other():
    for column in ALIASES:
        for own, names in ALIASES.items():
            for name in names:
                assert Task("own", "own", OWN + name).is_read_from(column) == (column == own), (column, name)


@pytest.mark.parametrize("name", ["gender", "Sex", " SEX"])
def test_an_own_column_that_is_sex_under_another_name_is_left_out(name, corpus, settings):
    """Else the rival would be the task itself, with an AUC of 1."""
    own = OWN + name
    labels = corpus[0].assign(**{own: corpus[0]["sex"]})
    changed = settings.model_copy(update={"columns": {name: "classification"}})
    probes = [p for p in plan_probes(labels, changed, "own") if (p.slice, p.people) == ("all", "everyone")]
    assert [probe.task.column for probe in probes] == [own]
    row = find(probe_rivals(labels, probes, changed), "demographics", own, "auc")
    assert row.columns == "age_years"
    assert row.value < 0.7


def test_the_intercept_is_the_share_or_the_mean_of_the_other_folds(rivals, corpus, settings):
    assert find(rivals, "intercept", "sex", "auc").value == 0.5
    row = find(rivals, "intercept", "age", "mae")
    probe = plan_probe(TASKS["age"], "all", corpus[0], settings)
    y, folds = probe.units["target"].to_numpy(float), probe.units["fold"].to_numpy()
    errors = [np.abs(y[folds == k] - y[folds != k].mean()).sum() for k in range(settings.n_folds)]
    assert row.value == pytest.approx(sum(errors) / len(y))
    assert np.isnan([row.low, row.high]).all()


def test_a_rival_is_the_encoders_probe_on_its_columns(rivals, corpus, settings):
    """Age alone, fold by fold by scikit-learn."""
    probe = plan_probe(TASKS["sex"], "all", corpus[0], settings)
    age, folds = corpus[0]["age_years"].to_numpy()[:, None], probe.units["fold"].to_numpy()
    y = (probe.units["target"] == "M").to_numpy()
    wins, pairs = 0.0, 0
    for k in range(settings.n_folds):
        test = folds == k
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(age[~test], y[~test])
        n = y[test].sum() * (~y[test]).sum()
        wins, pairs = wins + n * roc_auc_score(y[test], model.predict_proba(age[test])[:, 1]), pairs + n
    assert find(rivals, "demographics", "sex", "auc").value == pytest.approx(wins / pairs, abs=2e-3)


def test_what_cannot_be_probed_says_why(rivals):
    assert find(rivals, "acquisition", "sex", "auc", "FLAIR").reason == "no FLAIR volumes in this run"


def test_unknown_is_a_level_of_its_own():
    labels = pd.DataFrame(
        {
            "site": ["a", "", "b", "a"],
            "age_years": [20.0, np.nan, 40.0, 60.0],
            "field_strength_t": [1.494, np.nan, 2.89, 3.0],
        }
    )
    np.testing.assert_array_equal(code_column(labels, "site"), [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(code_column(labels, "age_years"), [[20, 0], [40, 1], [40, 0], [60, 0]])
    assert code_column(labels, "field_strength_t").shape == (4, 3)
