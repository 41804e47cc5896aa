"""A perfect generator's samples help a probe and a network of few people; those of the wrong class do not."""

import numpy as np
import pandas as pd
import pytest
import torch
from invented_people import draw, make_features, make_labels, make_real, make_samples
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.control.contracts import USEFULNESS
from braing3n.control.contrasts import Space
from braing3n.control.usefulness import NETWORK, TRAINED_ON, choose_seen, measure_usefulness, plan_tasks
from braing3n.core.contracts import check_table

LABELS, SAMPLES = make_labels(), make_samples()
NOISE = 0.35  # of each feature, so that few people are not enough


def blur(features, seed):
    return features + np.random.default_rng(seed).normal(0, NOISE, features.shape)


FEATURES, DRAWN = blur(make_features(LABELS), 7), blur(draw(SAMPLES, LABELS), 8)
IS_T1, IS_TRAIN = LABELS["modality"] == "T1", LABELS["split"] == "train"
COUNTS = (LABELS[IS_T1 & IS_TRAIN & (LABELS["dx"] != "HC")])["dx"].value_counts()
RARE = COUNTS.index[-1]


def measure(drawn=DRAWN, samples=SAMPLES, labels=LABELS, features=FEATURES, **options):
    real = make_real(labels, usefulness={"counts": (4, 16, 1000), **options})
    found = measure_usefulness(Space("encoder", features, drawn), samples, real, plan_tasks(real, samples))
    return check_table(found, USEFULNESS, "test").set_index(["task", "n_rare", "trained_on"]).sort_index()


@pytest.fixture(scope="module")
def perfect():
    return measure()


def test_samples_of_a_perfect_generator_help_and_those_of_the_wrong_class_do_not(perfect):
    for task in (f"HC vs {RARE}", "F vs M"):
        few = perfect.loc[(task, 4)]
        assert few.loc["both", "gain_low"] > 0
        assert few.loc["both, wrong class", "gain_high"] < 0
        assert few.loc["both", "gain"] > perfect.loc[(task, 16, "both"), "gain"]
        assert few.loc["both", "n_samples"] == 60
        assert few.loc["real", "gain"] == few.loc["real", "n_samples"] == 0
        assert few.loc["real", "low"] < few.loc["real", "auc"] < few.loc["real", "high"], "draws differ"


def test_samples_of_a_deaf_generator_help_less(perfect):
    """They are of both sexes and of every disease, against a common class that is pure."""
    found = measure(blur(draw(SAMPLES, LABELS, is_deaf=True), 8))
    for name in ("synthetic", "both"):
        rows = slice(None), [4, 16], name
        assert (found.loc[rows, "auc"] < perfect.loc[rows, "auc"] - 0.005).all()
    assert found.loc[(f"HC vs {RARE}", 4, "both"), "gain_high"] < 0


def test_a_probe_of_all_people_and_samples_is_what_scikit_learn_gives():
    """With every person of the rare class there is one draw, whatever the order."""
    n_rare = int(COUNTS.iloc[-1])
    found = measure(counts=(n_rare,)).loc[(f"HC vs {RARE}", n_rare)]
    known = IS_T1 & LABELS["dx"].isin(["HC", RARE])
    train, held = known & IS_TRAIN, known & ~IS_TRAIN
    truth = LABELS.loc[held, "dx"] == RARE
    samples = {name: (SAMPLES["arm"] == f"disease-{name}").to_numpy() for name in ("HC", RARE)}
    real = FEATURES[train], (LABELS.loc[train, "dx"] == RARE).to_numpy()
    common = FEATURES[IS_T1 & IS_TRAIN & (LABELS["dx"] == "HC")]
    added = DRAWN[samples[RARE]]
    sets = {
        "real": real,
        "synthetic": (np.concatenate([common, added]), np.repeat([False, True], [len(common), len(added)])),
        "both": (np.concatenate([real[0], added]), np.concatenate([real[1], np.ones(len(added), bool)])),
    }
    for name, (rows, target) in sets.items():
        model = LogisticRegression(max_iter=1000, class_weight="balanced")
        chance = make_pipeline(StandardScaler(), model).fit(rows, target).predict_proba(FEATURES[held])[:, 1]
        assert found.loc[name, "auc"] == pytest.approx(roc_auc_score(truth, chance), abs=1e-3)
        assert found.loc[name, "n_held_out_people"] == held.sum()
        assert found.loc[name, "n_draws"] == 10


def test_samples_of_other_scales_take_no_part(perfect):
    samples = pd.concat([SAMPLES, SAMPLES.assign(guidance=1.0, is_main=False)], ignore_index=True)
    drawn = np.concatenate([DRAWN, draw(SAMPLES, LABELS, is_deaf=True)])
    pd.testing.assert_frame_equal(measure(drawn, samples, counts=(4,)), perfect.loc[(slice(None), [4]), :])
    real = make_real(LABELS)
    tasks = plan_tasks(real, SAMPLES)
    assert choose_seen(tasks, samples, real)[1].tolist() == choose_seen(tasks, SAMPLES, real)[1].tolist()


def test_a_persons_second_scan_teaches_nothing_and_is_counted_as_a_volume(perfect):
    twice = pd.concat([LABELS, LABELS.assign(volume_id=LABELS["volume_id"] + "b")], ignore_index=True)
    found = measure(labels=twice, features=np.concatenate([FEATURES, FEATURES]), counts=(4,))
    once = perfect.loc[(slice(None), [4]), :]
    for name in ("auc", "low", "high", "gain", "n_common", "n_held_out_people"):
        np.testing.assert_allclose(found[name], once[name], atol=1e-9, err_msg=name)
    assert (found["n_held_out"] == 2 * once["n_held_out"]).all()


def test_the_rare_disease_is_one_that_samples_are_of():
    samples = SAMPLES[SAMPLES["arm"] != f"disease-{RARE}"]
    (contrast, rare), _ = plan_tasks(make_real(LABELS), samples)
    assert rare != RARE
    assert contrast.classes == ("HC", rare)


def test_what_is_missing_has_a_reason(perfect):
    assert (
        perfect.loc[(slice(None), 1000, slice(None)), "reason"].str.contains("training people with")
    ).all()
    bare = measure(DRAWN[:0], SAMPLES[:0])
    assert bare.loc[("HC vs AD", 4, "real"), "auc"] > 0.5
    for name in TRAINED_ON[1:]:
        assert bare.loc[("HC vs AD", 4, name), "reason"].startswith("no samples of the ")
    alone = LABELS.assign(split="train")
    assert (measure(labels=alone)["reason"].str.contains("held-out|training people")).all()


SHAPE = (16, 8, 8)


def show(rows, is_asked, seed):
    """Volumes of noise; who is of the class has a brighter block, of a place of its own."""
    volumes = np.random.default_rng(seed).normal(size=(len(rows), *SHAPE))
    volumes[is_asked, 2:8, 2:6, 2:6] += 0.5
    return volumes.astype(np.float32)


def see(labels=LABELS, is_deaf=False, **network):
    """The network's rows: women, and samples of women, have the block; a deaf generator's never have."""
    real = make_real(labels, usefulness={"counts": (4, 1000), "network": network})
    tasks = plan_tasks(real, SAMPLES)[1:]
    is_woman = (labels["sex"] == tasks[0][1]).to_numpy()
    is_asked = (SAMPLES["sex"] == tasks[0][1]).to_numpy() & (not is_deaf)
    space = Space("image", show(labels, is_woman, 1), show(SAMPLES, is_asked, 2))
    found = measure_usefulness(space, SAMPLES, real, tasks, NETWORK)
    return check_table(found, USEFULNESS, "test").set_index(["n_rare", "trained_on"]).sort_index()


@pytest.fixture(scope="module")
def seen():
    return see(n_draws=4)


def test_a_network_of_few_people_gains_by_samples_of_a_perfect_generator_alone(seen):
    few = seen.loc[4]
    assert set(few["learner"]) == {"network"}
    assert set(few["n_draws"]) == {4}
    assert few.loc["real", "auc"] < 0.85
    assert few.loc["both", "gain_low"] > 0
    assert few.loc["synthetic", "auc"] > 0.85
    assert few.loc["both, wrong class", "gain"] < 0.02
    deaf = see(is_deaf=True, n_draws=4).loc[4]
    assert deaf.loc["synthetic", "auc"] < 0.65
    assert deaf.loc["both", "gain"] < few.loc["both", "gain"] - 0.05
    assert seen.loc[1000, "reason"].str.contains("training people with").all()


def test_the_same_numbers_give_the_same_network_whatever_threads_and_draws_came_before(seen):
    torch.manual_seed(7)
    before, n_threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = see(n_draws=4)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
    assert torch.equal(torch.get_rng_state(), before)
    pd.testing.assert_frame_equal(seen, again)
    other = see(LABELS.assign(person_id=LABELS["person_id"] + "x"), n_draws=3)
    assert (other.loc[4, "auc"] != seen.loc[4, "auc"]).all()


def test_few_people_of_each_class_and_the_samples_of_their_arms_are_decoded():
    real = make_real(LABELS, usefulness={"network": {"n_people": 5}})
    tasks = plan_tasks(real, SAMPLES)
    rows, drawn = choose_seen(tasks, SAMPLES, real)
    assert tasks[0][1] == RARE
    assert set(SAMPLES["arm"].iloc[drawn]) == {"disease-HC", f"disease-{RARE}", "sex-F", "sex-M"}
    assert len(drawn) == 240
    chosen = LABELS.iloc[rows]
    assert set(chosen["modality"]) == {"T1"}
    for split in ("train", "test"):
        counts = chosen.loc[chosen["split"] == split, ["dx"]].value_counts()
        assert counts[("HC",)] >= 5
        assert counts[(RARE,)] >= 5
        assert (chosen["split"] == split).sum() <= 20
    off = make_real(LABELS, usefulness={"network": {"n_draws": 0}})
    assert [len(part) for part in choose_seen(tasks, SAMPLES, off)] == [0, 0]
