"""The judge of samples: it finds what is there, sees what is not, and says so on the page."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import ProbeSettings
from braing3n.control.contracts import JUDGED
from braing3n.control.judge import choose_real, decode_coarsely, judge_samples
from braing3n.core.contracts import check_table
from braing3n.diffusion import sample as sampling

N_PEOPLE, SHAPE = 120, (6, 4)
RNG = np.random.default_rng(5)
EFFECTS = dict(zip(("age", "modality", "sex", "disease"), RNG.normal(size=(4, *SHAPE)), strict=True))


def make_tokens(table, rng):
    """Volumes with planted effects and a person's own noise of deviation 1, from columns of labels."""
    amounts = {
        "age": (table["age_years"].fillna(50) - 50) / 15,
        "modality": 4 * (table["modality"] == "T2"),
        "sex": 2 * (table["sex"] == "F"),
        "disease": 2 * (table["disease"] == "AD"),
    }
    planted = sum(amount.to_numpy()[:, None, None] * EFFECTS[name] for name, amount in amounts.items())
    return planted + rng.normal(size=(len(table), *SHAPE))


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    columns = {"modality": ("T1", "T1", "T2"), "sex": ("F", "M"), "disease": ("HC", "AD")}
    table = pd.DataFrame({name: rng.choice(values, N_PEOPLE) for name, values in columns.items()})
    table = table.assign(dx=table["disease"], age_years=rng.uniform(20, 90, N_PEOPLE), split="test")
    table.loc[:79, "split"] = "train"
    names = [f"p{i}" for i in range(N_PEOPLE)]
    return table.assign(volume_id=names, person_id=names)


@pytest.fixture
def samples():
    arms = [arm for arm in sampling.ARMS if arm.modality in ("T1", "T2") and not arm.idh1]
    return sampling.list_samples(arms, 20)


def draw(samples, seed=2):
    """Samples of a perfect generator: what an arm does not name is as in any person."""
    rng, table = np.random.default_rng(seed), samples.copy()
    for name, values in (("sex", ("F", "M")), ("disease", ("HC", "AD"))):
        table[name] = np.where(table[name] == "", rng.choice(values, len(table)), table[name])
    table["age_years"] = table["age_years"].fillna(pd.Series(rng.uniform(20, 90, len(table))))
    return make_tokens(table, rng)


def flatten(tokens):
    return tokens.reshape(len(tokens), -1)


def judge(labels, samples, drawn):
    tokens = make_tokens(labels, np.random.default_rng(1))
    table = judge_samples(flatten(tokens), labels, flatten(drawn), samples, ProbeSettings())
    return check_table(table, JUDGED, "test").set_index(["measure", "arm"])


def test_a_generator_like_the_people_meets_every_claim(labels, samples):
    found = judge(labels, samples, draw(samples))
    for measure, least in (("age", 0.7), ("modality", 0.95), ("sex", 0.8), ("disease", 0.8)):
        row = found.loc[(measure, "")]
        assert row["value"] > least
        assert row["low"] < row["value"] <= row["high"]
        assert row["reference"] > least
    assert found.loc[("age", "")]["n_samples"] == 60
    assert (
        found.loc[("age", "")]["n_volumes"]
        == ((labels["split"] == "test") & (labels["modality"] == "T1")).sum()
    )
    assert (found["verdict"] != "not met").all()
    assert found.loc[("modality", "")]["verdict"] == found.loc[("age", "")]["verdict"] == "met"
    assert found.loc["diversity"]["value"].dropna().between(0.8, 1.25).all()


def test_value_and_reference_are_those_of_a_plain_probe_of_training_people(labels, samples):
    """Whose classes are those that samples are of: people with MCI take no part."""
    labels["disease"] = labels["dx"] = labels["disease"].where(labels.index % 5 > 0, "MCI")
    drawn, tokens = flatten(draw(samples)), flatten(make_tokens(labels, np.random.default_rng(1)))
    drawn = drawn + np.random.default_rng(3).normal(0, 1.5, drawn.shape)
    found = judge_samples(tokens, labels, drawn, samples, ProbeSettings()).set_index(["measure", "arm"])
    is_t1, is_train = labels["modality"] == "T1", labels["split"] == "train"
    for measure, column in (("age", "age_years"), ("sex", "sex"), ("disease", "disease")):
        is_number = measure == "age"
        asked = samples[column].notna() & (samples[column] != "") & (samples["modality"] == "T1")
        known = is_t1 & (is_number | labels[column].isin(["F", "M", "HC", "AD"]))
        last = Ridge(1.0) if is_number else LogisticRegression(max_iter=1000)
        plain = make_pipeline(PCA(tokens.shape[1]), StandardScaler(), last)
        plain.fit(tokens[known & is_train], labels[column][known & is_train])
        for name, points, truth in (
            ("value", drawn[asked], samples[column][asked]),
            ("reference", tokens[known & ~is_train], labels[column][known & ~is_train]),
        ):
            read = plain.predict(points)
            expected = np.corrcoef(read, truth.astype(float))[0, 1] if is_number else (read == truth).mean()
            assert found.loc[(measure, ""), name] == pytest.approx(expected, abs=1e-4), (measure, name)


def test_samples_that_ignore_their_conditions_are_not_met(labels, samples):
    shuffled = samples.sample(frac=1, random_state=0).reset_index(drop=True)
    found = judge(labels, samples, draw(shuffled))
    assert found.loc[("age", "")]["verdict"] == found.loc[("modality", "")]["verdict"] == "not met"
    assert abs(found.loc[("age", "")]["value"]) < 0.5
    assert found.loc[("sex", "")]["low"] < 0.5 < found.loc[("sex", "")]["high"]
    assert found.loc[("age", "")]["reference"] > 0.7  # the judge is sound; the samples are not


def test_diversity_is_the_ratio_of_mean_distances(labels, samples):
    drawn = draw(samples)
    is_female = (samples["arm"] == "sex-F").to_numpy()
    centre = drawn[is_female].mean(0)
    drawn[is_female] = centre + 0.3 * (drawn[is_female] - centre)  # nearly one person
    labels.loc[1, "person_id"] = labels.loc[0, "person_id"]  # two visits of one person are no pair
    labels.loc[:1, ["modality", "sex"]] = "T1", "F"
    tokens = make_tokens(labels, np.random.default_rng(1))

    def average(points, people):
        pairs = [(i, j) for i in range(len(points)) for j in range(i) if people[i] != people[j]]
        return np.mean([np.sqrt(((points[i] - points[j]) ** 2).sum()) for i, j in pairs])

    is_here = ((labels["modality"] == "T1") & (labels["sex"] == "F")).to_numpy()
    wanted = average(drawn[is_female], np.arange(20)) / average(
        tokens[is_here], labels.loc[is_here, "person_id"].to_numpy()
    )
    found = judge(labels, samples, drawn)
    is_near = ((labels["modality"] == "T1") & ((labels["age_years"] - 50).abs() <= 5)).sum()
    assert found.loc[("diversity", "age-50"), "n_volumes"] == is_near
    row = found.loc[("diversity", "sex-F")]
    assert row["value"] == pytest.approx(wanted, rel=1e-4)
    assert (row["n_volumes"], row["n_people"]) == (is_here.sum(), is_here.sum() - 1)
    assert row["verdict"] == "not met"


def test_what_cannot_be_judged_says_why(labels):
    samples = sampling.list_samples(list(sampling.ARMS), 4)
    found = judge(labels.assign(age_years=np.nan), samples, draw(samples))
    row = found.loc[("age", "")]
    assert np.isnan(row["value"])
    assert row["verdict"] == "n/a"
    assert row["note"]
    assert found.loc[("diversity", "idh1-mutant")]["note"]
    assert found.loc[("diversity", "age-30")]["note"]
    assert found.loc[("disease", "")]["n_samples"] == 8  # not the tumours, which are of another modality


def test_volumes_are_decoded_and_averaged_over_cubes():
    """Each voxel of the decoder's image counts, in batches and without."""
    tokenizer = SimpleNamespace(decode=lambda tokens: tokens.reshape(-1, 1, 4, 2, 2))
    tokens = np.random.default_rng(0).normal(size=(19, 4, 4)).astype(np.float32)
    seen = decode_coarsely(tokenizer, tokens, torch.device("cpu"))
    wanted = [[image[:2].mean(), image[2:].mean()] for image in tokens.reshape(-1, 4, 2, 2)]
    np.testing.assert_allclose(seen[:, :, 0, 0], wanted, rtol=1e-5)


def test_real_volumes_are_drawn_from_both_sides_of_the_split(monkeypatch):
    labels = pd.DataFrame({"split": ["train"] * 30 + ["validation"] * 5 + ["test"] * 5})
    assert choose_real(labels, 1).tolist() == list(range(40))
    monkeypatch.setattr("braing3n.control.judge.MOST_REAL", 8)
    rows = choose_real(labels, 1)
    assert ((rows < 30).sum(), (rows >= 30).sum(), len(set(rows))) == (8, 8, 16)
    assert rows.tolist() == choose_real(labels, 1).tolist() != choose_real(labels, 2).tolist()
