"""Forecasts of held-out people against their true follow-ups, and those of a bridge with shuffled years."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from braing3n.longitudinal.forecast import forecast_tokens
from braing3n.longitudinal.model import Bridge
from braing3n.longitudinal.pairs import list_pairs
from braing3n.longitudinal.train import Ends, train_bridge
from braing3n.nets.weights import load_model

from .study import Judge, Study, bootstrap, fit_steps

N_FORECAST = 128  # held-out people whose first visit is forecast to one of their later ones, at most
N_AGED = 64  # of them, whose forecasts of every year are judged
YEARS = (0.0, 1.0, 2.0, 3.0, 5.0)


def measure_forecasts(study: Study, seed: int, folder: Path) -> dict:
    """The bridge's yearly change beside that of the true follow-ups, and with the years shuffled."""
    table, judge = study.volumes.table, Judge(study, "age_years")
    section = study.config.longitudinal.model_copy(update={"seed": seed})
    pairs, _ = list_pairs(table, section)
    is_training = pairs["split"] == "train"
    n = int(is_training.sum())
    section = section.model_copy(update={"optimiser": fit_steps(section.optimiser, "longitudinal", n)})
    is_first = pairs["volume_id"].str.endswith("-0")
    own = pairs[(pairs["split"] == "held-out") & is_first]
    own = own.sample(frac=1, random_state=seed).drop_duplicates("volume_id").head(N_FORECAST)
    place = pd.Series(np.arange(len(table)), index=table["volume_id"])
    earlier, later = (place.loc[own[name]].to_numpy() for name in ("volume_id", "later_volume_id"))
    start = judge.read(study.decode(study.tokens[earlier]))
    truth, true_images = judge.read(study.decode(study.tokens[later])) - start, study.volumes.images[later]

    def slope(change: np.ndarray, years: np.ndarray) -> float:
        return float((change * years).sum() / (years**2).sum())

    found = {"n_training": n, "n": len(own)}
    both = np.stack([truth, own["years"]], axis=1)
    found["true_slope"] = bootstrap([both], lambda p: slope(p[:, 0], p[:, 1]))
    rng = np.random.default_rng(seed)
    for name in ("bridge", "shuffled"):
        given = pairs.copy()
        if name == "shuffled":
            given.loc[is_training, "years"] = rng.permutation(given.loc[is_training, "years"])
        (folder / f"{name}.csv").write_text(given.to_csv(index=False))
        ends = Ends(study.tokens, study.tokenizer.grid, given, table["volume_id"])
        weights = folder / f"{name}.safetensors"
        train_bridge(ends, section, folder / name, weights, [folder / f"{name}.csv"])
        bridge, options = load_model(Bridge, weights), section.forecast

        def forecast(years, n, bridge=bridge, options=options) -> np.ndarray:
            asked = own.assign(years=years).head(n)
            tokens = torch.from_numpy(study.tokens[earlier[:n]])
            return study.decode(forecast_tokens(bridge, tokens, asked, options))

        base = judge.read(forecast(0.0, N_AGED))
        changes = {years: judge.read(forecast(years, N_AGED)) - base for years in YEARS[1:]}
        stacked = np.stack(list(changes.values()), axis=1)  # (people, years)
        grid = np.array(list(changes))
        found[f"{name}_slope"] = bootstrap([stacked], lambda p, g=grid: slope(p.mean(axis=0), g))
        if name == "bridge":
            mask = study.volumes.masks[later].all(axis=0)
            images = forecast(own["years"], N_FORECAST), study.decode(study.tokens[earlier])
            error, no_change = (np.abs(im - true_images)[:, mask].mean(axis=1) for im in images)
            found["gain"] = bootstrap([no_change - error], np.mean)
            found["no_change"] = float(no_change.mean())
    return found
