"""The bridge: its start, guidance, interpolant, what it learns, and its forecasts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from braing3n.config import LongitudinalSettings, OptimiserSettings
from braing3n.core.errors import CheckpointError
from braing3n.longitudinal import forecast, train
from braing3n.longitudinal.forecast import forecast_tokens
from braing3n.longitudinal.model import Bridge, Conditions, drop_conditions
from braing3n.longitudinal.train import Ends, draw_noise, interpolate, train_bridge
from braing3n.nets.weights import load_model, write_weights

pytestmark = pytest.mark.usefixtures("one_thread")
GRID, D = (2, 2, 2), 3
SETTINGS = LongitudinalSettings(
    depth=1,
    width=24,
    n_heads=2,
    optimiser=OptimiserSettings(
        lr=3e-3, batch_size=32, n_epochs=150, n_warmup_epochs=2, precision="float32", gradient_clip=1.0
    ),
    ema_decay=0.99,
)
OPTIONS = SETTINGS.forecast.model_copy(update={"precision": "float32", "n_steps": 20})


def make_table(n):
    rng = np.random.default_rng(0)
    columns = {"disease": rng.choice(["HC", "MCI", "AD"], n), "sex": rng.choice(["F", "M", ""], n)}
    columns |= {"age_years": rng.uniform(55, 90, n), "cdr": rng.choice([0, 0.5, np.nan], n)}
    return pd.DataFrame(columns | {"years": rng.uniform(0.5, 6, n)})


@pytest.fixture
def bridge():
    """A bridge whose zero-initialised layers are made random, so that conditions matter."""
    torch.manual_seed(0)
    net = Bridge(SETTINGS, D, GRID)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.requires_grad_(False)


def test_it_starts_as_no_change():
    net, tokens = Bridge(SETTINGS, D, GRID), torch.randn(3, 8, D)
    assert torch.allclose(forecast_tokens(net, tokens, make_table(3), OPTIONS), tokens, atol=1e-6)


def test_weights_whose_years_count_in_other_units_are_refused(bridge, tmp_path):
    path = tmp_path / "bridge.safetensors"
    record = bridge.describe()
    write_weights(path, bridge.state_dict(), "Bridge", record)
    assert load_model(Bridge, path).describe() == record
    record["units"] = record["units"] | {"years": 0.5}
    write_weights(path, bridge.state_dict(), "Bridge", record)
    with pytest.raises(CheckpointError, match=r"its scalars count in .*0\.5"):
        load_model(Bridge, path)
    del record["units"]
    write_weights(path, bridge.state_dict(), "Bridge", record)
    with pytest.raises(CheckpointError, match="lacks 'units'"):
        load_model(Bridge, path)


def test_guidance_of_one_is_the_conditional_and_of_zero_knows_disease_and_years_alone(bridge):
    x, t, table = torch.randn(4, 8, D), torch.rand(4), make_table(4)
    given = bridge.encode(table)
    torch.testing.assert_close(bridge.guide(x, t, given, 1.0), bridge(x, t, *given))
    others = table.assign(sex="M", age_years=33.0, cdr=2.0)
    null = bridge.guide(x, t, given, 0.0)
    torch.testing.assert_close(bridge.guide(x, t, bridge.encode(others), 0.0), null)
    for change in ({"years": 9.0}, {"disease": "AD"}):
        other = bridge.guide(x, t, bridge.encode(table.assign(**change)), 0.0)
        assert not torch.allclose(other, null, atol=1e-3)
    torch.testing.assert_close(bridge.guide(x, t, given, 3.0), null + 3 * (bridge(x, t, *given) - null))


def test_disease_and_years_are_never_dropped_and_the_rest_at_its_rates():
    n = 20_000
    given = Conditions(
        torch.zeros(n, 2, dtype=torch.int64), torch.full((n,), 60.0), torch.zeros(n), torch.ones(n)
    )
    dropped = drop_conditions(given, torch.tensor([3, 2]), torch.rand(n, 4), 0.2, 0.1)
    assert torch.equal(dropped.codes[:, 0], given.codes[:, 0])
    assert torch.equal(dropped.years, given.years)
    gone = torch.stack([dropped.codes[:, 1] == 2, dropped.age_years.isnan(), dropped.cdr.isnan()]).double()
    assert gone.mean(1).tolist() == pytest.approx([1 - 0.8 * 0.9] * 3, abs=0.015)
    assert gone.prod(0).mean().item() == pytest.approx(0.1 + 0.9 * 0.2**3, abs=0.01)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.7, 1.0])
def test_the_interpolants_mean_and_deviation(t):
    n = 40_000
    settings = SETTINGS.model_copy(update={"noise": 0.3})
    earlier, later = torch.full((n, 1, 1), 2.0), torch.full((n, 1, 1), -1.0)
    x, change = interpolate(earlier, later, torch.randn(n, 1, 1), torch.full((n,), t), settings)
    assert x.mean().item() == pytest.approx((1 - t) * 2 - t, abs=0.01)
    assert x.std().item() == pytest.approx(0.3 * np.sqrt(t * (1 - t)), abs=0.01)
    assert torch.all(change == -3.0)


def test_the_other_target_is_the_derivative_of_the_path():
    settings = SETTINGS.model_copy(update={"target": "velocity"})
    ends = [torch.randn(5, 8, D, dtype=torch.float64) for _ in range(3)]
    t, h = torch.linspace(0.1, 0.9, 5, dtype=torch.float64), 1e-6
    (above, _), (below, _) = (interpolate(*ends, t + step, settings) for step in (h, -h))
    torch.testing.assert_close(
        interpolate(*ends, t, settings)[1], (above - below) / (2 * h), rtol=1e-6, atol=1e-6
    )


def test_a_condition_is_coded_as_it_is_or_as_null(bridge):
    rows = [("HC", "F", 50.0, 0.5, 2.0), ("AD", "M", np.nan, np.nan, 3.0), ("MCI", "", 70.0, 1.0, 4.0)]
    found = bridge.encode(pd.DataFrame(rows, columns=["disease", "sex", "age_years", "cdr", "years"]))
    assert found.codes.tolist() == [[0, 0], [2, 1], [1, 2]]
    assert bridge.nulls[1] == 2, "an unknown sex"
    np.testing.assert_array_equal(found.age_years, [50, np.nan, 70])
    np.testing.assert_array_equal(found.cdr, [0.5, np.nan, 1])
    assert found.years.tolist() == [2, 3, 4]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_forecast_is_eulers_steps_along_the_guided_velocity(bridge, guidance):
    """Two plain evaluations a step, written anew, in tokens of another mean and scale; the same each time."""
    bridge.token_mean.fill_(3.0)
    bridge.token_scale.fill_(2.0)
    table, tokens = make_table(4), torch.randn(4, 8, D, generator=torch.Generator().manual_seed(0))
    options = OPTIONS.model_copy(update={"guidance": guidance, "n_steps": 7})
    given = bridge.encode(table)
    nothing = torch.full((4,), torch.nan)
    codes = torch.stack([given.codes[:, 0], torch.full((4,), 2)], dim=1)
    null = Conditions(codes, nothing, nothing, given.years)
    x = (tokens - 3) / 2
    for step in range(7):
        t = torch.full((4,), step / 7)
        x = x + (guidance * bridge(x, t, *given) + (1 - guidance) * bridge(x, t, *null)) / 7
    found = forecast_tokens(bridge, tokens, table, options)
    torch.testing.assert_close(found, 2 * x + 3, rtol=1e-4, atol=1e-4)
    assert torch.equal(found, forecast_tokens(bridge, tokens, table, options))


def make_ends(years_seen):
    """People whose tokens move by a fixed pattern a year; the bridge is given `years_seen(years)`."""
    rng = np.random.default_rng(1)
    table = make_table(400).assign(split=np.repeat(["train", "validation"], [360, 40]))
    pattern = rng.normal(size=(8, D))
    start = rng.normal(0, 3, (400, 8, D))
    end = start + 0.1 * table["years"].to_numpy()[:, None, None] * pattern
    table["volume_id"] = [f"v{i}" for i in range(400)]
    table["later_volume_id"] = [f"w{i}" for i in range(400)]
    table["years"] = years_seen(table["years"].to_numpy(), rng)
    volume_ids = pd.concat([table["volume_id"], table["later_volume_id"]], ignore_index=True)
    return Ends(np.concatenate([start, end]).astype(np.float32), GRID, table, volume_ids), start, pattern


def train_shortly(folder, ends, **changes):
    """The trained bridge's weights, of two epochs."""
    folder.mkdir()
    (folder / "list").write_text("")
    options = SETTINGS.optimiser.model_copy(update={"n_epochs": 2, "n_warmup_epochs": 0})
    settings = SETTINGS.model_copy(update={"optimiser": options, **changes})
    train_bridge(ends, settings, folder / "runs", folder / "b.safetensors", [folder / "list"])
    return load_model(Bridge, folder / "b.safetensors"), settings


def test_the_statistics_are_of_the_training_pairs_alone(tmp_path):
    ends, *_ = make_ends(lambda years, _: years)
    tokens = ends.tokens.clone()
    is_held_out = ends.pairs["split"] != "train"
    for side in (ends.earlier, ends.later):
        ends.tokens[side[torch.from_numpy(is_held_out.to_numpy())]] *= 100
    bridge, _ = train_shortly(tmp_path / "run", ends)
    earlier, later = (tokens[side[:360]].double().numpy() for side in (ends.earlier, ends.later))
    both = np.concatenate([earlier, later])
    mean = both.mean(axis=0)
    scale = np.sqrt(((both - mean) ** 2).mean())
    assert scale > 2, "not the unit in which it would not show"
    np.testing.assert_allclose(bridge.token_mean, mean, atol=1e-4)
    assert bridge.token_scale.item() == pytest.approx(scale, rel=1e-5)
    change = np.sqrt(((later - earlier) ** 2).mean()) / scale
    assert bridge.change_scale.item() == pytest.approx(change, rel=1e-5)


def test_the_last_validation_loss_is_that_of_the_weights_that_are_written(tmp_path):
    """Of the averaged ones: at a high rate, the others have another."""
    ends, *_ = make_ends(lambda years, _: years)
    bridge, settings = train_shortly(tmp_path / "run", ends)
    log = pd.read_csv(next((tmp_path / "run" / "runs").rglob("loss.csv")))
    rows = np.flatnonzero(ends.pairs["split"] == "validation")
    losses = []
    for row in rows:
        noise, t, _ = draw_noise(1, bridge, settings.seed, "validation", int(row))
        earlier, later = (bridge.standardise(end) for end in ends.take([row]))
        x, change = interpolate(earlier, later, noise, t, settings)
        given = bridge.encode(ends.pairs.iloc[[row]])
        with torch.no_grad():
            losses.append(((bridge(x, t, *given) - change) / bridge.change_scale).square().mean().item())
    assert log["validation_loss"].dropna().iloc[-1] == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_seed_reaches_weights_order_and_noise(tmp_path, monkeypatch):
    ends, *_ = make_ends(lambda years, _: years)
    keys, draw = [], train.draw_noise
    monkeypatch.setattr(train, "draw_noise", lambda n, net, *key: keys.append(key) or draw(n, net, *key))
    train_shortly(tmp_path / "run", ends, seed=77)
    assert {key[:2] for key in keys} == {(77, "bridge"), (77, "validation")}
    assert [key[2] for key in keys if key[1] == "bridge"] == sorted(
        {key[2] for key in keys if key[1] == "bridge"}
    )


def read_slope(folder, years_seen):
    """The slope of the forecast change along the planted pattern against the years asked for; truth is .1."""
    ends, start, pattern = make_ends(years_seen)
    (folder / "list").write_text("")
    train_bridge(ends, SETTINGS, folder / "runs", folder / "b.safetensors", [folder / "list"])
    bridge = load_model(Bridge, folder / "b.safetensors")
    held_out = torch.from_numpy(start[360:]).float()
    table = ends.pairs.iloc[360:].assign(years=np.tile([1.0, 2.0, 3.0, 5.0], 10))
    moved = forecast_tokens(bridge, held_out, table, OPTIONS.model_copy(update={"guidance": 1.0})) - held_out
    along = (moved.numpy() * pattern).sum((1, 2)) / (pattern**2).sum()
    return stats.linregress(table["years"], along).slope


@pytest.mark.slow
def test_it_learns_the_change_a_year_and_shuffled_years_leave_nothing(tmp_path):
    (tmp_path / "true").mkdir()
    (tmp_path / "shuffled").mkdir()
    assert read_slope(tmp_path / "true", lambda years, _: years) == pytest.approx(0.1, abs=0.02)
    assert abs(read_slope(tmp_path / "shuffled", lambda years, rng: rng.permutation(years))) < 0.02


@pytest.fixture
def killed(bridge, tmp_path, monkeypatch):
    """A forecast in batches of two that died in its third, its inputs, and the batches that were begun."""
    table = make_table(7).assign(
        forecast_id=[f"f{i}" for i in range(7)], volume_id=[f"v{i}" for i in range(7)], person_id="p"
    )
    tokens = np.random.default_rng(0).normal(size=(7, 8, D)).astype(np.float16)
    options = OPTIONS.model_copy(update={"batch_size": 2})
    (tmp_path / "w").write_text("weights")
    done, compute = [], forecast.forecast_tokens

    def die_at_the_third(*args):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return compute(*args)

    def write(name):
        given = bridge, tokens, table["volume_id"], table, options
        return forecast.write_forecasts(*given, tmp_path / name, [tmp_path / "w"])

    write("whole.npz")
    monkeypatch.setattr(forecast, "forecast_tokens", die_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        write("killed.npz")
    return write, done, lambda: compute(bridge, torch.from_numpy(tokens), table, options)


def test_a_killed_forecast_goes_on_with_the_same_bytes(killed, tmp_path):
    write, done, _ = killed
    write("killed.npz")
    assert len(done) == 5, "four batches, one of them twice"
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not list(Path(tmp_path).glob(".forecasts-*"))


def test_a_forecast_of_other_weights_reuses_no_batch_of_a_killed_one(killed, bridge, tmp_path):
    write, done, compute = killed
    (tmp_path / "w").write_text("other weights")
    bridge.token_mean.fill_(3.0)
    found = write("killed.npz")
    assert len(done) == 3 + 4
    np.testing.assert_allclose(found, compute(), rtol=1e-4, atol=1e-4)
