"""Forecasts: where the bridge leads held-out people, some years after their first visit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.contracts import read_table, write_table
from braing3n.core.runtime import track, write_atomically, write_if_changed
from braing3n.longitudinal import STAGE_VERSION
from braing3n.longitudinal.contracts import FORECASTS, PAIRS
from braing3n.longitudinal.model import Bridge
from braing3n.longitudinal.pairs import describe_baseline, list_visits
from braing3n.longitudinal.settings import ForecastSettings, LongitudinalSettings
from braing3n.manifest.contracts import LABELS
from braing3n.nets.flow import Watch, integrate
from braing3n.nets.weight_file import read_head
from braing3n.nets.weights import load_model
from braing3n.tokenizer.model import Tokenizer


def list_forecasts(
    labels: pd.DataFrame, pairs: pd.DataFrame, settings: LongitudinalSettings, options: ForecastSettings
) -> pd.DataFrame:
    """One row a forecast: each held-out person's first visit 0 years on, the configured years on, and at the
    time of each later visit, which is named.

    People with a later visit come first, then the others, by id, up to `options.n_baselines`.
    """
    visits = list_visits(labels[labels["split"] != "train"], settings)
    visits = visits[visits["dx"].isin(settings.diseases) & visits["age_years"].notna()]
    first = visits.drop_duplicates("person_id")
    has_later = first["volume_id"].isin(pairs["volume_id"])
    chosen = pd.concat([first[has_later], first[~has_later]]).head(options.n_baselines)
    rows = []
    for visit in chosen.itertuples():
        known = describe_baseline(visit)
        horizons = [(years, "") for years in (0.0, *options.years)]
        own = pairs[pairs["volume_id"] == visit.volume_id]
        horizons += list(zip(own["years"], own["later_volume_id"], strict=True))
        for years, later in horizons:
            name = f"{visit.volume_id}-{later or f'{years:g}y'}"
            rows.append(known | {"forecast_id": name, "years": years, "later_volume_id": later})
    kinds = {name: {str: "str", float: "float64"}[kind] for name, (kind, _) in FORECASTS.items()}
    return pd.DataFrame(rows, columns=list(FORECASTS)).astype(kinds)


@torch.no_grad()
def forecast_tokens(
    bridge: Bridge, tokens: Tensor, table: pd.DataFrame, options: ForecastSettings, watch: Watch = iter
) -> Tensor:
    """Tokens float32 (B, T, d) after the years of each row, from those of the earlier visits (B, T, d).

    Euler steps along the guided velocity, which watch passes on; nothing is random.
    """
    conditions = bridge.encode(table)
    device = bridge.nulls.device

    def guide(x: Tensor, now: float) -> Tensor:
        t = torch.full((len(x),), now, device=device)
        with training.autocast(device, options):
            return bridge.guide(x, t, conditions, options.guidance)

    times = torch.linspace(0, 1, options.n_steps + 1).tolist()
    return bridge.restore(integrate(guide, bridge.standardise(tokens.to(device)), times, watch=watch))


def write_forecasts(
    bridge: Bridge,
    tokens: np.ndarray,
    volume_ids: pd.Series,
    table: pd.DataFrame,
    options: ForecastSettings,
    npz: Path,
    inputs: Sequence[Path | str],
) -> np.ndarray:
    """Forecast all rows of a table and write tokens float32 (M, T, d) with their ids (.npz).

    A killed job resumes after its last whole batch.

    Args:
        tokens: float16 (N, T, d) of all volumes.
        volume_ids: those of the N rows.
        inputs: what the forecasts are made from, as of `training.open_run_dir`.
    """
    rows = pd.Series(np.arange(len(volume_ids)), index=volume_ids).loc[table["volume_id"]].to_numpy()
    batches = training.cut_batches(np.arange(len(table)), options.batch_size)

    def compute(rest: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        for batch in track(rest, "longitudinal: forecasts", len(rest)):
            earlier = torch.from_numpy(np.array(tokens[rows[batch]]))
            yield {"tokens": forecast_tokens(bridge, earlier, table.iloc[batch], options)}

    names = table["forecast_id"].to_numpy(dtype=str)
    made_of = [STAGE_VERSION, options.as_json(), names.tolist(), *map(training.digest_input, inputs)]
    part_dir = training.choose_part_dir(npz, "forecasts", made_of)
    shape = {"tokens": ((bridge.n_tokens, bridge.d), np.float32)}
    with training.grow_arrays(part_dir, shape, batches, compute) as arrays:
        found = np.load(arrays["tokens"])
        write_tokens(npz, found, names)
    return found


def write_tokens(npz: Path, tokens: np.ndarray, names: np.ndarray) -> None:
    """Tokens float32 (M, T, d) with their forecasts' ids (.npz)."""
    with write_atomically(npz) as beside:
        np.savez(beside, tokens=tokens, forecast_id=names.astype(str))


def run_forecasts(given: dict[str, Path], outputs: dict[str, Path], options: ForecastSettings) -> None:
    """Read what the job is given, forecast, and write tokens and table.

    Where the run has no bridge, both are empty, and `<table>_absent.json` says why.

    Args:
        given: weights, tokens, tokenizer, labels, pairs.
        outputs: forecasts, table.
    """
    labels, pairs = read_table(given["labels"], LABELS), read_table(given["pairs"], PAIRS)
    record = read_head(given["weights"])
    tokenizer = load_model(Tokenizer, given["tokenizer"])
    if reason := record.get("reason", ""):
        table = pd.DataFrame(columns=list(FORECASTS)).astype(
            {"years": float, "age_years": float, "cdr": float}
        )
        tokens = np.zeros((0, math.prod(tokenizer.grid), tokenizer.n_channels), np.float32)
        write_tokens(outputs["forecasts"], tokens, np.array([], dtype=str))
    else:
        device = training.open_accelerator().device
        bridge, tokenizer = load_model(Bridge, given["weights"]).to(device), tokenizer.to(device)
        table = list_forecasts(labels, pairs, bridge.settings, options)
        cached = np.load(given["tokens"], mmap_mode="r")
        inputs = [given["weights"], given["tokens"]]
        tokens = write_forecasts(
            bridge, cached, labels["volume_id"], table, options, outputs["forecasts"], inputs
        )
    write_table(table, outputs["table"], FORECASTS)
    absent_path = outputs["table"].with_name(f"{outputs['table'].stem}_absent.json")
    write_if_changed(absent_path, json.dumps({"bridge": reason} if reason else {}, indent=1) + "\n")
