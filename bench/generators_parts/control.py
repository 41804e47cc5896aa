"""Conditional samples against null ones, and requested ages against read ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from braing3n.diffusion.sample import sample_tokens

from .study import CPU, Judge, Study, bootstrap

DISEASES = ("HC", "AD", "GBM")  # those that a T1 shows; SCZ is nothing but its site
N_SAMPLES = 64  # a class
BLANK = {"disease": "", "sex": "", "modality": "T1", "site": "", "age_years": np.nan, "idh1": ""}


def sample(study: Study, conditions: list[dict], prefix: str, seed: int) -> np.ndarray:
    """Decoded samples, one for each set of conditions."""
    table = pd.DataFrame([BLANK | item for item in conditions])
    table["sample_id"] = [f"{prefix}-{i:04d}" for i in range(len(table))]
    settings = study.config.diffusion.sampling.model_copy(update={"seed": seed})
    parts = [table.iloc[i : i + 32] for i in range(0, len(table), 32)]
    return np.concatenate([study.decode(sample_tokens(study.dit, part, settings, CPU)) for part in parts])


def measure_control(study: Study, seed: int) -> dict:
    """Requested against null by class, and requested against read age; real held-out people beside them."""
    found, table = {}, study.volumes.table
    held_out = study.rows("held-out")
    null = sample(study, [{}] * N_SAMPLES, "null", seed)
    for name, column, classes in (("disease", "dx", DISEASES), ("sex", "sex", ("F", "M"))):
        judge = Judge(study, column, classes)
        order = list(judge.model.classes_)
        asked = {c: sample(study, [{name: c}] * N_SAMPLES, f"{name}-{c}", seed) for c in order}
        conditional = [judge.read(asked[c])[:, i] for i, c in enumerate(order)]
        base = judge.read(null)

        def gap(*parts: np.ndarray) -> float:
            *given, free = parts
            return float(np.mean([p.mean() - free[:, i].mean() for i, p in enumerate(given)]))

        known = held_out[table[column].iloc[held_out].isin(order)]
        real = judge.read(study.decode(study.tokens[known]))
        truth = table[column].iloc[known].to_numpy()
        found[name] = {
            "gap": bootstrap([*conditional, base], gap),
            "conditional": {c: float(p.mean()) for c, p in zip(order, conditional, strict=True)},
            "null": {c: float(base[:, i].mean()) for i, c in enumerate(order)},
            "real": {c: float(real[truth == c][:, i].mean()) for i, c in enumerate(order)},
            "real_accuracy": float(np.mean(np.array(order)[real.argmax(axis=1)] == truth)),
        }
    ages = np.linspace(25, 85, N_SAMPLES)
    judge = Judge(study, "age_years")
    read = judge.read(sample(study, [{"age_years": age} for age in ages], "age", seed))
    real = judge.read(study.decode(study.tokens[held_out]))
    pairs = np.stack([ages, read], axis=1)
    found["age"] = {
        "r": bootstrap([pairs], lambda p: float(np.corrcoef(p.T)[0, 1])),
        "real_r": float(np.corrcoef(table["age_years"].iloc[held_out], real)[0, 1]),
    }
    return found
