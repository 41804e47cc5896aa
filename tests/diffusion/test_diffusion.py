"""The DiT: conditions, guidance identities, dropout rates, resume."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special, stats
from small_dit import GRID, SETTINGS, D

from braing3n.config import DiffusionSettings
from braing3n.core.errors import ContractError
from braing3n.core.runtime import digest_file
from braing3n.diffusion.conditions import build_vocabularies, drop_conditions, nullify, read_conditions
from braing3n.diffusion.model import DiT
from braing3n.diffusion.settings import SamplingSettings
from braing3n.diffusion.train import Latents, train_dit
from braing3n.nets.weights import load_model
from braing3n.training import write_weights


def train(folder, latents, settings=SETTINGS):
    source = folder / "inputs"
    source.write_text("")
    train_dit(latents, settings, folder / "runs", folder / "dit.safetensors", [source])
    return load_model(DiT, folder / "dit.safetensors")


def draw_inputs(model, n=4):
    generator = torch.Generator().manual_seed(1)
    codes = torch.tensor([[1, 0, 2, 1, 0]]).repeat(n, 1)
    x = torch.randn(n, 8, D, generator=generator)
    return x, torch.rand(n, generator=generator), codes, torch.full((n,), 60.0)


def test_vocabularies_and_codes(labels):
    labels = labels.assign(site=["b"] * 5 + ["a"] * 4 + ["", "c", ""])
    words = build_vocabularies(labels, SETTINGS)
    assert words.site == ("b", "a")
    table = pd.DataFrame(
        {
            "disease": ["AD", "", "ADHD"],
            "sex": ["F", "", "M"],
            "modality": ["T1", "FLAIR", "T1c"],
            "site": ["a", "c", ""],
            "idh1": ["mutant", "", "wildtype"],
            "age_years": [50.0, np.nan, 7.0],
        }
    )
    codes, age = words.encode(table)
    assert codes.tolist() == [[1, 0, 0, 1, 1], [3, 2, 3, 2, 2], [3, 1, 1, 2, 0]]
    assert (age[0], age.dtype) == (50, torch.float32)
    assert age.isnan().tolist() == [False, True, False]


def test_each_condition_has_its_own_null(model):
    x, t, codes, age = draw_inputs(model)
    full = model(x, t, codes, age)
    seen = [full]
    for column in range(5):
        changed = codes.clone()
        changed[:, column] = model.nulls[column]
        seen.append(model(x, t, changed, age))
    seen.append(model(x, t, codes, torch.full_like(age, torch.nan)))
    assert all(not torch.allclose(a, b) for i, a in enumerate(seen) for b in seen[:i])
    assert all(torch.isfinite(velocity).all() for velocity in seen)


def test_null_age_has_no_gradient_through_the_age(model):
    """A NaN age must not make the gradients of the age's layers NaN."""
    model.requires_grad_(True)
    x, t, codes, _ = draw_inputs(model)
    model(x, t, codes, torch.tensor([torch.nan, 30.0, torch.nan, 70.0])).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_nullify_keeps_modality_alone(model):
    _, _, codes, age = draw_inputs(model)
    null_codes, null_age = nullify(codes, age, model.nulls)
    assert null_codes[0].tolist() == [3, 2, 2, 2, 2]  # modality (third) stays T2
    assert null_age.isnan().all()


def test_guidance_is_the_joint_form(model):
    x, t, codes, age = draw_inputs(model)
    conditional = model(x, t, codes, age)
    unconditional = model(x, t, *nullify(codes, age, model.nulls))
    assert torch.allclose(model.guide(x, t, codes, age, 1.0), conditional, atol=1e-5)
    assert torch.allclose(model.guide(x, t, codes, age, 0.0), unconditional, atol=1e-5)
    expected = unconditional + 2.5 * (conditional - unconditional)
    assert torch.allclose(model.guide(x, t, codes, age, 2.5), expected, atol=1e-5)
    alone = nullify(codes, age, model.nulls)  # with nothing but the modality, guidance does nothing
    assert torch.allclose(model.guide(x, t, *alone, 3.0), model(x, t, *alone), atol=1e-5)


def draw_float64(model):
    x, t, codes, age = draw_inputs(model, 3)
    codes[1, [0, 3]] = model.nulls[[0, 3]]  # the second has neither disease nor site, the third no age
    age[2] = torch.nan
    return x.double(), t.double(), codes, age


def test_guidance_by_condition_adds_up_each_ones_own_difference(float64_model):
    """Against the formula, sample by sample, each branch evaluated on its own."""
    x, t, codes, age = draw_float64(float64_model)
    found = float64_model.guide(x, t, codes, age, 1.7, "per_condition")
    assert float64_model.calls == [3 * 6], "one batch: five conditions and none"
    disease, sex, modality, site, idh1 = range(5)
    for i in range(3):
        null = float64_model.nulls.clone()
        null[modality] = codes[i, modality]

        def velocity(code, years, i=i):
            return float64_model.forward(x[[i]], t[[i]], code[None], torch.tensor([years]))[0]

        start = velocity(null, torch.nan)
        expected = start.clone()
        for k in (disease, sex, site, idh1):
            alone = null.clone()
            alone[k] = codes[i, k]
            expected += 1.7 * (velocity(alone, torch.nan) - start)
        expected += 1.7 * (velocity(null, age[i].item()) - start)
        torch.testing.assert_close(found[i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("condition", [0, 1, 3, 4, "age"])
def test_both_forms_of_guidance_are_one_where_one_condition_is_set(float64_model, condition):
    x, t, codes, age = draw_inputs(float64_model)
    alone, years = nullify(codes, age, float64_model.nulls)
    if condition == "age":
        years = age
    else:
        alone[:, condition] = codes[:, condition]
    joint, by_condition = (
        float64_model.guide(x.double(), t.double(), alone, years, 3.0, form)
        for form in ("joint", "per_condition")
    )
    torch.testing.assert_close(by_condition, joint, rtol=1e-12, atol=1e-12)
    assert float64_model.calls == [8, 8], "nothing is evaluated for a condition that no sample has"


def test_where_nothing_is_set_both_forms_leave_the_velocity_as_it_is(float64_model):
    x, t, codes, age = draw_float64(float64_model)
    nothing = nullify(codes, age, float64_model.nulls)
    expected = float64_model.forward(x, t, *nothing)
    for form in ("joint", "per_condition"):
        torch.testing.assert_close(float64_model.guide(x, t, *nothing, 3.0, form), expected)


@pytest.mark.parametrize(("times", "shift"), [("uniform", 1), ("logit_normal", 1), ("uniform", 4)])
def test_times_follow_the_law_that_is_asked_for(tmp_path, latents, monkeypatch, times, shift):
    """What the training loop puts between noise and data, by the distribution that its times should have.

    A shift multiplies the odds of noise to data, so that their logit moves by its logarithm.
    """
    from braing3n.diffusion import train as loop

    given, seen = loop.compute_loss, []
    monkeypatch.setattr(
        loop, "compute_loss", lambda *parts, **named: seen.append(parts[3]) or given(*parts, **named)
    )
    options = SETTINGS.optimiser.model_copy(update={"n_epochs": 60, "validate_every_epochs": 60})
    changes = {"optimiser": options, "times": times, "time_shift": shift}
    train(tmp_path, latents, SETTINGS.model_copy(update=changes))
    logits = special.logit(torch.cat(seen[:-1]).double().numpy()) + np.log(shift)
    assert len(logits) > 300
    law = stats.norm() if times == "logit_normal" else stats.logistic()
    assert stats.kstest(logits, law.cdf).pvalue > 0.01
    assert loop.spread_times(torch.zeros(1), "logit_normal").item() == 0


def test_dropout_rates(model):
    n = 40_000
    codes, age = torch.zeros(n, 5, dtype=torch.int64), torch.full((n,), 50.0)
    noise = torch.rand(n, 6, generator=torch.Generator().manual_seed(0))
    dropped, dropped_age = drop_conditions(codes, age, model.nulls, noise, each=0.1, joint=0.2)
    is_null = torch.cat([dropped == model.nulls, dropped_age.isnan()[:, None]], dim=1).float()
    rates = is_null.mean(0)
    assert rates[2] == 0  # modality is never dropped
    expected = 1 - 0.9 * 0.8
    assert rates[[0, 1, 3, 4, 5]].tolist() == pytest.approx([expected] * 5, abs=0.01)
    all_at_once = (is_null.sum(1) == 5).float().mean().item()
    assert all_at_once == pytest.approx(0.2 + 0.8 * 0.1**5, abs=0.01)


def test_norms_are_those_of_the_official_code(model):
    """1e-6 under the root, as in DiT's code; inputs that hardly vary show it."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.LayerNorm)]
    assert len(norms) == 2 * SETTINGS.depth + 1
    x = 1e-3 * torch.randn(5, SETTINGS.width, dtype=torch.float64)
    expected = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    for norm in norms:
        torch.testing.assert_close(norm(x), expected)


def test_weights_of_before_a_setting_have_its_default(model, tmp_path):
    record = model.describe()
    for name in ("times", "sampling"):
        del record["settings"][name]
    del record["settings"]["optimiser"]["schedule"]
    write_weights(tmp_path / "old.safetensors", model.state_dict(), "DiT", record)
    loaded = load_model(DiT, tmp_path / "old.safetensors")
    assert loaded.settings == SETTINGS.model_copy(update={"sampling": SamplingSettings()})
    given = draw_inputs(model)
    assert torch.equal(loaded(*given), model(*given))


def test_blocks_start_at_zero_velocity(labels):
    net = DiT(SETTINGS, build_vocabularies(labels, SETTINGS), D, GRID)
    x, t, codes, age = draw_inputs(net)
    assert torch.count_nonzero(net(torch.zeros_like(x), t, codes, age)) == 0  # adaLN-Zero
    half = torch.full_like(t, 0.5)  # where noise and data of unit variance weigh the same
    assert torch.count_nonzero(net(x, half, codes, age)) == 0


def test_tokens_are_standardised_by_modality(tmp_path, latents):
    """Less the mean of n training volumes of the modality, over the deviation of one volume more from it."""
    tokens = latents.tokens + 5 * (latents.labels["modality"] == "T2").to_numpy()[:, None, None]
    tokens[latents.labels["modality"] == "T2"] *= 3
    latents = Latents(tokens, GRID, latents.labels)
    model = train(tmp_path, latents)
    codes, _ = model.vocabularies.encode(read_conditions(latents.labels))
    standard = model.standardise(torch.from_numpy(tokens), codes)
    squares = 0
    for name in ("T1", "T2"):
        rows = np.flatnonzero((latents.labels["split"] == "train") & (latents.labels["modality"] == name))
        own, n = standard[rows].double().numpy(), len(rows)
        assert own.mean(0) == pytest.approx(0, abs=1e-4)
        assert own.var(0, ddof=1).mean() == pytest.approx(n / (n + 1), rel=1e-3)
        squares += (own**2).sum(0)
    assert model.token_variance.numpy() == pytest.approx(squares / squares.mean(), rel=1e-3)
    np.testing.assert_allclose(model.restore(standard, codes).numpy(), tokens, rtol=1e-3, atol=1e-3)


def test_a_modality_without_training_volumes_has_the_statistics_of_all(tmp_path, latents):
    model = train(tmp_path, latents)
    seen = latents.tokens[latents.labels["split"] == "train"].astype(np.float64)
    for code in (1, 3):  # T1c, FLAIR
        assert model.token_mean[code].numpy() == pytest.approx(seen.mean(0), rel=1e-3)
        wanted = np.sqrt(seen.var(0, ddof=1).mean() * (1 + 1 / len(seen)))
        assert model.token_scale[code].item() == pytest.approx(wanted, rel=1e-4)


def test_paper_size(labels):
    with torch.device("meta"):
        net = DiT(DiffusionSettings(), build_vocabularies(labels, DiffusionSettings()), 32, (10, 12, 10))
    assert (len(net.blocks), net.n_tokens, net.settings.width) == (12, 1200, 1024)


def test_training_resumes_to_the_same_bits(tmp_path, latents):
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    train(tmp_path / "whole", latents)
    train(tmp_path / "resumed", latents)
    (run,) = (tmp_path / "resumed" / "runs").iterdir()
    (run / "weights.safetensors").unlink()
    sorted(run.glob("step-*"))[-1].unlink()  # as if killed between the last two checkpoints
    train(tmp_path / "resumed", latents)
    assert digest_file(tmp_path / "whole/dit.safetensors") == digest_file(
        tmp_path / "resumed/dit.safetensors"
    )


def test_weights_are_the_average(tmp_path, latents):
    """The exported weights are the EMA: they differ from the last step's."""
    from braing3n.training import read_weights

    average = train(tmp_path, latents)
    (run,) = (tmp_path / "runs").iterdir()
    state, _ = read_weights(sorted(run.glob("step-*"))[-1], "checkpoint")
    assert torch.equal(average.leave.weight, state["average.leave.weight"])
    assert not torch.equal(average.leave.weight, state["model.leave.weight"])


def test_rows_must_belong_together(labels):
    with pytest.raises(ContractError, match="do not belong"):
        Latents(np.zeros((3, 8, D), np.float16), GRID, labels)


def test_conditions_of_labels(labels):
    table = read_conditions(labels.drop(columns="idh1"))
    assert list(table["disease"][:2]) == ["HC", "AD"]
    assert (table["idh1"] == "").all()
