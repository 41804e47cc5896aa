"""Random labels stay at chance, a site-only decoy is unmasked, a real disease is not."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings
from braing3n.contracts import check_table
from braing3n.probe.compare import probe_encoder
from braing3n.probe.controls import (
    _compute_aucs,
    _predict_ridge,
    allow_outside,
    run_controls,
    score_random_labels,
)


@pytest.fixture(scope="module")
def controls(corpus, settings):
    labels, features = corpus
    table = run_controls([probe_encoder("mae", features, labels, settings)], features, labels, settings)
    return check_table(table, "controls", "controls")


def test_random_labels_stay_inside_their_intervals(controls, settings):
    count = controls[controls["control"] == "random labels"].iloc[0]
    single = controls[controls["control"].str.startswith("random label ")]
    assert len(single) == settings.n_random_labels == 40
    assert count["value"] == (single["verdict"] == "not met").sum() <= 5
    assert count["high"] == allow_outside(40) == 5


def test_a_label_that_is_not_random_leaves_its_interval(monkeypatch, settings):
    """Features that carry the first random label exactly."""
    rng = np.random.default_rng(settings.seed)
    n = 60
    label = rng.permutation(np.where(np.arange(n) < n // 2, 1.0, -1.0))
    x = np.random.default_rng(1).normal(size=(n, 5))
    x[:, 0] += 3 * label
    observed, permuted = score_random_labels(x, settings)
    assert observed[0] > permuted[0].max()


@pytest.mark.parametrize("n_features", [7, 80])
def test_the_shared_solve_is_scikit_learns_ridge(n_features):
    rng = np.random.default_rng(0)
    train, test, y = (
        rng.normal(size=(40, n_features)),
        rng.normal(size=(9, n_features)),
        rng.normal(size=(40, 3)),
    )
    scaler = StandardScaler().fit(train)
    model = Ridge(2.0).fit(scaler.transform(train), y)
    np.testing.assert_allclose(
        _predict_ridge(train, y, test, 2.0), model.predict(scaler.transform(test)), atol=1e-9
    )


def test_aucs_by_column_agree_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(30, 4)).round(1), rng.random((30, 4)) < 0.5
    expected = [roc_auc_score(labels[:, k], scores[:, k]) for k in range(4)]
    np.testing.assert_allclose(_compute_aucs(scores, labels), expected)


def test_a_decoy_is_high_when_pooled_and_at_chance_within_its_site(controls):
    decoy = controls[controls["control"] == "control_decoy"].set_index("measure")
    assert decoy.loc["pooled AUC", "low"] > 0.5
    matched = decoy.loc["site-matched AUC"]
    assert matched["low"] <= 0.5 <= matched["high"]
    assert matched["n_cases"] > 0
    assert matched["n_controls"] > 0
    assert set(decoy["verdict"]) == {"met"}


def test_a_disease_that_is_in_the_brain_survives_matching(corpus, settings):
    labels, features = corpus
    features = features.copy()
    features[:, 0] += 6.0 * (labels["control_decoy"] == "case").to_numpy()
    table = run_controls([probe_encoder("mae", features, labels, settings)], features, labels, settings)
    matched = table[table["measure"] == "site-matched AUC"].iloc[0]
    assert matched["low"] > 0.5
    assert matched["verdict"] == "not met"


def test_no_site_with_both_says_so(corpus):
    labels, features = corpus
    settings = ProbeSettings(n_bootstraps=100)
    labels = labels.assign(site=np.where(labels["control_decoy"] == "case", "S3", "S0"))
    table = run_controls([probe_encoder("mae", features, labels, settings)], features, labels, settings)
    matched = table[table["measure"] == "site-matched AUC"].iloc[0]
    assert (matched["verdict"], matched["note"]) == ("n/a", "no site has cases and controls")
    assert table[table["control"] == "random labels"].iloc[0]["verdict"] == "n/a"


def test_head_size_is_reported(controls):
    rows = controls[controls["control"] == "control_head_size"]
    assert set(rows["measure"]) == {"Pearson r", "R2", "AUC of the upper half"}
    assert rows["value"].notna().all()
    assert (rows["low"] <= rows["high"]).all()
