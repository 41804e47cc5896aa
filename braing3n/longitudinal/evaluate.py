"""Evaluate forecasts from a run's files: a brain-age probe, guidance scales, true later visits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.core.contracts import read_table, write_table
from braing3n.core.runtime import track
from braing3n.fidelity.coarse import CoarseVolumes, write_coarse
from braing3n.fidelity.encode import Watcher, encode_decoded
from braing3n.fidelity.settings import FidelitySettings
from braing3n.longitudinal.ageing import (
    NO_FOLLOW_UP,
    average_changes,
    find_changes,
    measure_ageing,
    measure_errors,
)
from braing3n.longitudinal.contracts import AGEING, CHANGES, FORECASTS, PAIRS, WHOLE
from braing3n.longitudinal.figures import (
    Shown,
    choose_people,
    choose_scales,
    show_person,
    tabulate,
    write_figures,
)
from braing3n.longitudinal.forecast import forecast_tokens
from braing3n.longitudinal.model import Bridge
from braing3n.longitudinal.pairs import list_visits
from braing3n.longitudinal.regions import find_regions
from braing3n.longitudinal.settings import EvaluationSettings, ForecastSettings, LongitudinalSettings
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weight_file import read_head
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe.fit import build_model
from braing3n.probe.plan import load_features
from braing3n.probe.settings import ProbeSettings
from braing3n.tokenizer.model import Tokenizer

TRUE, NONE, MEAN = "true later visit", "no change", "mean change of the age group"


class AgeProbe:
    """A ridge that reads age from features of real training visits, and its error on held-out ones.

    Attributes:
        mae_years, n_people: on held-out visits.
        reason: why there is none, or ''.
    """

    def __init__(self, features: np.ndarray, visits: pd.DataFrame, probe: ProbeSettings):
        known = visits[visits["age_years"].notna()]
        train, held = (known[(known["split"] == "train") == side] for side in (True, False))
        self.n_people, self.mae_years = held["person_id"].nunique(), math.nan
        n_training = train["person_id"].nunique()
        needed = 2 * probe.min_class_people
        self.reason = (
            "" if n_training >= needed else f"{n_training} training people with an age, not {needed}"
        )
        if not self.reason:
            self.model = build_model("regression", len(train), features.shape[1], probe, has_pca=False)
            self.model.fit(features[train.index], train["age_years"])
            if len(held):
                error = self.model.predict(features[held.index]) - held["age_years"]
                self.mae_years = float(error.abs().mean())

    def read(self, features: np.ndarray) -> np.ndarray:
        """Ages in years (n,) from features (n, F)."""
        return self.model.predict(features.astype(np.float64)) if len(features) else np.zeros(0)


def evaluate_forecasts(
    results: Path,
    settings: LongitudinalSettings,
    options: ForecastSettings,
    evaluation: EvaluationSettings,
    probe: ProbeSettings,
) -> None:
    """Write the tables `ageing` and `changes` and Figures 4 and 7; a row says what the run lacks.

    The run's forecasts are decoded once: `decoded.npz` keeps them on voxels of about 4 mm for other stages.
    """
    labels = read_table(results / "manifest/labels.parquet", LABELS).reset_index(drop=True)
    pairs = read_table(results / "longitudinal/pairs.parquet", PAIRS)
    weights, out = results / "longitudinal/bridge.safetensors", results / "longitudinal/ageing.parquet"
    features = load_features(results / "latents/features_mae.npz", labels)
    age_probe = AgeProbe(features, list_visits(labels, settings), probe)
    base = _describe(age_probe)
    encode, decode = _open_decoder(results, evaluation)
    drawn = {options.guidance: np.load(results / "longitudinal/forecasts.npz")["tokens"]}
    coarse = CoarseVolumes()
    seen = {options.guidance: encode(drawn[options.guidance], [coarse])}
    write_coarse({"forecasts": coarse}, out.with_name("decoded.npz"))
    if reason := read_head(weights).get("reason", "") or age_probe.reason:
        rows = [base | {"quantity": name, "reason": str(reason)} for name in ("slope", "r", "error, volume")]
        write_table(pd.DataFrame(rows), out, AGEING)
        _write_figures([], results)
        return
    bridge = load_model(Bridge, weights).to(training.open_accelerator().device)
    table = read_table(results / "longitudinal/forecasts.parquet", FORECASTS)
    cached = np.load(results / "latents/tokens.npy", mmap_mode="r")
    row_of = pd.Series(np.arange(len(labels)), index=labels["volume_id"])
    start = np.asarray(cached[row_of.loc[table["volume_id"]].to_numpy()], np.float32)
    for scale in evaluation.guidance:
        if scale not in drawn:
            drawn[scale] = forecast_all(bridge, start, table, options.model_copy(update={"guidance": scale}))
            seen[scale] = encode(drawn[scale])

    rows = []
    for scale in sorted(drawn):
        ages = age_probe.read(seen[scale])
        is_grid = ((table["later_volume_id"] == "") & (table["years"] > 0)).to_numpy()
        changes = find_changes(table, ages)[is_grid]
        own = table[is_grid]
        found = measure_ageing(own["years"], changes, own["person_id"].to_numpy(), probe.seed)
        rows += [base | row | {"method": "forecast", "guidance": scale} for row in found]

    def read_ages(tokens: np.ndarray) -> np.ndarray:
        return age_probe.read(encode(tokens))

    regions, lacking = find_regions(results / "settings")
    compared = _compare(drawn, table, pairs, cached, row_of, read_ages, decode, regions, probe.seed)
    for name, reason in lacking.items():
        compared.append({"method": NONE, "quantity": f"error, {name}", "reason": reason})
    write_table(pd.DataFrame(rows + [base | row for row in compared]), out, AGEING)

    shown = {scale: drawn[scale] for scale in choose_scales(options.guidance, evaluation.guidance)}
    own = (table[table["volume_id"] == name] for name in choose_people(table))
    _write_figures([_show_person(one, shown, cached, row_of, decode) for one in own], results)


def _open_decoder(results: Path, evaluation: EvaluationSettings):
    """Two functions of tokens (n, T, d): features of what they decode to, and these volumes (n, D, H, W)."""
    device = training.open_accelerator().device
    encoder = load_model(MaskedAutoencoder, results / "pretrain/mae.safetensors").to(device)
    tokenizer = load_model(Tokenizer, results / "tokenizer/tokenizer.safetensors").to(device)
    coding = FidelitySettings(batch_size=evaluation.batch_size, precision=evaluation.precision)

    def encode(tokens: np.ndarray, watchers: Sequence[Watcher] = ()) -> np.ndarray:
        rows = np.arange(len(tokens))
        return encode_decoded(tokens, rows, encoder, tokenizer, coding, "longitudinal: encoded", watchers)

    @torch.no_grad()
    def decode(tokens: np.ndarray) -> np.ndarray:
        images = [tokenizer.decode(torch.from_numpy(one[None]).to(device))[0, 0] for one in tokens]
        return torch.stack(images).float().cpu().numpy()

    return encode, decode


def _show_person(table, drawn, cached, row_of, decode) -> Shown:
    """What the figures show of one person's rows of the forecasts."""
    names = [table["volume_id"].iloc[0], *table.loc[table["later_volume_id"] != "", "later_volume_id"]]
    ends = {name: np.asarray(cached[row_of[name]], np.float32) for name in names}
    return show_person(table, drawn, ends, decode)


def _write_figures(people: list[Shown], results: Path) -> None:
    write_figures(people, results / "longitudinal")
    write_table(tabulate(people), results / "longitudinal/changes.parquet", CHANGES)


def _describe(age_probe: AgeProbe) -> dict[str, Any]:
    """What every row has: of the probe, and blanks."""
    blank: dict[str, Any] = {"method": "forecast", "scanner": "", "n_people": 0, "n_volumes": 0, "reason": ""}
    blank |= dict.fromkeys(("guidance", "years", "value", "low", "high"), math.nan)
    return blank | {"probe_mae_years": age_probe.mae_years, "n_probe_people": age_probe.n_people}


def forecast_all(
    bridge: Bridge, start: np.ndarray, table: pd.DataFrame, options: ForecastSettings
) -> np.ndarray:
    """Tokens (M, T, d) after the years of each row, from those of the earlier visits (M, T, d)."""
    batches = training.cut_batches(np.arange(len(table)), options.batch_size)
    found = [np.zeros((0, *start.shape[1:]), np.float32)]
    for batch in track(batches, f"longitudinal: guidance {options.guidance:g}", len(batches)):
        part = forecast_tokens(bridge, torch.from_numpy(start[batch]), table.iloc[batch], options)
        found.append(part.float().cpu().numpy())
    return np.concatenate(found)


def _compare(drawn, table, pairs, cached, row_of, read_ages, decode, regions, seed) -> list[dict]:
    """Rows against true later visits: their ageing, by scanner too, and the errors of each guess."""
    is_true = (table["later_volume_id"] != "").to_numpy()
    own = table[is_true].merge(
        pairs[["volume_id", "later_volume_id", "scanner"]], on=["volume_id", "later_volume_id"]
    )
    if own.empty:
        names = ("slope", "r", *(f"error, {name}" for name in (*WHOLE, *regions)))
        return [{"method": TRUE, "quantity": name, "reason": NO_FOLLOW_UP} for name in names]
    earlier, later = (
        np.asarray(cached[row_of.loc[own[name]].to_numpy()], np.float32)
        for name in ("volume_id", "later_volume_id")
    )
    changes, people = read_ages(later) - read_ages(earlier), own["person_id"].to_numpy()
    rows = []
    for scanner in ("", "same", "other", "unknown"):
        chosen = ((own["scanner"] == scanner) | (scanner == "")).to_numpy()
        found = measure_ageing(own["years"][chosen], changes[chosen], people[chosen], seed, is_grid=False)
        rows += [row | {"method": TRUE, "scanner": scanner} for row in found]
    mean = average_changes(cached, row_of, pairs)
    years = own["years"].to_numpy()[:, None, None]
    moved = earlier + years * np.stack([mean.find(age) for age in own["age_years"]])
    guesses = {NONE: earlier, MEAN: moved.astype(np.float32)}
    guesses |= {f"forecast {scale:g}": tokens[is_true] for scale, tokens in drawn.items()}
    for row in measure_errors(guesses, later, own, decode, regions):
        name, _, scale = row["method"].partition("forecast ")
        rows.append(row | {"method": name or "forecast", "guidance": float(scale) if scale else math.nan})
    return rows
