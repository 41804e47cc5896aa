"""A perfect generator's samples help a probe of few people; those of the wrong class do not."""

import numpy as np
import pytest
from invented_people import draw, make_features, make_labels, make_real, make_samples
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.control.contracts import USEFULNESS
from braing3n.control.contrasts import Space
from braing3n.control.usefulness import TRAINED_ON, measure_usefulness
from braing3n.core.contracts import check_table

LABELS, SAMPLES = make_labels(), make_samples()
NOISE = 0.35  # of each feature, so that few people are not enough


def blur(features, seed):
    return features + np.random.default_rng(seed).normal(0, NOISE, features.shape)


FEATURES, DRAWN = blur(make_features(LABELS), 7), blur(draw(SAMPLES, LABELS), 8)
IS_T1, IS_TRAIN = LABELS["modality"] == "T1", LABELS["split"] == "train"
COUNTS = (LABELS[IS_T1 & IS_TRAIN & (LABELS["dx"] != "HC")])["dx"].value_counts()
RARE = COUNTS.index[-1]


def measure(drawn=DRAWN, samples=SAMPLES, labels=LABELS, **options):
    real = make_real(labels, usefulness={"counts": (4, 16, 1000), **options})
    found = measure_usefulness(Space("encoder", FEATURES, drawn), samples, real)
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
