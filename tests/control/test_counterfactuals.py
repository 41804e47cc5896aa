"""The axioms tell known editors apart: a perfect one, one that does nothing, and one that adds noise."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from invented_people import EFFECTS, SIZE, make_features, make_labels, make_real

from braing3n.config import TokenizerSettings
from braing3n.control import counterfactuals
from braing3n.control.contracts import COUNTERFACTUALS
from braing3n.control.counterfactuals import (
    CHANGES,
    NONE,
    Changed,
    change_people,
    choose_people,
    draw_counterfactuals,
    find_region,
    list_changed,
    list_new,
    measure_axioms,
    read_changed,
)
from braing3n.control.settings import CounterfactualSettings
from braing3n.core.contracts import check_table
from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.model import DiT
from braing3n.tokenizer.model import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "diffusion"))
from small_dit import GRID, SETTINGS, D

LABELS = make_labels()
FEATURES = make_features(LABELS)
TOKENS = FEATURES.reshape(-1, 10, 4)  # 10 tokens of 4 numbers; "decoded" they are images, "encoded" features
REAL = make_real(LABELS)
OPTIONS = CounterfactualSettings(n_people=40, top_share=0.3)
AGE, SEX, TO_AD = CHANGES[:3]


def flatten(tokens):
    return tokens.reshape(len(tokens), -1)


def edit(change, kind):
    """People of a change, by an editor: `perfect`, `idle` or `noisy` (noise and no effect)."""
    rows = choose_people(change, REAL, OPTIONS.n_people)
    own = REAL.conditions.iloc[rows]
    new = list_new(change, own, OPTIONS)
    before = TOKENS[rows]
    moves = {
        "age": (new["age_years"] - own["age_years"]).to_numpy() / 15,
        "sex": np.where(own["sex"] == "M", 1.0, -1.0),
        "HC to AD": np.ones(len(rows)),
    }[change.name]
    effect = EFFECTS[{"age": "age", "sex": "sex", "HC to AD": "dx"}[change.name]]
    after = before + SIZE * moves[:, None, None] * effect.reshape(10, 4) * (kind == "perfect")
    if kind == "noisy":
        after = before + np.random.default_rng(0).normal(size=before.shape)
    return Changed(change, rows, new, before, after, before if kind == "perfect" else after)


def measure(*changed):
    found = measure_axioms(
        list(changed), TOKENS, FEATURES, REAL, OPTIONS, lambda part: part[:, None], flatten
    )
    found = check_table(found, COUNTERFACTUALS, "test")
    return found.assign(quantity=found["quantity"].str.split(" ").str[0]).set_index(
        ["change", "axiom", "quantity"]
    )


@pytest.mark.parametrize("change", [AGE, SEX, TO_AD])
def test_a_perfect_editor_meets_the_axioms(change):
    found = measure(edit(change, "perfect")).loc[change.name]
    effect = found.loc["effectiveness"].iloc[0]
    assert effect["value"] > 0.7
    assert effect["no_change"] < 0.4
    assert found.loc[("reversibility", "mean"), "value"] == 0
    outside = found.loc[("minimality", "share")]
    assert outside["value"] < outside["no_change"]
    assert outside["no_change"] == pytest.approx(0.7)
    assert found.loc["realism"].iloc[0]["value"] == pytest.approx(1, abs=0.25)
    assert effect["n_people"] == effect["n_volumes"] == 40


def test_one_that_does_nothing_has_no_effect_and_no_change():
    found = measure(edit(AGE, "idle"), edit(SEX, "idle"))
    assert found.loc[("age", "effectiveness", "change"), "value"] == 0
    row = found.loc[("sex", "effectiveness", "share")]
    assert row["value"] == row["no_change"] < 0.4
    assert found.loc[("sex", "minimality", "mean"), "value"] == 0
    row = found.loc[("sex", "realism", "distance")]
    assert row["value"] == pytest.approx(row["no_change"])


def test_one_that_adds_noise_is_found_out():
    perfect, noisy = (measure(edit(SEX, kind)).loc["sex"] for kind in ("perfect", "noisy"))
    assert noisy.loc[("reversibility", "mean"), "value"] > 0.5
    assert noisy.loc[("minimality", "mean"), "value"] > 2 * perfect.loc[("minimality", "mean"), "value"]
    share = noisy.loc[("minimality", "share")]
    assert share["low"] < share["no_change"] < share["high"]  # as chance has it
    assert noisy.loc[("realism", "distance"), "low"] > 2


def test_distances_of_realism_are_those_of_brute_force():
    changed = edit(TO_AD, "perfect")
    is_t1, is_train = LABELS["modality"] == "T1", LABELS["split"] == "train"
    pool, held = FEATURES[is_t1 & is_train], FEATURES[is_t1 & ~is_train]
    nearest = [
        np.mean([np.sqrt(((one - pool) ** 2).sum(1)).min() for one in part])
        for part in (flatten(changed.after), held)
    ]
    row = measure(changed).loc[("HC to AD", "realism", "distance")]
    assert row["value"] == pytest.approx(nearest[0] / nearest[1], rel=0.1)  # held-out people are drawn
    assert measure(edit(TO_AD, "idle")).loc[("HC to AD", "realism", "distance"), "value"] != row["value"]


def test_a_person_is_no_neighbour_of_their_own():
    """A scan in the training split of whoever is changed does not make the change look near."""
    changed = edit(SEX, "idle")
    copies = LABELS.iloc[changed.rows].assign(split="train")
    labels = pd.concat([LABELS, copies], ignore_index=True)
    tokens = np.concatenate([TOKENS, TOKENS[changed.rows]])
    given = tokens, flatten(tokens), make_real(labels), OPTIONS, lambda part: part[:, None], flatten
    found = measure_axioms([changed], *given)
    assert found.loc[found["axiom"] == "realism", "value"].item() == pytest.approx(1, abs=0.25)


def test_people_are_held_out_drawn_by_the_seed_and_of_one_volume_each():
    doubled = LABELS.assign(person_id=[f"p{k // 2}" for k in range(len(LABELS))])
    real = make_real(doubled)
    rows = choose_people(SEX, real, 30)
    assert doubled["person_id"].iloc[rows].is_unique
    assert (doubled["split"].iloc[rows] == "test").all()
    assert (doubled["modality"].iloc[rows] == "T1").all()
    assert rows.tolist() == choose_people(SEX, real, 40)[:30].tolist()
    assert rows.tolist() != choose_people(SEX, make_real(doubled, seed=1), 30).tolist()
    assert set(doubled["dx"].iloc[choose_people(TO_AD, real, 30)]) == {"HC"}


def test_ages_move_towards_the_middle_and_past_it():
    own = REAL.conditions.assign(age_years=[30.0, 80.0] * (len(LABELS) // 2))
    assert list_new(AGE, own, OPTIONS)["age_years"].head(2).tolist() == [50, 60]


def test_the_region_is_where_class_means_differ_most():
    tokens = np.zeros((len(LABELS), 10, 4))
    tokens[(LABELS["sex"] == "F").to_numpy(), 2] = 1
    tokens[(LABELS["sex"] == "F").to_numpy(), 7] = 2
    assert np.flatnonzero(find_region(SEX, tokens, REAL, 0.2)).tolist() == [2, 7]
    one = make_real(LABELS.assign(sex="F"))
    assert find_region(SEX, tokens, one, 0.2) is None


def test_a_change_that_nobody_can_have_says_why():
    real = make_real(LABELS.assign(split="train"))
    changed = [
        Changed(change, rows, new, *[TOKENS[rows]] * 3) for change, rows, new in list_changed(real, OPTIONS)
    ]
    found = measure_axioms(changed, TOKENS, FEATURES, real, OPTIONS, lambda part: part[:, None], flatten)
    assert len(found) == 7
    assert found["reason"].str.contains("no held-out T1").any()
    assert found["value"].isna().all()
    check_table(found, COUNTERFACTUALS, "test")


def test_the_dit_changes_people_and_changes_them_back_and_a_stopped_job_resumes(tmp_path, monkeypatch):
    """Through the real editor: own conditions give the tokens back, and so does the way back."""
    torch.manual_seed(0)
    settings = SETTINGS.model_copy(update={"diseases": ("HC", "AD")})
    net = DiT(settings, build_vocabularies(LABELS, settings), D, GRID)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    tokens = np.random.default_rng(0).normal(size=(len(LABELS), 8, D)).astype(np.float16)
    options = CounterfactualSettings(n_people=3, n_steps=8, batch_size=2, changes=("age", "T1 to T2"))
    given = net.requires_grad_(False), tokens, REAL, options, settings.sampling
    calls, change = [], counterfactuals.change_conditions

    def change_until_stopped(*words):
        calls.append(len(words[1]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return change(*words)

    monkeypatch.setattr(counterfactuals, "change_conditions", change_until_stopped)
    with pytest.raises(KeyboardInterrupt):
        change_people(*given, tmp_path / "changed.npz", ["weights"])
    assert calls[:2] == [2, 1], "two batches without a change, and the first half of a third"
    change_people(*given, tmp_path / "changed.npz", ["weights"])
    assert len(calls) == 4 + 8, "the third again, there and back, and three more"
    change_people(*given, tmp_path / "again.npz", ["weights"])
    with np.load(tmp_path / "changed.npz") as found, np.load(tmp_path / "again.npz") as whole:
        assert all(np.array_equal(found[name], whole[name]) for name in ("after", "back"))
    none, age, t2 = found = read_changed(tmp_path / "changed.npz", tokens, REAL, options)
    assert [one.change.name for one in found] == [NONE, "age", "T1 to T2"]
    for one in found:
        np.testing.assert_array_equal(one.before, tokens[one.rows].astype(np.float32))
        np.testing.assert_allclose(one.back, one.before, atol=2e-3)
    np.testing.assert_allclose(none.after, none.before, atol=2e-3)
    assert np.abs(age.after - age.before).mean() > 1e-2
    assert (t2.new["modality"] == "T2").all()
    tokenizer = Tokenizer(TokenizerSettings(d=D, widths=(8, 4), n_blocks=1), 12, 4, GRID).eval()

    @torch.no_grad()
    def decode(part):
        return tokenizer.decode(torch.from_numpy(part))[:, 0].numpy()

    draw_counterfactuals(found, decode, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_every_change_names_values_that_its_probe_knows():
    for change in CHANGES:
        assert set(change.values) | set(change.values.values()) <= set(change.contrast.classes)
    assert {change.name for change in CHANGES} == set(CounterfactualSettings().changes)
