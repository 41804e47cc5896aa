"""The ageing of forecasts: slopes, errors against brute force, and what shuffled years leave."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from braing3n.config import (
    LongitudinalSettings,
    PreprocessSettings,
    PretrainSettings,
    ProbeSettings,
    ResourceSettings,
    TokenizerSettings,
    VolumesSettings,
)
from braing3n.core.contracts import read_table, write_table
from braing3n.longitudinal.ageing import average_changes, find_changes, measure_ageing, measure_errors
from braing3n.longitudinal.command import app
from braing3n.longitudinal.contracts import AGEING, CHANGES, FORECASTS, PAIRS, REGIONS
from braing3n.longitudinal.evaluate import AgeProbe
from braing3n.longitudinal.forecast import forecast_tokens, list_forecasts, write_forecasts
from braing3n.longitudinal.model import Bridge
from braing3n.longitudinal.pairs import list_pairs
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import write_weights

pytestmark = pytest.mark.usefixtures("one_thread")
YEARS = np.tile([1.0, 2.0, 3.0, 5.0], 64)
PEOPLE = np.repeat([f"p{k}" for k in range(64)], 4)
D, GRID = 4, (2, 2, 2)
SETTINGS = LongitudinalSettings(cohorts=(), depth=1, width=16, n_heads=2)
OPTIONS = SETTINGS.forecast.model_copy(update={"n_steps": 3, "years": (1.0, 4.0), "precision": "float32"})


def find(rows, quantity, **more):
    table = pd.DataFrame(rows)
    chosen = table["quantity"] == quantity
    for name, value in more.items():
        chosen &= table[name] == value
    (row,) = table[chosen].to_dict("records")
    return row


def test_the_slope_is_the_least_squares_line_and_r_the_correlation():
    changes = 0.27 * YEARS + np.random.default_rng(0).normal(size=len(YEARS))
    rows = measure_ageing(YEARS, changes, PEOPLE, 1)
    slope, r = find(rows, "slope"), find(rows, "r")
    assert slope["value"] == pytest.approx(
        np.linalg.lstsq(np.c_[YEARS, np.ones(256)], changes, rcond=None)[0][0]
    )
    assert slope["low"] < 0.27 < slope["high"]
    assert r["value"] == pytest.approx(np.corrcoef(YEARS, changes)[0, 1])
    at = find(rows, "age change", years=3.0)
    assert at["value"] == pytest.approx(changes[YEARS == 3].mean())
    assert (at["n_people"], at["n_volumes"], slope["n_volumes"]) == (64, 64, 256)


def test_each_of_many_years_of_forecast_has_its_mean_change():
    years = np.repeat(np.arange(1.0, 13.0), 4)
    rows = measure_ageing(years, 0.5 * years, np.tile(list("abcd"), 12), 1)
    assert find(rows, "age change", years=12.0)["value"] == pytest.approx(6)
    visits = measure_ageing(years, 0.5 * years, np.tile(list("abcd"), 12), 1, is_grid=False)
    assert "age change" not in {row["quantity"] for row in visits}


def test_the_interval_of_a_slope_is_of_people_and_not_of_rows():
    changes = 0.27 * YEARS + np.random.default_rng(0).normal(size=len(YEARS))
    once, often = (
        find(measure_ageing(*(np.repeat(part, n) for part in (YEARS, changes, PEOPLE)), 1), "slope")
        for n in (1, 4)
    )
    for name in ("value", "low", "high"):
        assert often[name] == pytest.approx(once[name], rel=1e-6)


def test_shuffled_years_have_no_slope():
    rng = np.random.default_rng(0)
    changes = 0.27 * YEARS + rng.normal(size=len(YEARS))
    assert abs(find(measure_ageing(rng.permutation(YEARS), changes, PEOPLE, 1), "slope")["value"]) < 0.1


def test_few_or_no_forecasts_say_so():
    for years in ([], [2.0, 2.0]):
        row = find(measure_ageing(years, years, np.array(["a", "b"][: len(years)]), 1), "slope")
        assert "undefined" in row["reason"]


def test_changes_are_read_against_the_same_persons_0_year_forecast():
    table = pd.DataFrame(
        {
            "volume_id": ["a", "a", "b", "b", "a"],
            "years": [0, 2, 3, 0, 0],
            "later_volume_id": ["", "", "", "", "x"],
        }
    )
    assert find_changes(table, np.array([60.0, 63, 50, 48, 61])).tolist() == [0, 3, 2, 0, 1]


def test_mean_changes_are_those_of_the_training_pairs_of_an_age_group():
    tokens = np.random.default_rng(0).normal(size=(6, 2, 3))
    columns = {"volume_id": ["0", "2", "0", "4"], "later_volume_id": ["1", "3", "5", "5"]}
    pairs = pd.DataFrame(columns | {"age_years": [61, 65, 72, 63], "years": [2.0, 1, 4, 1]})
    pairs["split"] = ["train", "train", "train", "test"]
    found = average_changes(tokens, pd.Series(range(6), index=list("012345")), pairs)
    yearly = [(tokens[1] - tokens[0]) / 2, tokens[3] - tokens[2], (tokens[5] - tokens[0]) / 4]
    np.testing.assert_allclose(found.find(68.0), np.mean(yearly[:2], axis=0))
    np.testing.assert_allclose(found.find(79.9), yearly[2])
    np.testing.assert_allclose(found.find(33.0), np.mean(yearly, axis=0))  # no pair of that age


def test_errors_are_those_of_loops_over_all_voxels_over_fluid_and_over_a_region():
    rng = np.random.default_rng(0)
    true, guess = rng.normal(size=(2, 5, 8))
    cortex = np.array([[[True, False], [False, True]], [[True, True], [False, False]]])
    table = pd.DataFrame({"person_id": list("aabcd"), "scanner": ["same", "same", "other", "same", "other"]})
    guesses, masks = {"guess": guess, "true": true}, {"cortex": cortex}
    rows = measure_errors(guesses, true, table, lambda part: part.reshape(-1, 2, 2, 2), masks)
    all_errors = [np.mean(np.abs(guess[i] - true[i])) for i in range(5)]
    fluid = [
        np.mean([abs(g - t) for g, t in zip(guess[i], true[i], strict=True) if t < -1] or [np.nan])
        for i in range(5)
    ]
    base = {"method": "guess", "scanner": ""}
    assert find(rows, "error, volume", **base)["value"] == pytest.approx(np.mean(all_errors))
    assert find(rows, "error, CSF", **base)["value"] == pytest.approx(np.nanmean(fluid))
    of_region = [abs(guess[i][k] - true[i][k]) for i in range(5) for k in (0, 3, 4, 5)]
    assert find(rows, "error, cortex", **base)["value"] == pytest.approx(np.mean(of_region))
    row = find(rows, "error, volume", method="guess", scanner="other")
    assert row["value"] == pytest.approx((all_errors[2] + all_errors[4]) / 2)
    assert find(rows, "error, volume", method="true", scanner="same")["value"] == 0
    assert "with unknown scanner" in find(rows, "error, volume", method="guess", scanner="unknown")["reason"]


def make_people(n_people, n_visits):
    """Labels of people with visits three to five years apart; some change the scanner."""
    rows = [
        {
            "volume_id": f"v{k:02d}{visit}",
            "person_id": f"p{k:02d}",
            "session_id": str(visit),
            "dx": "HC",
            "sex": "F",
        }
        | {
            "age_years": 50.0 + k + (3 + k % 3) * visit,
            "split": "train" if k % 4 else "test",
            "modality": "T1",
            "cdr": 0.0,
        }
        | {"vendor": "GE" if visit and k % 8 else "Philips", "field_strength_t": 3.0}
        for k in range(n_people)
        for visit in range(n_visits)
    ]
    labels = pd.DataFrame(rows).assign(
        group_id=lambda table: table["person_id"], subject_id=lambda t: t["person_id"]
    )
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    return labels[list(LABELS)]


def make_run(folder, n_people=40, n_visits=2):
    """A run's files: people of two visits, features that show age, and an untrained bridge."""
    rng, labels = np.random.default_rng(0), make_people(n_people, n_visits)
    write_table(labels, folder / "manifest/labels.parquet", LABELS)
    pairs, _ = list_pairs(labels, SETTINGS)
    write_table(pairs, folder / "longitudinal/pairs.parquet", PAIRS)
    torch.manual_seed(0)
    sizes = {"patch_size": 8, "depth": 1, "width": 24, "n_heads": 2}
    sizes |= {"decoder_depth": 1, "decoder_width": 24, "decoder_n_heads": 2}
    encoder = MaskedAutoencoder(PretrainSettings(**sizes), (16, 16, 16))
    tokenizer = Tokenizer(TokenizerSettings(d=D, widths=(16, 8, 8), n_blocks=1), 24, 8, GRID)
    bridge = Bridge(SETTINGS, D, GRID)
    for parameter in bridge.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    (folder / "pretrain").mkdir()
    (folder / "tokenizer").mkdir()
    (folder / "latents").mkdir()
    record = {"settings": encoder.settings.model_dump(mode="json"), "shape": [16, 16, 16]}
    write_weights(folder / "pretrain/mae.safetensors", encoder.state_dict(), "MaskedAutoencoder", record)
    path = folder / "tokenizer/tokenizer.safetensors"
    write_weights(path, tokenizer.state_dict(), "Tokenizer", tokenizer.describe())
    write_weights(
        folder / "longitudinal/bridge.safetensors", bridge.state_dict(), "Bridge", bridge.describe()
    )
    tokens = rng.normal(size=(len(labels), 8, D)).astype(np.float16)
    np.save(folder / "latents/tokens.npy", tokens)
    features = rng.normal(size=(len(labels), 24)) + labels["age_years"].to_numpy()[:, None] / 20
    np.savez(
        folder / "latents/features_mae.npz", volume_id=labels["volume_id"].to_numpy(str), features=features
    )
    table = list_forecasts(labels, pairs, SETTINGS, OPTIONS)
    npz = folder / "longitudinal/forecasts.npz"
    write_forecasts(bridge.requires_grad_(False), tokens, labels["volume_id"], table, OPTIONS, npz, [])
    write_table(table, folder / "longitudinal/forecasts.parquet", FORECASTS)
    evaluation = SETTINGS.evaluation.model_copy(update={"guidance": (1.5, 3.0)})
    sections = {
        "longitudinal": SETTINGS,
        "longitudinal.forecast": OPTIONS,
        "longitudinal.evaluation": evaluation,
    }
    (folder / "settings").mkdir()
    sections |= {"probe": ProbeSettings(), "preprocess": PreprocessSettings(spacing_mm=8.0)}
    sections["volumes"] = VolumesSettings(shape=(16, 16, 16), spacing_mm=8.0)
    sections["resources"] = ResourceSettings(paths={"brain-templates": str(folder / "nowhere.whl")})
    for name, section in sections.items():
        (folder / f"settings/{name}.json").write_text(section.as_json())
    return labels, features


def evaluate(folder):
    app(["evaluate", "--results", str(folder)], result_action="return_value")
    return read_table(folder / "longitudinal/ageing.parquet", AGEING)


def test_a_run_is_evaluated_from_its_files(tmp_path):
    labels, features = make_run(tmp_path)
    found = evaluate(tmp_path)
    own = found[(found["method"] == "forecast") & (found["quantity"] == "slope")]
    assert own["guidance"].tolist() == [1.5, 3.0]
    assert set(found["method"]) == {
        "forecast",
        "true later visit",
        "no change",
        "mean change of the age group",
    }
    assert found["probe_mae_years"].iloc[0] == AgeProbe(features, labels, ProbeSettings()).mae_years < 10
    by_scanner = found[(found["method"] == "no change") & (found["quantity"] == "error, volume")].set_index(
        "scanner"
    )
    assert by_scanner.loc["same", "n_volumes"] + by_scanner.loc["other", "n_volumes"] == 10
    absent = found[found["quantity"].isin([f"error, {name}" for name in REGIONS])]
    assert len(absent) == len(REGIONS)
    assert absent["reason"].str.contains("nowhere.whl").all()
    # no later visit's time is among the years of the slope
    assert set(found.loc[found["quantity"] == "age change", "years"]) == {1.0, 4.0}
    assert (own["n_volumes"] == 2 * own["n_people"]).all()


class Models:
    """A run's models, and the true later visits of its forecasts: rows and tokens (n, T, d)."""

    def __init__(self, folder, labels):
        self.encoder = load_model(MaskedAutoencoder, folder / "pretrain/mae.safetensors")
        self.tokenizer = load_model(Tokenizer, folder / "tokenizer/tokenizer.safetensors")
        self.bridge = load_model(Bridge, folder / "longitudinal/bridge.safetensors")
        table = read_table(folder / "longitudinal/forecasts.parquet", FORECASTS)
        self.true = table[table["later_volume_id"] != ""].reset_index(drop=True)
        self.tokens = np.load(folder / "latents/tokens.npy")
        self.row_of = pd.Series(range(len(labels)), index=labels["volume_id"])
        self.start, self.later = (
            torch.from_numpy(self.tokens[self.row_of[self.true[name]]]).float()
            for name in ("volume_id", "later_volume_id")
        )

    @torch.no_grad()
    def decode(self, tokens):
        return self.tokenizer.decode(torch.as_tensor(tokens, dtype=torch.float32))

    def forecast(self, guidance):
        options = OPTIONS.model_copy(update={"guidance": guidance})
        return forecast_tokens(self.bridge, self.start, self.true, options)

    @torch.no_grad()
    def read(self, image):
        return self.encoder.encode(image).mean(dim=1).numpy()


def test_errors_and_slopes_are_those_of_the_models(tmp_path):
    labels, features = make_run(tmp_path)
    found, models = evaluate(tmp_path), Models(tmp_path, labels)
    true, later = models.true, models.decode(models.later)
    rows = found[found["scanner"] == ""]
    errors = rows[rows["quantity"] == "error, volume"].set_index(["method", "guidance"])["value"]
    expected = (models.decode(models.forecast(3.0)) - later).abs().mean().item()
    assert errors["forecast", 3.0] == pytest.approx(expected, rel=1e-4)
    pairs = read_table(tmp_path / "longitudinal/pairs.parquet", PAIRS)
    mean = average_changes(models.tokens, models.row_of, pairs)
    yearly = np.stack([mean.find(age) for age in true["age_years"]])
    guess = models.start.numpy() + true["years"].to_numpy()[:, None, None] * yearly
    expected = (models.decode(guess) - later).abs().mean().item()
    assert errors["mean change of the age group"].item() == pytest.approx(expected, rel=1e-4)
    # the slope of the true later visits is of later less earlier, as the probe reads their volumes
    probe = AgeProbe(features, labels, ProbeSettings())
    change = probe.read(models.read(later)) - probe.read(models.read(models.decode(models.start)))
    slope = rows[(rows["method"] == "true later visit") & (rows["quantity"] == "slope")]["value"].item()
    assert slope == pytest.approx(np.polyfit(true["years"], change, 1)[0], rel=1e-3)


def test_the_figures_numbers_are_those_of_the_models(tmp_path):
    """Of the first of two people, those with the longest follow-up."""
    labels, _ = make_run(tmp_path)
    evaluate(tmp_path)
    models = Models(tmp_path, labels)
    longest = models.true.sort_values(["years", "person_id"], ascending=[False, True])
    person, i = longest["person_id"].iloc[0], longest.index[0]
    changes = read_table(tmp_path / "longitudinal/changes.parquet", CHANGES)
    assert changes["person_id"].drop_duplicates().tolist() == longest["person_id"].tolist()[:2]
    own = changes[(changes["person_id"] == person) & changes["error"].notna()].set_index("guidance")
    moved = models.forecast(3.0)
    images = models.decode(torch.stack([models.start[i], models.later[i], moved[i]]))[:, 0]
    assert own.loc[3.0, "error"] == pytest.approx((images[2] - images[1]).abs().mean().item(), rel=1e-4)
    visit = changes[(changes["person_id"] == person) & (changes["method"] == "true later visit")]
    assert visit["change"].tolist() == pytest.approx([(images[1] - images[0]).abs().mean().item()], rel=1e-4)


def test_visits_of_another_modality_have_no_part_in_the_probe(tmp_path):
    labels, features = make_run(tmp_path)
    before = evaluate(tmp_path)
    others = labels.assign(modality="T2", volume_id=labels["volume_id"] + "_T2")
    write_table(pd.concat([labels, others]), tmp_path / "manifest/labels.parquet", LABELS)
    names = np.concatenate([labels["volume_id"], others["volume_id"]]).astype(str)
    absurd = np.concatenate([features, 100 * np.random.default_rng(5).normal(size=features.shape)])
    np.savez(tmp_path / "latents/features_mae.npz", volume_id=names, features=absurd)
    after = evaluate(tmp_path)
    for name in ("probe_mae_years", "n_probe_people"):
        assert after[name].tolist() == before[name].tolist()


def average(volume, edge):
    """Means over cubes by loops; sides are multiples of the edge."""
    places = np.ndindex(*(n // edge for n in volume.shape))
    cubes = [volume[tuple(slice(k * edge, (k + 1) * edge) for k in place)].mean() for place in places]
    return np.reshape(cubes, [n // edge for n in volume.shape])


@pytest.mark.parametrize("has_ages", [True, False])
def test_forecasts_are_kept_as_decoded_volumes_on_coarse_voxels(tmp_path, monkeypatch, has_ages):
    """Also where no probe of age can be fitted, so that nothing is measured of them."""
    labels, _ = make_run(tmp_path)
    monkeypatch.setattr("braing3n.fidelity.coarse.N_ACROSS", 8)  # of 16 voxels two make one
    if not has_ages:
        write_table(labels.assign(age_years=np.nan), tmp_path / "manifest/labels.parquet", LABELS)
    found = evaluate(tmp_path)
    assert (found["reason"] == "").any() == has_ages
    tokens = torch.from_numpy(np.load(tmp_path / "longitudinal/forecasts.npz")["tokens"])
    with torch.no_grad():
        images = load_model(Tokenizer, tmp_path / "tokenizer/tokenizer.safetensors").decode(tokens)[:, 0]
    kept = np.load(tmp_path / "longitudinal/decoded.npz")
    assert kept["forecasts_rows"].tolist() == list(range(len(tokens)))
    assert (kept["forecasts"].shape, kept["forecasts"].dtype) == ((len(tokens), 8, 8, 8), np.float16)
    expected = [average(image.numpy(), 2) for image in images]
    np.testing.assert_allclose(kept["forecasts"], expected, rtol=2e-3, atol=1e-4)


def test_the_probe_is_fitted_on_training_people_and_scored_on_others(tmp_path):
    labels, features = make_run(tmp_path)
    train = (labels["split"] == "train").to_numpy()
    model = make_pipeline(StandardScaler(), Ridge(1.0)).fit(features[train], labels["age_years"][train])
    probe = AgeProbe(features, labels, ProbeSettings())
    np.testing.assert_allclose(probe.model.predict(features), model.predict(features))
    error = np.abs(model.predict(features[~train]) - labels["age_years"][~train]).mean()
    assert probe.mae_years == pytest.approx(error)
    assert probe.n_people == 10
    assert "training people" in AgeProbe(features, labels.assign(split="test"), ProbeSettings()).reason


def test_what_a_run_lacks_is_a_row_with_the_reason(tmp_path):
    make_run(tmp_path, n_visits=1)
    found = evaluate(tmp_path)
    lacking = found[found["method"] == "true later visit"]
    assert lacking["value"].isna().all()
    assert (lacking["reason"] == "no forecast person has a later visit").all()
    assert found.loc[found["method"] == "forecast", "value"].notna().any()
    changes = read_table(tmp_path / "longitudinal/changes.parquet", CHANGES)
    assert changes["error"].isna().all()
    assert changes.groupby(["person_id", "guidance"])["years"].apply(list).tolist() == [[1.0, 4.0]] * 4
    write_weights(tmp_path / "longitudinal/bridge.safetensors", {}, "no bridge", {"reason": "2 pairs"})
    found = evaluate(tmp_path)
    assert found["reason"].tolist() == ["2 pairs"] * 3
    assert read_table(tmp_path / "longitudinal/changes.parquet", CHANGES).empty
    assert (tmp_path / "longitudinal/figure_4.png").stat().st_size > 100
    assert found["value"].isna().all()
