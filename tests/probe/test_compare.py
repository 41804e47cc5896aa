"""Planted labels are found, and the tables say what was and was not probed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings
from braing3n.core.contracts import check_table, read_table
from braing3n.core.errors import ContractError
from braing3n.probe.command import app
from braing3n.probe.compare import Readings, compare_encoders, probe_encoder
from braing3n.probe.contracts import (
    CHECKS,
    CONTROLS,
    DIFFERENCES,
    FAIRNESS,
    HALVES,
    PREDICTIONS,
    RIVALS,
    SCORES,
)
from braing3n.probe.fit import predict_out_of_fold
from braing3n.probe.plan import plan_probe, plan_probes
from braing3n.probe.tasks import PAPER_TASKS


@pytest.fixture(scope="module")
def readings(corpus, settings):
    labels, features = corpus
    noise = np.random.default_rng(9).normal(size=features.shape)
    encoders = {"mae": features, "untrained": noise, "voxels": np.tile(features, (1, 20))}
    return join(probe_encoder(name, x, labels, settings) for name, x in encoders.items())


def join(tables):
    return Readings(*map(list, zip(*tables, strict=True)))


@pytest.fixture(scope="module")
def compared(readings, corpus, settings):
    return compare_encoders(readings, plan_probes(corpus[0], settings), settings)


def find(frame, people="everyone", **where):
    for column, value in {**where, "people": people}.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def test_planted_labels_are_found_and_noise_finds_nothing(compared):
    scores, differences = compared
    check_table(scores, SCORES, "scores")
    check_table(differences, DIFFERENCES, "differences")
    for encoder in ("mae", "voxels"):
        assert find(scores, encoder=encoder, task="sex", slice="all", metric="auc")["low"] > 0.5
        assert find(scores, encoder=encoder, task="age", slice="all", metric="r")["low"] > 0.3
    noise = find(scores, encoder="untrained", task="sex", slice="all", metric="auc")
    assert noise["low"] < 0.5 < noise["high"]
    assert find(differences, other="untrained", task="age", slice="all", metric="r")["low"] > 0
    assert find(differences, other="untrained", task="age", slice="all", metric="mae")["difference"] < 0


def test_unseen_people_have_scores_and_differences_of_their_own(compared, corpus):
    scores, differences = compared
    unseen = find(scores, encoder="mae", task="sex", slice="all", people="unseen")
    labels = corpus[0][corpus[0]["split"] != "train"]
    assert (unseen["n_people"], unseen["n_volumes"]) == (labels["person_id"].nunique(), len(labels))
    assert unseen["low"] > 0.5
    row = find(differences, other="untrained", task="age", slice="all", metric="r", people="unseen")
    assert row["difference"] > 0
    assert row["n_people"] == labels["person_id"].nunique()


def test_a_difference_is_of_the_same_halves(readings, compared, corpus, settings):
    """Its interval is about the difference, half by half, and not the sum of two intervals."""
    probe = plan_probe(next(t for t in PAPER_TASKS if t.key == "age"), "all", corpus[0], settings)
    ours, theirs = (readings.find(name, probe).halves["r"] for name in ("mae", "untrained"))
    where = {"task": "age", "slice": "all", "metric": "r"}
    row = find(compared[1], other="untrained", **where)
    gaps = (ours - theirs)[:, 0] - (ours - theirs)[:, 1]
    reach = stats.t.ppf(0.975, len(gaps)) * np.sqrt(np.mean(gaps**2) / 2 / 2)
    assert row["high"] - row["low"] == pytest.approx(2 * reach)
    value, other = (find(compared[0], encoder=name, **where)["value"] for name in ("mae", "untrained"))
    assert row["difference"] == pytest.approx(value - other)


def test_the_family_of_comparisons_is_the_papers_tasks_on_all_volumes(compared, settings):
    """Corrected p values and intervals stand there and nowhere else, and claim less."""
    scores, differences = compared
    for table, n_encoders in ((scores, 3), (differences, 2)):
        is_in = (table["slice"] == "all") & (table["people"] == "everyone")
        is_in &= table["task"].isin([task.key for task in PAPER_TASKS]) & table["p_value"].notna()
        assert (table["p_holm"].notna() == is_in).all()
        assert is_in.sum() == 5 * n_encoders  # disease, sex, modality, site, age
        family = table[is_in]
        assert (family["p_holm"] >= family["p_value"]).all()
        p_min = family["p_value"].min()
        assert family["p_holm"].min() == pytest.approx(min(1, len(family) * p_min))
    family = differences[differences["p_holm"].notna()]
    wider = (family["high_corrected"] - family["low_corrected"]) / (family["high"] - family["low"])
    n_deals = settings.n_halvings
    expected = stats.t.ppf(1 - 0.025 / len(family), n_deals) / stats.t.ppf(0.975, n_deals)
    assert wider.dropna().to_numpy() == pytest.approx(expected)  # NaN: a difference that is nothing


def test_every_paper_task_and_slice_has_a_row_or_a_reason(compared, settings):
    scores, _ = compared
    for task in PAPER_TASKS:
        rows = scores[(scores["task"] == task.key) & (scores["encoder"] == "mae")]
        assert set(rows["people"]) == {"everyone", "unseen"}
        assert set(rows["slice"]) == set(task.slices)
        assert (rows["value"].notna() == (rows["reason"] == "")).all()
    assert find(scores, encoder="mae", task="disease", slice="all", metric="auc")["dropped"].startswith("GBM")


def test_counts_are_people_and_volumes(compared, corpus):
    row = find(compared[0], encoder="mae", task="sex", slice="T2", metric="auc")
    labels = corpus[0][corpus[0]["modality"] == "T2"]
    assert (row["n_people"], row["n_volumes"]) == (labels["person_id"].nunique(), len(labels))


def test_each_class_is_counted_in_people(compared, corpus):
    scores, labels = compared[0], corpus[0]
    row = scores[
        (scores["task"] == "sex") & (scores["slice"] == "T2") & (scores["people"] == "everyone")
    ].iloc[0]
    people = labels[labels["modality"] == "T2"].groupby("sex")["person_id"].nunique()
    # Only men have a T2 here, so that one class is left and cannot be probed.
    assert row["classes"] == f"M ({people['M']} people)"
    row = scores[
        (scores["task"] == "sex") & (scores["slice"] == "all") & (scores["people"] == "everyone")
    ].iloc[0]
    people = labels.groupby("sex")["person_id"].nunique()
    assert row["classes"] == f"F ({people['F']} people), M ({people['M']} people)"
    assert scores[scores["task"] == "age"]["classes"].eq("").all()


def test_predictions_of_other_labels_are_refused(readings, corpus, settings):
    labels = corpus[0].iloc[2:].reset_index(drop=True)
    with pytest.raises(ContractError, match="rerun `probe encoder`"):
        compare_encoders(readings, plan_probes(labels, settings), settings)


def test_folds_of_another_seed_are_refused(readings, corpus, settings):
    """All encoders are read on the same folds: the same people in others are no comparison."""
    other = settings.model_copy(update={"seed": settings.seed + 1})
    with pytest.raises(ContractError, match="rerun `probe encoder`"):
        compare_encoders(readings, plan_probes(corpus[0], other), other)


def test_no_model_sees_the_group_it_scores(corpus, settings):
    """Features that name the person only: a probe that saw a person's other scan would score above chance."""
    labels, _ = corpus
    people = pd.factorize(labels["person_id"])[0]
    features = np.eye(people.max() + 1)[people]
    probe = plan_probe(next(task for task in PAPER_TASKS if task.key == "sex"), "all", labels, settings)
    predictions, _ = predict_out_of_fold(features, probe, settings, has_pca=False)
    for fold in range(settings.n_folds):
        assert np.ptp(predictions[(probe.units["fold"] == fold).to_numpy(), 0]) < 1e-6


@pytest.mark.parametrize("alpha", [1.0, 300.0])
def test_a_number_is_predicted_by_scikit_learns_ridge_fitted_in_the_fold(corpus, settings, alpha):
    labels, features = corpus
    probe = plan_probe(next(task for task in PAPER_TASKS if task.key == "age"), "T1", labels, settings)
    x, y, folds = probe.pool(features), probe.units["target"].to_numpy(), probe.units["fold"].to_numpy()
    settings = settings.model_copy(update={"ridge_alpha": alpha})
    found, _ = predict_out_of_fold(x, probe, settings, has_pca=False)
    for k in range(settings.n_folds):
        model = make_pipeline(StandardScaler(), Ridge(alpha)).fit(x[folds != k], y[folds != k])
        np.testing.assert_allclose(found[folds == k, 0], model.predict(x[folds == k]))


def test_where_one_class_is_left_to_fit_it_is_predicted(corpus, settings):
    labels, features = corpus
    probe = plan_probe(next(task for task in PAPER_TASKS if task.key == "sex"), "T1", labels, settings)
    is_male = probe.units["target"] == "M"
    probe.units["fold"] = np.where(is_male, 1, 0)
    found, _ = predict_out_of_fold(probe.pool(features), probe, settings, has_pca=False)
    np.testing.assert_array_equal(found[is_male], [[1, 0]] * is_male.sum())  # fitted on women alone


def test_nothing_to_probe_is_reported_for_every_encoder(corpus):
    labels = corpus[0].iloc[:6].reset_index(drop=True)
    settings = ProbeSettings()
    tables = join(probe_encoder(name, corpus[1][:6], labels, settings) for name in ("mae", "histogram"))
    scores, differences = compare_encoders(tables, plan_probes(labels, settings), settings)
    assert set(scores["encoder"]) == {"mae", "histogram"}
    assert (scores["reason"] != "").all()
    assert not len(differences)
    check_table(differences, DIFFERENCES, "differences")


def test_the_command_line_writes_all_tables(tmp_path, corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, features = corpus
    labels.to_parquet(tmp_path / "labels.parquet")
    np.savez(tmp_path / "features.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)
    common = ["--labels", "labels.parquet", "--features", "features.npz", "--settings"]
    common.append('{"n_halvings": 3, "n_random_labels": 2, "n_permutations": 20, "n_matched_repeats": 2}')
    for name in ("mae", "histogram"):
        written = ["--predictions", f"predictions_{name}.parquet", "--halves", f"halves_{name}.parquet"]
        run_app(["encoder", "--name", name, *written, *common])
    run_app(["compare", "--encoders", "mae", "histogram", "--probe-dir", ".", *common])
    for contract in (SCORES, DIFFERENCES, RIVALS, CHECKS, FAIRNESS, CONTROLS):
        assert len(read_table(f"{contract.name}.parquet", contract))


@pytest.mark.parametrize("absent", ["brainiac", "mae"])
def test_an_encoder_without_features_is_not_available_with_its_reason(absent, corpus, tmp_path, monkeypatch):
    """Ours, too: every score of it says why, no difference has it, and the others are as they were."""
    tasks = [task for task in PAPER_TASKS if task.key in ("sex", "mmse")]  # one of which has labels
    monkeypatch.setattr("braing3n.probe.plan.list_tasks", lambda *_: tasks)
    monkeypatch.chdir(tmp_path)
    labels, reason, settings = corpus[0], "no weights; get some", ProbeSettings(n_halvings=3)
    labels.to_parquet("labels.parquet")
    ids = labels["volume_id"].to_numpy(str)
    np.savez("none.npz", volume_id=ids, features=np.empty((len(ids), 0)), reason=np.array(reason))
    given = ["--features", "none.npz", "--labels", "labels.parquet", "--settings", '{"n_halvings": 3}']
    run_app(["encoder", "--name", absent, *given, "--predictions", "p.parquet", "--halves", "h.parquet"])
    found = probe_encoder("untrained", corpus[1], labels, settings)
    names = ("mae", "untrained", "brainiac")
    tables = {name: tuple(table.assign(encoder=name) for table in found) for name in names}
    tables[absent] = read_table("p.parquet", PREDICTIONS), read_table("h.parquet", HALVES)
    readings = join(tables.values())
    scores, differences = compare_encoders(readings, plan_probes(labels, settings), settings)
    check_table(scores, SCORES, "scores")
    check_table(differences, DIFFERENCES, "differences")
    theirs, whole = (scores[scores["encoder"] == name].reset_index() for name in (absent, "untrained"))
    is_probed = whole["reason"] == ""
    assert is_probed.any()
    assert whole.loc[is_probed, "value"].notna().all()
    assert theirs["value"].isna().all()
    assert (theirs.loc[is_probed, "reason"] == reason).all()
    assert (theirs.loc[~is_probed, "reason"] == whole.loc[~is_probed, "reason"]).all()
    assert set(differences["other"]) == ({"untrained"} if absent == "brainiac" else set())


def run_app(arguments):
    app(arguments, result_action="return_value")
