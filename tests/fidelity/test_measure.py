"""A distance stands beside a floor of its own numbers, and a missing part has a reason."""

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm
from scipy.stats import binom

from braing3n.config import FidelitySettings
from braing3n.core.contracts import check_table
from braing3n.core.errors import ContractError
from braing3n.fidelity.arms import ARMS, choose_real, list_real
from braing3n.fidelity.contracts import DISTANCES
from braing3n.fidelity.formulas.kernels import choose_sigma, measure_kid, measure_mmd
from braing3n.fidelity.measure import MORE, NO_RECONSTRUCTIONS, QUANTITY, measure_arms

from .invented import NULL, make_corpus, make_people, make_samples

ARM = next(arm for arm in ARMS if arm.title == "Modality T1")


@pytest.fixture(scope="module")
def corpus():
    return make_corpus()


def ask(n):
    """`n` samples of the arm "Modality T1"."""
    return pd.DataFrame([{**NULL, "modality": "T1"}] * n)


def measure_t1(generated, real, labels, reconstructed=None, **settings):
    """The rows of the arm "Modality T1" against the whole corpus, by comparison."""
    samples = ask(len(generated))
    table = measure_arms(generated, samples, real, reconstructed, labels, FidelitySettings(**settings))
    return index(check_table(table, DISTANCES, "test")).loc["Modality T1"]


def index(table, reference="corpus", by=("arm", "comparison")):
    """The rows of one reference."""
    return table[table["reference"] == reference].set_index(list(by))


def measure_densely(x, y):
    """The textbook formula with an F x F matrix root."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(0) - y.mean(0)
    return shift @ shift + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real


@pytest.mark.parametrize("n_samples", [12, 50])
def test_value_and_floor_have_the_same_numbers_and_agree_with_other_draws(n_samples):
    """Both against the textbook formula on splits of our own; a floor that ignores n is off by 3 here."""
    n_people, n_features = 70, 6
    labels, real = make_people(n_people, n_features)
    rng = np.random.default_rng(5)
    generated = 1.3 * rng.normal(size=(n_samples, n_features)) + 0.5
    found = measure_t1(generated, real, labels, n_draws=400).loc["gen-vs-real"]
    values, floors = [], []
    for _ in range(400):
        order = rng.permutation(n_people)
        others = real[order[n_samples:]]
        values.append(measure_densely(generated, others))
        floors.append(measure_densely(real[order[:n_samples]], others))
    assert found["value"] == pytest.approx(np.mean(values), rel=0.02)
    assert found["floor"] == pytest.approx(np.mean(floors), rel=0.05)
    assert found["floor_low"] == pytest.approx(np.percentile(floors, 2.5), rel=0.1)
    assert found["floor_high"] == pytest.approx(np.percentile(floors, 97.5), rel=0.1)
    assert (found["n_floor_people"], found["n_others"]) == (n_samples, n_people - n_samples)
    assert (found["n_samples"], found["n_people"], found["n_volumes"]) == (n_samples, n_people, n_people)
    assert (found["n_features"], found["rank"]) == (n_features, n_features)


def test_a_generator_off_by_a_quarter_of_a_deviation_lies_above_the_floor():
    labels, real = make_people(400, 64)
    generated = np.random.default_rng(1).normal(size=(64, 64))
    same = measure_t1(generated, real, labels).loc["gen-vs-real"]
    off = measure_t1(generated + 0.25, real, labels).loc["gen-vs-real"]
    assert same["floor_low"] < same["value"] < same["floor_high"]
    assert off["value"] > off["floor_high"]
    assert same["floor_high"] == off["floor_high"]


def test_samples_of_the_real_law_stay_within_the_floors_interval_at_the_nominal_rate():
    n_inside, n_runs = 0, 40
    for seed in range(n_runs):
        labels, real = make_people(80, 5, seed)
        generated = np.random.default_rng(1000 + seed).normal(size=(20, 5))
        found = measure_t1(generated, real, labels, n_draws=40).loc["gen-vs-real"]
        n_inside += found["floor_low"] <= found["value"] <= found["floor_high"]
    assert binom.cdf(n_inside, n_runs, 0.95) > 0.001
    assert n_inside < n_runs


def test_reconstructions_are_held_against_the_same_numbers_of_others():
    labels, real = make_people(60, 6)
    rng = np.random.default_rng(3)
    generated, blurred = rng.normal(size=(20, 6)), 0.5 * real
    perfect = measure_t1(generated, real, labels, real.copy())
    assert perfect.loc["recons-vs-real", "value"] == perfect.loc["recons-vs-real", "floor"]
    assert perfect.loc["gen-vs-recons", "value"] == perfect.loc["gen-vs-real", "value"]
    found = measure_t1(generated, real, labels, blurred)
    assert found.loc["recons-vs-real", "value"] > found.loc["recons-vs-real", "floor_high"]
    assert found.loc["recons-vs-real", "floor"] == found.loc["gen-vs-real", "floor"]
    assert found.loc["gen-vs-recons", "floor"] == pytest.approx(found.loc["gen-vs-real", "floor"] / 4)
    twice = measure_t1(generated, 2 * blurred, labels, blurred)
    assert twice.loc["gen-vs-recons", "value"] == found.loc["gen-vs-recons", "value"]
    assert set(found["n_floor_people"]) == {20}
    assert set(found["n_others"]) == {40}


def test_a_person_is_one_volume_and_relatives_are_never_on_both_sides():
    """Everybody twice: as repeat scans, then under a second id; both lie at the same point."""
    labels, real = make_people(40, 6)
    generated = np.random.default_rng(4).normal(size=(10, 6))
    once = measure_t1(generated, real, labels, n_draws=200).loc["gen-vs-real"]
    for column in (["person_id"], []):
        again = labels.assign(**{name: labels[name] + "x" for name in ("person_id",) if not column})
        both = pd.concat([labels, again], ignore_index=True)
        twice = measure_t1(generated, np.concatenate([real, real]), both, n_draws=200).loc["gen-vs-real"]
        assert twice["floor"] == pytest.approx(once["floor"], rel=0.1)
        assert twice["value"] == pytest.approx(once["value"], rel=0.05)
        assert (twice["n_floor_people"], twice["n_others"], twice["n_volumes"]) == (10, 30, 80)
        assert twice["n_people"] == (40 if column else 80)


def test_at_most_so_many_people_are_drawn_and_nothing_else_is_decoded():
    labels, real = make_people(300, 4)
    labels["sex"] = np.where(np.arange(300) % 2, "F", "M")
    samples, settings = make_samples(), FidelitySettings(n_real=20)
    rows = list_real(samples, labels, settings)
    # 32 samples of T1 in all and 48 pooled: the pools draw on 52 and 68 people, and the arms' lie among these
    # or among the first 24 women, men or healthy people. Of held-out people, who are a quarter, the pools
    # need 52 and 68 more, and of training people 68, most of whom are among the first.
    assert list(rows) == sorted(set(rows))
    assert 68 + 40 <= len(rows) <= 68 + 80
    reconstructed = np.full(real.shape, np.nan)
    reconstructed[rows] = real[rows]
    generated = np.random.default_rng(0).normal(size=(len(samples), 4))
    found = measure_arms(generated, samples, real, reconstructed, labels, settings)
    measured = found[found["reason"] == ""]
    assert set(measured["n_others"]) == {20}
    assert (measured["n_floor_people"] == measured["n_samples"]).all()
    assert measured[["value", "floor", "floor_low", "floor_high"]].notna().all(axis=None)


@pytest.mark.parametrize(("reference", "n_chosen"), [("training", 16), ("held-out", 12)])
def test_a_reference_reads_its_own_people_alone(corpus, reference, n_chosen):
    """Values, floors and counts stay as they are where all other people change."""
    labels, real, samples = corpus
    is_own = ((labels["split"] == "train") == (reference == "training")).to_numpy()
    generated = np.random.default_rng(1).normal(size=(len(samples), 16))
    settings = FidelitySettings(n_real=12, n_draws=5)
    changed = real + 100 * ~is_own[:, None]
    tables = [measure_arms(generated, samples, x, x / 2, labels, settings) for x in (real, changed)]
    found, same = (index(table, reference) for table in tables)
    pd.testing.assert_frame_equal(found, same)
    assert found["value"].notna().sum() > 20
    of_all = [index(table).loc[("Pooled across all arms", "gen-vs-real"), "value"] for table in tables]
    assert of_all[0] != of_all[1]
    chosen = choose_real(ARM, labels, 4, settings, reference)
    assert (len(chosen), is_own[chosen].all()) == (n_chosen, True)
    row = found.loc[("Modality T1", "gen-vs-real")]
    assert (row["n_floor_people"], row["n_others"]) == (4, n_chosen - 4)
    assert row["n_people"] == (is_own & (labels["modality"] == "T1")).sum()


def test_samples_of_the_training_peoples_law_lie_above_the_floor_of_other_people_alone():
    """What two sides of the split that differ show: the floor of each is of its own people."""
    labels, real = make_people(160, 12)
    is_held_out = (labels["split"] != "train").to_numpy()
    real = real + 0.8 * is_held_out[:, None]
    generated = np.random.default_rng(1).normal(size=(20, 12))
    table = measure_arms(generated, ask(20), real, None, labels, FidelitySettings())
    training, held_out = (
        index(table, one).loc[("Modality T1", "gen-vs-real")] for one in ("training", "held-out")
    )
    assert training["value"] < training["floor_high"]
    assert held_out["value"] > held_out["floor_high"]
    assert (training["n_others"], held_out["n_others"]) == (100, 20)


def test_the_seed_alone_decides_who_is_drawn(corpus):
    labels, real, samples = corpus
    generated = np.random.default_rng(1).normal(size=(len(samples), 16))
    one, same, other = (
        measure_arms(generated, samples, real, real, labels, FidelitySettings(seed=seed))
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert (one["floor"].dropna() != other["floor"].dropna()).all()


def test_every_arm_has_its_own_samples_and_people(corpus):
    labels, real, samples = corpus
    rng = np.random.default_rng(1)
    near = rng.normal(size=(len(samples), 16))
    is_far = (samples["sex"] == "M").to_numpy()
    table = measure_arms(near + 3 * is_far[:, None], samples, real, real, labels, FidelitySettings())
    check_table(table, DISTANCES, "near")
    assert set(table["quantity"]) == {QUANTITY}
    found = index(table)
    row = found.loc[("Pooled across all arms", "gen-vs-real")]
    assert (row["n_people"], row["n_volumes"], row["n_samples"], row["n_features"]) == (60, 120, 48, 16)
    above = found["value"] > found["floor_high"]
    assert above[("Sex M (T1)", "gen-vs-real")]
    assert not above[("Sex F (T1)", "gen-vs-real")]
    assert above[("T1 pooled", "gen-vs-recons")]
    assert found.loc[("Modality T1", "gen-vs-real"), "rank"] == 3


def test_what_is_missing_has_a_reason(corpus):
    labels, real, samples = corpus
    table = measure_arms(np.zeros((len(samples), 16)), samples, real, None, labels, FidelitySettings())
    reason = index(table)["reason"]
    assert reason[("Sex F (T1)", "gen-vs-recons")] == NO_RECONSTRUCTIONS
    assert reason[("Sex F (T1)", "recons-vs-real")] == NO_RECONSTRUCTIONS
    assert reason[("Sex F (T1)", "gen-vs-real")] == ""
    assert reason[("Disease AD (T1)", "gen-vs-real")] == "0 unrelated real people, fewer than 4"
    assert reason[("Modality FLAIR", "gen-vs-real")] == "0 unrelated real people, fewer than 4"
    flair = labels.assign(modality="FLAIR")
    table = measure_arms(np.zeros((len(samples), 16)), samples, real, None, flair, FidelitySettings())
    assert index(table)["reason"][("Modality FLAIR", "gen-vs-real")] == ("0 samples of this arm")
    assert (table["value"].isna() == (table["reason"] != "")).all()


def test_where_too_few_people_are_left_there_is_a_distance_and_no_floor():
    real = make_people(24, 3)[1]
    generated = np.random.default_rng(2).normal(size=(20, 3))
    enough = measure_t1(generated, real, make_people(24, 3)[0], real)
    assert (enough["floor_reason"] == "").all()
    assert set(enough["n_others"]) == {4}
    few = measure_t1(generated, real[:23], make_people(23, 3)[0], real[:23])
    assert set(few["floor_reason"]) == {"23 unrelated people leave fewer than 4 beside 20"}
    assert few[["floor", "floor_low", "floor_high"]].isna().all(axis=None)
    row = few.loc["gen-vs-real"]
    assert row["value"] == pytest.approx(measure_densely(generated, real[:23]))
    assert (row["n_floor_people"], row["n_others"]) == (0, 23)
    assert few.loc["recons-vs-real", "reason"] == few.loc["recons-vs-real", "floor_reason"]
    assert measure_t1(generated, real[:4], make_people(4, 3)[0]).loc["gen-vs-real", "reason"] == ""
    assert measure_t1(generated, real[:3], make_people(3, 3)[0]).loc["gen-vs-real", "reason"] == (
        "3 unrelated real people, fewer than 4"
    )
    one = measure_t1(generated[:1], real, make_people(24, 3)[0]).loc["gen-vs-real", "reason"]
    assert one == "1 samples of this arm"
    assert measure_t1(generated[:2], real, make_people(24, 3)[0]).loc["gen-vs-real", "rank"] == 1


def test_lengths_that_differ_are_one_sentence(corpus):
    labels, real, samples = corpus
    with pytest.raises(ContractError, match="differ in length"):
        measure_arms(np.zeros((3, 16)), samples, real, None, labels, FidelitySettings())
    generated = np.zeros((len(samples), 16))
    with pytest.raises(ContractError, match="differ in length"):
        measure_arms(generated, samples, real[1:], None, labels, FidelitySettings())


def blur(rows):
    """Structure of a fine scale lost: each feature is less of what its neighbours are not."""
    return 0.5 * rows + 0.25 * (np.roll(rows, 1, axis=1) + np.roll(rows, -1, axis=1))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("blurred", lambda x, rng: blur(x)),
        ("sharpened", lambda x, rng: 2 * x - blur(x)),
        ("noisy", lambda x, rng: x + rng.normal(0, 0.7, x.shape)),
        ("same", lambda x, rng: x),
    ],
)
def test_changed_sets_exceed_the_95th_percentile_of_half_splits_of_people(name, change):
    """Enough people for features that are few: each changed set lies above, an unchanged one does not."""
    labels, real = make_people(160, 12)
    rng = np.random.default_rng(8)
    generated = change(np.random.default_rng(9).normal(size=(80, 12)), rng)
    row = measure_t1(generated, real, labels, n_draws=100).loc["gen-vs-real"]
    assert row["n_floor_people"] == row["n_others"] == 80
    assert (row["value"] > row["floor_95"]) == (name != "same")


def test_the_other_quantities_are_those_of_their_formulas_beside_real_people():
    labels, real = make_people(60, 6)
    generated = np.random.default_rng(1).normal(0.5, 1, size=(20, 6))
    samples = ask(20)
    table = measure_arms(generated, samples, real, None, labels, FidelitySettings(n_draws=30), MORE)
    check_table(table, DISTANCES, "more")
    found = index(table, by=("arm", "quantity")).loc["Modality T1"]
    assert list(found.index) == list(MORE.quantities)
    assert set(found["comparison"]) == {"gen-vs-real"}
    kid, mmd = found.loc["KID on MAE features"], found.loc["MMD on MAE features"]
    rng, chosen = np.random.default_rng(2025), choose_real(ARM, labels, 20, FidelitySettings())
    values = []
    for _ in range(20):
        others = real[rng.permutation(chosen)[20:]]
        values.append((measure_kid(generated, others), measure_mmd(generated, others, choose_sigma(real))))
    assert (kid["value"], mmd["value"]) == pytest.approx(tuple(np.mean(values, axis=0)))
    assert (kid["low"], kid["high"]) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5], axis=0)[:, 0]))
    assert mmd["value"] > mmd["floor_95"]
    assert found.loc["recall on MAE features", "floor"] > 0.8


def test_held_out_people_in_the_place_of_samples_exceed_the_95th_percentile_at_most_at_the_stated_rate():
    n_above, n_runs = np.zeros(2), 30
    for seed in range(n_runs):
        labels, real = make_people(60, 4, seed)
        held_out = np.random.default_rng(1000 + seed).normal(size=(20, 4))
        table = measure_arms(held_out, ask(20), real, None, labels, FidelitySettings(n_draws=20), MORE)
        found = index(table, by=("arm", "quantity")).loc["Modality T1"].iloc[:2]
        n_above += (found["value"] > found["floor_95"]).to_numpy()
    assert (
        binom.sf(n_above.max() - 1, n_runs, 0.1) > 0.001
    )  # 20 draws: their 95th percentile is itself unsure
