"""The model folder: what it holds, what it refuses, and predictions against scikit-learn."""

import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

import braing3n
from braing3n.core.contracts import write_table
from braing3n.core.errors import BrainG3nError, CheckpointError
from braing3n.core.runtime import digest_file
from braing3n.export import files
from braing3n.export.probes import FittedProbe, measure_bias
from braing3n.export.statistics import describe_population, find_percentiles, measure_space
from braing3n.longitudinal.contracts import PAIRS
from braing3n.nets.weights import write_weights

from .invented_run import export

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(made[0], tmp_path / "model")
    return tmp_path / "model"


def test_the_folder_has_its_files_and_the_run_is_loaded_from_it(made):
    folder, _, features, _ = made
    assert {path.name for path in folder.iterdir()} == set(files.NAMES)
    model = braing3n.from_pretrained(folder, "cpu")
    volume = torch.randn(1, 1, 16, 24, 16)
    tokens = model.encode(volume)
    assert tokens.shape == (1, 12, 24)
    assert model.decode(model.project(tokens)).shape == volume.shape
    assert model.volumes.spacing_mm == model.preprocess.spacing_mm == 8.0
    assert {row["task"] for row in model.predict(features[0], "T1")} >= {"age", "sex", "disease"}


@pytest.mark.parametrize("task", ["age", "sex", "disease"])
def test_predictions_are_those_of_scikit_learn_on_the_training_split(made, task):
    folder, labels, features, _ = made
    model = braing3n.from_pretrained(folder, "cpu")
    is_training = (labels["split"] == "train").to_numpy()
    column = {"age": "age_years", "sex": "sex", "disease": "dx"}[task]
    target = labels.loc[is_training, column].to_numpy()
    scaler = StandardScaler().fit(features[is_training])
    kind = Ridge(1.0) if task == "age" else LogisticRegression(max_iter=1000)
    kind.fit(scaler.transform(features[is_training]), target)
    held_out = features[~is_training]
    (probe,) = [probe for probe in model.probes if (probe.task, probe.slice) == (task, "all")]
    expected = kind.predict if task == "age" else kind.predict_proba
    np.testing.assert_allclose(
        probe.predict(held_out).squeeze(), expected(scaler.transform(held_out)), rtol=1e-6, atol=1e-6
    )


def test_the_age_gap_is_corrected_for_what_follows_age(made):
    """A ridge's gaps fall with age; corrected, those of people out of fold have no slope and mean 0."""
    folder, labels, features, _ = made
    predictions = pd.read_parquet(folder.parent / "predictions.parquet")
    bias = measure_bias(predictions, labels, "all")
    own = predictions.query("task == 'age' and slice == 'all' and people == 'everyone'")
    ages = labels.set_index("volume_id")["age_years"].loc[own["unit_id"]].to_numpy()
    gap = own["prediction"].to_numpy() - ages
    corrected = gap - bias["gap_slope"] * ages - bias["gap_intercept"]
    assert bias["gap_slope"] < -0.02
    assert np.polyfit(ages, corrected, 1) == pytest.approx([0, 0], abs=1e-6)
    model = braing3n.from_pretrained(folder, "cpu")
    row = next(row for row in model.predict(features[3], "T1", age_years=40.0) if row["task"] == "age")
    assert row["age_gap_years"] == pytest.approx(row["value"] - 40.0)
    assert row["age_gap_corrected_years"] == pytest.approx(
        row["value"] - 40.0 - bias["gap_slope"] * 40.0 - bias["gap_intercept"]
    )
    assert row["low"] < row["value_corrected"] < row["high"]
    assert row["value_corrected"] - row["value"] == pytest.approx(
        -bias["gap_slope"] * row["value_corrected"] - bias["gap_intercept"]
    )
    inside = [
        found["low"] <= age <= found["high"]
        for x, age in zip(features, labels["age_years"], strict=True)
        for found in model.predict(x, "T1")
        if found["task"] == "age"
    ]
    assert np.mean(inside) >= 0.9


def test_the_interval_of_an_age_leaves_as_many_people_out_below_as_above(made):
    """Gaps with a long tail upwards: who seems far older is younger, so that the low end is far off."""
    rng = np.random.default_rng(1)
    ages = rng.uniform(20, 90, 2000)
    read = 20 + 0.6 * ages + rng.exponential(8, 2000)
    ids = [f"v{i}" for i in range(2000)]
    labels = pd.DataFrame({"volume_id": ids, "age_years": ages})
    predictions = pd.DataFrame({"unit_id": ids, "prediction": read, "task": "age", "slice": "all"})
    bias = measure_bias(predictions.assign(people="everyone"), labels, "all")
    described = dict.fromkeys(["metric", "value", "low", "high", "n_people_fitted"], 0) | bias
    one, zero = np.ones(1), np.zeros(1)
    probe = FittedProbe("age", "Brain age", "all", (), zero, one, one[:, None], zero, described)
    model = replace(braing3n.from_pretrained(made[0], "cpu"), probes=[probe])
    ends = pd.DataFrame([model.predict(np.array([x]))[0] for x in read])
    assert (ages < ends["low"]).mean() == pytest.approx(0.025, abs=0.005)
    assert (ages > ends["high"]).mean() == pytest.approx(0.025, abs=0.005)
    known = replace(probe, described=described | {"gap_slope": -1.1})
    (row,) = replace(model, probes=[known]).predict(np.array([50.0]))
    assert "low" not in row, "what is read falls with age"


def test_the_distance_knows_what_is_far_and_seen_and_unseen_alike():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 40))
    seen, unseen = (rng.normal(size=(n, 6)) @ mixing + 0.1 * rng.normal(size=(n, 40)) for n in (150, 2000))
    space = measure_space(seen, np.arange(150), 16)
    found = find_percentiles(unseen, space)
    assert 40 < np.median(found) < 60
    assert (found > 95).mean() == pytest.approx(0.05, abs=0.03)
    assert (find_percentiles(unseen + 1.0, space) > 99).mean() > 0.95, (
        "away from all directions of the training"
    )
    assert (find_percentiles(unseen * 4, space) > 99).mean() > 0.9


def test_the_population_has_no_persons_row_and_no_small_count(made):
    folder, labels, _, _ = made
    content = json.loads((folder / files.CONFIG).read_text())
    text = (folder / files.CONFIG).read_text() + (folder / files.CARD).read_text()
    assert "sub-" not in text
    assert "lab/0" not in text
    training = labels[labels["split"] == "train"]
    population = content["population"]
    assert population["n_people"] == training["person_id"].nunique() // 5 * 5
    by_sex = training.groupby("sex")["person_id"].nunique()
    assert population["sexes"] == (by_sex // 5 * 5).to_dict()
    assert population["age_percentiles"]["T1"]["p50"] == 5 * round(training["age_years"].median() / 5)
    assert set(population["age_percentiles"]) == {"T1"}
    assert population["sites"] == {"lab/one": 60}


def test_a_small_group_is_not_published_and_is_no_difference(made):
    _, labels, _, _ = made
    rare = labels.assign(dx=np.where(np.arange(len(labels)) < 3, "SCZ", "HC"), split="train")
    rare.loc[:2, "modality"] = "FLAIR"
    population = describe_population(rare, 5, ["lab/two"])
    assert set(population["diseases"]) == {"HC"}
    assert set(population["modalities"]) == set(population["age_percentiles"]) == {"T1"}
    assert population["n_people"] - population["diseases"]["HC"] in (0, 5), "not 3"
    assert population["sites"] == {}, "a site that the generator does not name"
    counts = [population["n_people"], population["n_volumes"], *population["sexes"].values()]
    assert all(n % 5 == 0 for n in counts)


def test_the_cards_front_matter_and_numbers_are_the_runs(made):
    folder, _, _, scores = made
    _, front, text = (folder / files.CARD).read_text().split("---\n", 2)
    assert yaml.safe_load(front)["license"] == "apache-2.0"
    scores = scores[scores["encoder"] == "mae"]
    row = scores.query("task == 'sex' and slice == 'all' and metric == 'auc'").sort_values("people").iloc[-1]
    assert f"| Sex (AUC) | auc | {row['value']:.3f} |" in text
    assert "research only" in text.lower()


def test_a_card_says_that_its_weights_saw_withdrawn_people(made, export_again, monkeypatch):
    asked = []

    def count(results_dir, cohorts, weights):
        asked.append((results_dir, cohorts, [path.name for path in weights]))
        return 3

    monkeypatch.setattr("braing3n.export.folder.count_withdrawn", count)
    own, labels, *_ = made
    text = (export_again() / files.CARD).read_text()
    assert "were trained on 3 people whom no inventory names" in text
    names = [f"{name}.safetensors" for name in ("encoder", "tokenizer", "dit", "bridge")]
    assert asked == [(own.parent, set(labels["cohort"]), names)]
    assert "no inventory" not in (own / files.CARD).read_text()


def test_the_card_has_the_rivals_of_the_run_beside_ours(made):
    folder, _, _, scores = made
    lines = (folder / files.CARD).read_text().splitlines()
    head = "| probe | metric | ours | untrained | voxels | histogram | age and sex |"
    start = lines.index(head)
    assert lines[start + 1] == "|---" * 7 + "|"
    (line,) = [line for line in lines[start + 2 :] if line.startswith("| Sex (AUC) | auc |")]
    cells = [cell.strip() for cell in line.split("|")[3:-1]]
    found = scores.query("task == 'sex' and slice == 'all' and people == 'everyone'").set_index("encoder")
    for name, cell in (("mae", cells[0]), ("untrained", cells[1])):
        row = found.loc[name]
        assert cell == f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    assert cells[2:4] == ["n/a: no weights", "n/a: not in this run"]
    rivals = pd.read_parquet(folder.parent / "rivals.parquet")
    chosen = rivals.query("task == 'sex' and slice == 'all' and rival == 'demographics' and metric == 'auc'")
    assert cells[4].startswith(f"{chosen['value'].iloc[0]:.3f} (")


def test_follow_up_is_published_of_enough_people_and_the_metrics_are_the_runs(source):
    years = {"person_id": list("abcdef"), "split": ["train"] * 5 + ["test"], "years": [1, 2, 3, 4, 9, 12.0]}
    pairs = pd.DataFrame(years)
    for name, (kind, _) in PAIRS.items():
        if name not in pairs:
            pairs[name] = {"sex": "F", "scanner": "same"}.get(name, "HC") if kind is str else 1.0
    write_table(pairs, source / "longitudinal/pairs.parquet", PAIRS)
    (source / "tokenizer").mkdir()
    metrics = {"brain": {"mse": 0.1234}, "crop": {"mse": 0.9}}
    (source / "tokenizer/metrics.json").write_text(json.dumps(metrics))
    export(source, source / "out")
    assert json.loads((source / "out" / files.CONFIG).read_text())["population"]["years_followed"] == 1, (
        "of 5"
    )
    assert "inside the brain: mse 0.1234." in (source / "out" / files.CARD).read_text()


@pytest.mark.parametrize("name", [files.ENCODER, files.DIT, files.BRIDGE])
def test_the_digest_of_every_weight_file_is_checked(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: is not the file .*SHA-256"):
        braing3n.from_pretrained(folder, "cpu")


def test_generators_of_an_earlier_export_are_removed(source):
    export(source, source / "out")
    both = {files.DIT, files.BRIDGE}
    assert both < {path.name for path in (source / "out").iterdir()}
    (source / "dit.safetensors").unlink()
    write_weights(source / "bridge.safetensors", {}, "no bridge", {"reason": "2 pairs"})
    export(source, source / "out")
    assert not both & {path.name for path in (source / "out").iterdir()}
    assert not both & set(json.loads((source / "out" / files.CONFIG).read_text())["sha256"])


class Bomb:
    def __reduce__(self):
        return os.system, ("touch CANARY",)


def damage(folder, how):
    """Damage a model folder; the word that the sentence must have."""
    weights, config = folder / files.ENCODER, folder / files.CONFIG
    content = json.loads(config.read_text())
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
        return files.ENCODER
    if how == "truncated and listed so":
        weights.write_bytes(weights.read_bytes()[:-100])
        content["sha256"][files.ENCODER] = digest_file(weights)
    elif how == "pickle":
        weights.write_bytes(pickle.dumps(Bomb()))
        content["sha256"][files.ENCODER] = digest_file(weights)
    elif how == "huge header":
        weights.write_bytes((2**62).to_bytes(8, "little") + b"{}")
        content["sha256"][files.ENCODER] = digest_file(weights)
    elif how == "another model":
        shutil.copy(folder / files.TOKENIZER, weights)
        content["sha256"][files.ENCODER] = digest_file(weights)
    elif how == "no statistics":
        (folder / files.STATISTICS).unlink()
        return files.STATISTICS
    elif how == "no statistics listed":
        del content["sha256"][files.STATISTICS]
        config.write_text(json.dumps(content))
        return files.STATISTICS
    elif how == "a path":
        content["sha256"]["../../outside.safetensors"] = "0"
        del content["sha256"][files.ENCODER]
    elif how == "another version":
        content["format"] = 99
    elif how == "no settings":
        del content["volumes"]
    elif how == "no json":
        config.write_text("{")
        return files.CONFIG
    elif how == "no config":
        config.unlink()
        return files.CONFIG
    config.write_text(json.dumps(content))
    return "encoder" if how in ("pickle", "huge header", "another model") else ""


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "truncated and listed so",
        "pickle",
        "huge header",
        "another model",
        "no statistics",
        "no statistics listed",
        "a path",
        "another version",
        "no settings",
        "no json",
        "no config",
    ],
)
def test_a_damaged_folder_is_one_sentence_and_nothing_is_executed(folder, how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    word = damage(folder, how)
    with pytest.raises(CheckpointError) as caught:
        braing3n.from_pretrained(folder, "cpu")
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "CANARY").exists()


def test_what_is_no_folder_and_no_device_is_one_sentence(made, monkeypatch):
    with pytest.raises(CheckpointError, match="no such folder"):
        braing3n.from_pretrained("/no/such/folder/at/all")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="no folder here"):
        braing3n.from_pretrained("nobody/nothing")
    if not torch.cuda.is_available():
        with pytest.raises(BrainG3nError, match="--device cuda"):
            braing3n.from_pretrained(made[0], "cuda")
