"""Samples: their arms, their starts, what is absent, the picture."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_dit import GRID, SETTINGS, D

from braing3n.config import DiffusionSettings
from braing3n.core.contracts import read_table
from braing3n.diffusion import sample as sampling
from braing3n.diffusion.conditions import build_vocabularies
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.model import DiT


def test_samples_follow_the_configured_form(float64_model, monkeypatch):
    seen = []
    guide = type(float64_model).guide
    monkeypatch.setattr(type(float64_model), "guide", lambda *given: seen.append(given[-2:]) or guide(*given))
    settings = SETTINGS.sampling.model_copy(update={"guidance": 1.5, "guidance_form": "per_condition"})
    table = sampling.list_samples([sampling.ARMS[-1]], 1)
    sampling.sample_tokens(float64_model, table, settings, torch.device("cpu"))
    assert seen == [(1.5, "per_condition")] * SETTINGS.sampling.n_steps


@pytest.mark.parametrize("solver", ["euler", "adams_bashforth"])
def test_samples_take_the_steps_of_the_configured_solver(float64_model, solver):
    settings = SETTINGS.sampling.model_copy(update={"solver": solver, "n_steps": 5, "precision": "float32"})
    table = sampling.list_samples([sampling.ARMS[0]], 2)
    found = sampling.sample_tokens(float64_model, table, settings, torch.device("cpu"))
    codes, age_years = float64_model.vocabularies.encode(table)
    x = torch.stack([sampling.draw_start(name, settings.seed, float64_model) for name in table["sample_id"]])
    times = sampling.plan_times(float64_model, 5)
    steps = np.diff(times)
    before = None
    for k, step in enumerate(steps):
        v = float64_model.guide(x, torch.full((2,), times[k]), codes, age_years, settings.guidance)
        more = 0 if before is None or solver == "euler" else 0.5 * step / steps[k - 1]
        x = x + step * ((1 + more) * v - (more * before if more else 0))
        before = v
    torch.testing.assert_close(found.double(), float64_model.restore(x, codes).double(), rtol=0, atol=1e-3)


def test_arms_without_training_volumes_are_named(model, labels):
    arms, absent = sampling.choose_arms(model, labels)
    names = {arm.arm for arm in arms}
    assert len(sampling.ARMS) == 13
    assert {"disease-HC", "disease-AD", "sex-F", "modality-T2", "age-70"} <= names
    assert "no training volume has modality FLAIR" in absent["modality-FLAIR"].replace("  ", " ")
    assert "GBM" in absent["idh1-mutant"]
    assert names | set(absent) == {arm.arm for arm in sampling.ARMS}
    _, absent = sampling.choose_arms(model, labels.assign(age_years=np.nan))
    assert "known age" in absent["age-30"]
    only_test = labels.assign(split="test")
    assert sampling.choose_arms(model, only_test)[0] == []


def test_an_arm_needs_a_training_volume_that_has_all_that_it_names_at_once(model, labels):
    """People with AD of whom there is a T2 alone are no T1 with AD; one unknown age is not every age."""
    labels["dx"] = np.where(labels["modality"] == "T2", "AD", "HC")
    labels.loc[0, "age_years"] = np.nan
    arms, absent = sampling.choose_arms(model, labels)
    assert absent["disease-AD"] == "no training volume has disease AD, modality T1"
    assert {"disease-HC", "modality-T2", "age-30"} <= {arm.arm for arm in arms}


def test_the_arms_of_control_stand_beside_those_of_table_8(model, labels):
    names = [arm.arm for arm in (*sampling.ARMS, *sampling.CONTROL_ARMS)]
    assert len(set(names)) == len(names) == 19
    asked = {arm.disease for arm in (*sampling.ARMS, *sampling.CONTROL_ARMS)} - {""}
    assert asked <= set(DiffusionSettings().diseases)
    arms, absent = sampling.choose_arms(model, labels, sampling.CONTROL_ARMS)
    nulls = {arm.arm: arm for arm in sampling.CONTROL_ARMS if arm.arm.startswith("null-")}
    assert (nulls["null-idh1"].idh1, nulls["null-idh1"].disease) == ("", "GBM")
    assert {"null-disease", "null-sex", "null-age"} <= {arm.arm for arm in arms}
    assert set(absent) == {"disease-MCI", "disease-PD", "null-idh1"}
    nulls = sampling.list_samples(arms, 1)
    codes, age_years = model.vocabularies.encode(nulls[nulls["arm"].str.startswith("null-")])
    assert (codes[:, [0, 1, 3, 4]] == model.nulls[[0, 1, 3, 4]]).all()
    assert age_years.isnan().all()


def test_a_table_may_have_a_scale_for_each_sample(model, labels):
    table = sampling.list_samples([sampling.ARMS[2]], 2)
    settings, cpu = SETTINGS.sampling.model_copy(update={"precision": "float32"}), torch.device("cpu")
    both = sampling.sample_tokens(model, table.assign(guidance=[1.0, 3.0]), settings, cpu)
    for i, scale in enumerate((1.0, 3.0)):
        alone = settings.model_copy(update={"guidance": scale})
        torch.testing.assert_close(both[i], sampling.sample_tokens(model, table, alone, cpu)[i])
    assert not torch.allclose(both[0], sampling.sample_tokens(model, table, settings, cpu)[0], atol=1e-3)


def test_samples_are_a_function_of_seed_arm_and_index(model, labels):
    arms, _ = sampling.choose_arms(model, labels)
    settings = SETTINGS.sampling.model_copy(update={"precision": "float32"})
    table = sampling.list_samples(arms[:2], 3)
    tokens = sampling.sample_tokens(model, table, settings, torch.device("cpu")).numpy()
    alone = sampling.sample_tokens(model, table.iloc[[4]], settings, torch.device("cpu")).numpy()
    assert tokens.shape == (6, 8, D)
    assert np.allclose(tokens[4], alone[0], atol=1e-4)
    assert not np.allclose(tokens[3], tokens[4], atol=1e-2)
    half = sampling.sample_tokens(
        model, table, settings.model_copy(update={"precision": "bfloat16"}), torch.device("cpu")
    )
    assert 1e-4 < np.abs(half.numpy() - tokens).mean() / tokens.std() < 3e-2  # rounded, as asked for


def die_at(n, monkeypatch):
    """Let the n-th start of a sample be a kill; returns the names of the starts that were drawn."""
    done, draw = [], sampling.draw_start

    def draw_or_die(name, *rest):
        done.append(name)
        if len(done) == n:
            raise KeyboardInterrupt
        return draw(name, *rest)

    monkeypatch.setattr(sampling, "draw_start", draw_or_die)
    return done


def test_a_killed_job_goes_on_after_its_last_batch_and_ends_with_the_same_bytes(
    model, labels, tmp_path, monkeypatch
):
    table = sampling.list_samples(sampling.choose_arms(model, labels)[0][:3], 3)
    settings, cpu = SETTINGS.sampling.model_copy(update={"batch_size": 2}), torch.device("cpu")
    (tmp_path / "w").write_text("weights")
    given = [tmp_path / "w"]
    whole = sampling.write_samples(model, table, settings, cpu, tmp_path / "whole.npz", given)
    done = die_at(6, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sampling.write_samples(model, table, settings, cpu, tmp_path / "killed.npz", given)
    assert not (tmp_path / "killed.npz").exists()
    sampling.write_samples(model, table, settings, cpu, tmp_path / "killed.npz", given)
    assert done[6:] == table["sample_id"].tolist()[4:], "two batches of two were done"
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.npz", "w", "whole.npz"]
    assert whole.shape == (9, 8, D)
    nothing = sampling.write_samples(model, table[:0], settings, cpu, tmp_path / "none.npz", given)
    assert nothing.shape == (0, 8, D)


@pytest.mark.parametrize("changed", ["settings", "scales", "weights"])
def test_what_a_killed_job_left_is_not_taken_for_other_samples(model, labels, tmp_path, monkeypatch, changed):
    options = {"batch_size": 1, "precision": "float32"}
    settings, cpu = SETTINGS.sampling.model_copy(update=options), torch.device("cpu")
    table = sampling.list_samples([sampling.ARMS[2]], 2).assign(guidance=1.0)
    weights = tmp_path / "w"
    weights.write_text("weights")
    die_at(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sampling.write_samples(model, table, settings, cpu, tmp_path / "s.npz", [weights])
    if changed == "settings":
        settings = settings.model_copy(update={"seed": settings.seed + 1})
    elif changed == "scales":
        table["guidance"] = 3.0
    else:
        weights.write_text("other weights")
        model.token_mean += 1
    found = sampling.write_samples(model, table, settings, cpu, tmp_path / "s.npz", [weights])
    expected = sampling.sample_tokens(model, table, settings, cpu).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())


def test_written_samples_say_what_is_absent(model, labels, tmp_path):
    arms, absent = sampling.choose_arms(model, labels)
    table = sampling.list_samples(arms, 2)
    sampling.write_table_of_samples(table, absent, tmp_path / "samples.parquet")
    written = read_table(tmp_path / "samples.parquet", SAMPLES)
    assert list(written["sample_id"]) == list(table["sample_id"])
    assert json.loads((tmp_path / "samples_absent.json").read_text()) == absent


def test_picture_of_samples(model, labels, tmp_path):
    from braing3n.config import TokenizerSettings
    from braing3n.tokenizer.model import Tokenizer

    tokenizer = Tokenizer(TokenizerSettings(d=D, widths=(8, 4), n_blocks=1), 12, 4, GRID)
    for arms in (sampling.ARMS[:2], []):  # no arm at all is an empty picture
        table = sampling.list_samples(list(arms), 2)
        tokens = np.zeros((len(table), 8, D), np.float32)
        sampling.draw_samples(tokenizer, tokens, table, tmp_path / "p.png", torch.device("cpu"))
        assert (tmp_path / "p.png").stat().st_size > 500


def test_the_picture_shows_the_first_two_samples_of_each_arm(tmp_path, monkeypatch):
    from braing3n.training import picture

    drawn = {}

    def draw(volumes, path, **_):
        drawn.update(volumes)
        path.touch()

    monkeypatch.setattr(picture, "draw_volumes", draw)
    decoder = SimpleNamespace(decode=lambda tokens: tokens[:, None])
    table = sampling.list_samples([sampling.Arm("a", "T1"), sampling.Arm("b", "T2")], 3)
    tokens = np.random.default_rng(0).normal(size=(6, 8, D)).astype(np.float32)
    sampling.draw_samples(decoder, tokens, table, tmp_path / "p.png", torch.device("cpu"))
    assert list(drawn) == ["a-0000", "a-0001", "b-0000", "b-0001"]
    for row, volume in zip((0, 1, 3, 4), drawn.values(), strict=True):
        np.testing.assert_array_equal(volume, tokens[row])


def test_planes_of_a_t1c_go_through_its_ring(model, tmp_path, monkeypatch):
    """A tumour away from the middle is in the picture, and a T1 is cut in the middle."""
    from braing3n.training import picture

    ring = np.zeros((12, 14, 10), np.float32)
    ring[8:11, 2:5, 6:9] = 3
    ring[9, 3, 7] = 0  # necrosis
    decoder = SimpleNamespace(decode=lambda tokens: torch.from_numpy(ring)[None, None])
    drawn = []
    cut = picture.cut_planes
    monkeypatch.setattr(picture, "cut_planes", lambda *given: drawn.append(cut(*given)) or drawn[-1])
    table = sampling.list_samples([sampling.Arm("a", "T1c"), sampling.Arm("b", "T1")], 1)
    sampling.draw_samples(
        decoder, np.zeros((2, 8, D), np.float32), table, tmp_path / "p.png", torch.device("cpu")
    )
    (t1c, t1), (axial, coronal, sagittal) = drawn, cut(ring)
    assert [plane.max() for plane in t1c] == [3, 3, 3]
    assert [plane.max() for plane in t1] == [0, 0, 0]
    assert [plane.shape for plane in t1c] == [axial.shape, coronal.shape, sagittal.shape]


def test_untrained_samples_have_the_training_splits_mean_and_variance(labels):
    """Before its blocks learn, the flow carries noise to independent normal numbers of its modality."""
    net = DiT(SETTINGS, build_vocabularies(labels, SETTINGS), D, GRID)
    net.token_variance.copy_(torch.linspace(0.2, 3, 8 * D).reshape(8, D))
    net.token_mean[2], net.token_scale[2] = 10.0, 2.0  # T2
    table = sampling.list_samples([sampling.Arm("modality-T2", "T2")], 2)
    settings = SETTINGS.sampling.model_copy(update={"n_steps": 400})
    tokens = sampling.sample_tokens(net, table, settings, torch.device("cpu"))
    noise = sampling.draw_start("modality-T2-0001", settings.seed, net)
    expected = noise * net.token_variance.sqrt() * 2 + 10
    assert np.allclose(tokens[1], expected.numpy(), atol=5e-2)
