"""Invented volumes by arm: what is planted is found there alone, and what is missing is counted."""

import numpy as np
import pandas as pd
import pytest

from braing3n.config import FidelitySettings
from braing3n.core.contracts import check_table
from braing3n.core.errors import ContractError
from braing3n.fidelity.anatomy.compare import (
    AGES,
    SIZED_ARMS,
    Measured,
    compare_anatomy,
    list_asked,
    list_segmented,
)
from braing3n.fidelity.anatomy.others import CORRELATION, correlate, read_measured
from braing3n.fidelity.anatomy.watch import compare_tools
from braing3n.fidelity.arms import choose_real
from braing3n.fidelity.contracts import ANATOMY, SEGMENTED

from ..invented import NULL

NAMES = ("csf", "ventricles", "cortex")
N_SAMPLES = 30
SETTINGS = FidelitySettings(n_segmented=80)
SLOPES = np.array([0.8, 0.4, -1.0])  # ml a year of real people


def measure_people(age_years, rng):
    """Ml (n, 3) of people of some ages."""
    return (
        np.array([150.0, 30.0, 600.0])
        + np.outer(age_years - 50, SLOPES)
        + rng.normal(0, 8, (len(age_years), 3))
    )


@pytest.fixture
def run():
    """(samples, labels, measured): the generator makes people as they are, at the age that is asked for."""
    rng, n = np.random.default_rng(0), 600
    ids = [f"p{k:03d}" for k in range(n)]
    labels = pd.DataFrame({"volume_id": ids, "person_id": ids, "group_id": ids, "modality": "T1", "idh1": ""})
    labels["dx"] = np.where(np.arange(n) % 2, "HC", "AD")
    labels["sex"] = np.where(np.arange(n) // 2 % 2, "F", "M")
    labels["split"] = "train"
    labels["age_years"] = rng.uniform(20, 80, n)
    arms = [arm for arm in SIZED_ARMS if arm.conditions["modality"] == "T1"]
    samples = pd.DataFrame([{**NULL, **arm.conditions} for arm in arms for _ in range(N_SAMPLES)])
    samples["sample_id"] = [f"s{k}" for k in range(len(samples))]
    samples["age_years"] = samples["age_years"].astype(float)
    ages = samples["age_years"].fillna(pd.Series(rng.uniform(20, 80, len(samples)))).to_numpy()
    real = measure_people(labels["age_years"].to_numpy(), rng)
    ml = {
        "generated": measure_people(ages, rng),
        "real": real,
        "reconstructed": real + rng.normal(0, 1, real.shape),
    }
    return (
        samples,
        labels,
        Measured("ours", NAMES, ml, {name: np.full(len(v), True) for name, v in ml.items()}),
    )


def find_outside(table):
    """(arm, comparison, volume) of what lies outside the floor."""
    is_outside = (table["value"] < table["floor_low"]) | (table["value"] > table["floor_high"])
    return table.loc[is_outside, ["arm", "comparison", "volume"]].apply(tuple, axis=1).tolist()


def test_a_faithful_generator_is_within_the_nominal_rate(run):
    samples, labels, measured = run
    table = check_table(compare_anatomy(measured, samples, labels, SETTINGS), ANATOMY, "here")
    done = table[table["reason"] == ""]
    assert len(done) == 9 * 3 * 3  # arms of T1 and the ages, comparisons, volumes
    assert len(find_outside(done)) <= 10  # of 81, many of the same people
    assert (done["n_first"] + done["n_second"] > 50).all()


def test_enlarged_ventricles_of_one_arm_are_large_there_alone(run):
    samples, labels, measured = run
    is_woman = (samples["sex"] == "F").to_numpy()
    before = set(find_outside(compare_anatomy(measured, samples, labels, SETTINGS)))
    measured.ml["generated"][is_woman, 1] += 20
    table = compare_anatomy(measured, samples, labels, SETTINGS)
    new = set(find_outside(table)) - before
    assert new == {
        ("Sex F (T1)", comparison, "ventricles") for comparison in ("gen-vs-real", "gen-vs-recons")
    }
    found = table.set_index(["arm", "comparison", "volume"]).loc[("Sex F (T1)", "gen-vs-real", "ventricles")]
    assert found["value_low"] > 0.8
    assert found["first"] - found["second"] == pytest.approx(20, abs=5)


def test_an_age_that_is_obeyed_has_the_slope_of_real_people_and_an_ignored_one_none(run):
    samples, labels, measured = run
    table = compare_anatomy(measured, samples, labels, SETTINGS)
    obeyed = table[(table["arm"] == AGES) & (table["comparison"] == "gen-vs-real")].set_index("volume")
    np.testing.assert_allclose(obeyed["first"], SLOPES, atol=0.15)
    np.testing.assert_allclose(obeyed["second"], SLOPES, atol=0.15)
    assert obeyed["value"].between(obeyed["floor_low"], obeyed["floor_high"]).all()
    rng = np.random.default_rng(7)
    ignored = measure_people(rng.uniform(20, 80, len(samples)), rng)
    table = compare_anatomy(
        Measured("ours", NAMES, measured.ml | {"generated": ignored}, measured.is_seen),
        samples,
        labels,
        SETTINGS,
    )
    row = table[(table["arm"] == AGES) & (table["comparison"] == "gen-vs-real")].set_index("volume")
    np.testing.assert_allclose(row["first"], 0, atol=0.25)
    assert ((row["first_low"] < 0) & (row["first_high"] > 0)).all()
    assert (np.sign(row["value"]) == -np.sign(SLOPES)).all()
    assert (~row["value"].between(row["floor_low"], row["floor_high"])).all()


def test_what_is_not_relied_on_is_left_out_and_counted(run):
    samples, labels, measured = run
    women = np.flatnonzero(samples["sex"] == "F")
    measured.ml["generated"][women[:11], 0] = np.nan
    chosen = choose_real(SIZED_ARMS[2], labels, N_SAMPLES, SETTINGS)[:80]
    measured.ml["real"][chosen[:7]] = np.nan
    table = compare_anatomy(measured, samples, labels, SETTINGS).set_index(["arm", "comparison", "volume"])
    for name in NAMES:
        row = table.loc[("Sex F (T1)", "gen-vs-real", name)]
        assert (row["n_first"], row["n_first_left_out"]) == (19, 11)
        assert (row["n_second"], row["n_second_left_out"]) == (73, 7)
        assert (row["n_floor_people"], row["n_others"]) == (19, 54)
        row = table.loc[("Sex F (T1)", "recons-vs-real", name)]
        assert (row["n_first"], row["n_second"]) == (73, 73)  # the same people
    measured.ml["generated"][women[:-2]] = np.nan  # two samples are the fewest with a number
    table = compare_anatomy(measured, samples, labels, SETTINGS).set_index(["arm", "comparison", "volume"])
    row = table.loc[("Sex F (T1)", "gen-vs-real", "csf")]
    assert (row["n_first"], row["reason"], np.isfinite(row["value"])) == (2, "", True)
    measured.ml["generated"][women[:-1]] = np.nan
    table = compare_anatomy(measured, samples, labels, SETTINGS).set_index(["arm", "comparison", "volume"])
    row = table.loc[("Sex F (T1)", "gen-vs-real", "csf")]
    assert row["reason"] == "1 of 30 samples of this arm have volumes to rely on"
    assert row["n_first_left_out"] == 29
    assert np.isnan(row["value"])


def test_few_real_people_leave_no_floor(run):
    samples, labels, measured = run
    keep = FidelitySettings(n_segmented=32)
    table = compare_anatomy(measured, samples, labels, keep).set_index(["arm", "comparison", "volume"])
    row = table.loc[("Sex F (T1)", "gen-vs-real", "csf")]
    assert row["floor_reason"] == "32 unrelated people leave fewer than 4 beside 30"
    assert np.isfinite(row["value"])
    assert np.isnan(row["floor_high"])
    assert table.loc[("Sex F (T1)", "recons-vs-real", "csf"), "reason"] == row["floor_reason"]
    assert table.loc[("Modality T2", "gen-vs-real", "csf"), "reason"].startswith("0 of 0 samples")


def test_the_fewest_people_beside_the_samples_make_a_floor(run):
    samples, labels, measured = run
    settings = FidelitySettings(n_segmented=N_SAMPLES + SETTINGS.min_people)
    table = compare_anatomy(measured, samples, labels, settings).set_index(["arm", "comparison", "volume"])
    for comparison in ("gen-vs-real", "recons-vs-real"):
        row = table.loc[("Sex F (T1)", comparison, "csf")]
        assert (row["reason"], row["floor_reason"]) == ("", "")
        assert (row["n_floor_people"], row["n_others"]) == (N_SAMPLES, SETTINGS.min_people)
        assert np.isfinite(row["floor_high"])


def test_a_family_counts_once_in_the_age_slope(run):
    samples, labels, _ = run
    labels = labels.assign(group_id=[f"g{k // 3}" for k in range(len(labels))])
    arms = [arm for arm in SIZED_ARMS if "age_years" in arm.conditions]
    people = np.concatenate([choose_real(arm, labels, N_SAMPLES, SETTINGS)[:80] for arm in arms])
    asked = {one.title: one for one in list_asked(samples, labels, SETTINGS)}[AGES]
    groups = labels["group_id"].to_numpy()
    assert len(set(groups[people])) < len(people)
    for name in ("real", "reconstructed"):
        assert sorted(groups[asked.rows[name]]) == sorted(set(groups[people]))


def test_real_people_of_one_age_have_no_slope_and_an_effect_size_all_the_same(run):
    samples, labels, measured = run
    table = compare_anatomy(measured, samples, labels.assign(age_years=50.0), SETTINGS)
    aged = table[table["arm"] == AGES].set_index("comparison")["reason"]
    assert set(aged.loc["gen-vs-real"]) == {"real people of one age have no slope"}
    assert set(aged.loc[["gen-vs-recons", "recons-vs-real"]]) == {
        "reconstructed people of one age have no slope"
    }
    assert set(table.loc[table["arm"] == "Age 50 (T1)", "reason"]) == {""}


def test_people_are_drawn_by_seed_and_bounded_in_number(run):
    samples, labels, _ = run
    rows = list_segmented(samples, labels, SETTINGS)
    assert len(rows) <= 8 * 80
    assert set(choose_real(SIZED_ARMS[2], labels, N_SAMPLES, SETTINGS)[:80]) <= set(rows)
    assert list(rows) == list(list_segmented(samples, labels, SETTINGS))
    other = FidelitySettings(n_segmented=80, seed=1)
    assert set(rows) != set(list_segmented(samples, labels, other))


def write_tsv(path, samples, labels, ml, ids_seen=300):
    """A tool's volumes of all samples and of some real people."""
    generated = pd.DataFrame(
        {"set": "generated", "item_id": samples["sample_id"], "ventricles": ml["generated"][:, 1]}
    )
    real = pd.DataFrame({"set": "real", "item_id": labels["volume_id"], "ventricles": ml["real"][:, 1]})
    table = pd.concat([generated, real[:ids_seen]]).assign(hippocampus=3.0)
    table["hippocampus"] += np.random.default_rng(0).normal(0, 0.2, len(table))
    table.to_csv(path, sep="\t", index=False)
    return table


def test_a_tools_table_stands_under_its_name_beside_its_correlation_with_ours(run, tmp_path):
    samples, labels, measured = run
    rng = np.random.default_rng(1)
    ml = {name: values + rng.normal(0, 2, values.shape) for name, values in measured.ml.items()}
    path = tmp_path / "synthseg.tsv"
    table = write_tsv(path, samples, labels, ml)
    theirs = read_measured(path, "SynthSeg", samples, labels)
    assert theirs.names == ("ventricles", "hippocampus")
    assert int(theirs.is_seen["real"].sum()) == 300
    found = correlate(measured, theirs, 0).set_index(["comparison", "volume"])
    expected = np.corrcoef(measured.ml["real"][:300, 1], ml["real"][:300, 1])[0, 1]
    assert found.loc[("real", "ventricles"), "value"] == pytest.approx(expected)
    assert (
        found.loc[("real", "ventricles"), "value_low"]
        < expected
        < found.loc[("real", "ventricles"), "value_high"]
    )
    assert (
        found.loc[("reconstructed", "ventricles"), "reason"] == "0 reconstructed volumes are measured by both"
    )
    settings = FidelitySettings(n_segmented=80, measured={"SynthSeg": str(path), "MindGlide": "nowhere.tsv"})
    compared, segmented = compare_tools(None, samples, labels, settings, "no templates")
    compared = check_table(compared, ANATOMY, "here")
    check_table(segmented, SEGMENTED, "here")
    assert set(compared.loc[compared["tool"] == "braing3n", "reason"]) == {"no templates"}
    assert set(compared.loc[compared["tool"] == "MindGlide", "reason"]) == {
        "fidelity.measured: nowhere.tsv does not exist"
    }
    of_tool = compared[(compared["tool"] == "SynthSeg") & (compared["quantity"] != CORRELATION)]
    row = of_tool.set_index(["arm", "comparison", "volume"]).loc[("Sex F (T1)", "gen-vs-real", "hippocampus")]
    women = table["set"].eq("generated").to_numpy()[: len(samples)] & (samples["sex"] == "F").to_numpy()
    assert row["first"] == pytest.approx(table["hippocampus"].to_numpy()[: len(samples)][women].mean())
    assert row["n_second"] < 80  # the table has half of the people


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="set"), "has no column 'set'"),
        (lambda t: t[["set", "item_id"]], "names no volumes"),
        (lambda t: t.assign(ventricles="large"), "column 'ventricles' holds no numbers"),
        (lambda t: pd.concat([t, t[:1]]), "generated s0 is there twice"),
        (
            lambda t: t.assign(item_id=t["item_id"].replace("s0", "other")),
            "generated other is no volume of this run",
        ),
        (lambda t: t.assign(set=t["set"].replace("real", "reel")), "set 'reel' is none of"),
        (lambda t: t.assign(ventricles=-3.0), "column 'ventricles' holds -3; volumes are ml, 0 or more"),
        (lambda t: t.assign(ventricles=np.inf), "column 'ventricles' holds inf"),
    ],
)
def test_a_table_that_is_not_of_this_run_is_one_sentence(run, tmp_path, spoil, message):
    samples, labels, measured = run
    path = tmp_path / "tool.tsv"
    spoil(write_tsv(path, samples, labels, measured.ml)).to_csv(path, sep="\t", index=False)
    with pytest.raises(ContractError, match=message):
        read_measured(path, "SynthSeg", samples, labels)


def test_a_volume_that_is_the_same_in_everybody_is_not_available_for_a_reason(run, tmp_path):
    """As of a tool that finds no lesion in anybody: there is no deviation to count a difference in."""
    samples, labels, measured = run
    path = tmp_path / "tool.tsv"
    write_tsv(path, samples, labels, measured.ml).assign(ventricles=0).to_csv(path, sep="\t", index=False)
    theirs = read_measured(path, "SynthSeg", samples, labels)
    found = correlate(measured, theirs, 0).set_index(["comparison", "volume"])
    assert np.isnan(found.loc[("real", "ventricles"), "value"])
    assert found.loc[("real", "ventricles"), "reason"] == "one tool gives all real volumes alike"
    table = compare_anatomy(theirs, samples, labels, SETTINGS)
    row = table.set_index(["arm", "comparison", "volume"]).loc[("Sex F (T1)", "gen-vs-real", "ventricles")]
    assert row["reason"] == "all of these people have one volume"
    assert ((table["reason"] != "") == table["value"].isna()).all()


def test_a_torn_table_is_one_sentence(run, tmp_path):
    (tmp_path / "tool.tsv").write_bytes(b"")
    with pytest.raises(ContractError, match="cannot be read as a TSV"):
        read_measured(tmp_path / "tool.tsv", "SynthSeg", *run[:2])
