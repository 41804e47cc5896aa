"""Sample the trained DiT, arm by arm, and decode one of each arm for the eye."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.runtime import track, write_atomically, write_if_changed
from braing3n.diffusion.conditions import CODED, read_conditions
from braing3n.diffusion.model import DiT, shift_times
from braing3n.diffusion.settings import DiffusionSettings
from braing3n.tokenizer.model import Tokenizer

N_AT_ONCE = 32  # samples a batch; part of the bits, since sums over a batch are ordered by it


@dataclass(frozen=True)
class Arm:
    """What one set of samples is conditioned on; empty and NaN are null."""

    arm: str
    modality: str
    disease: str = ""
    sex: str = ""
    site: str = ""
    age_years: float = math.nan
    idh1: str = ""


# The 13 arms of the paper's Table 8; a T1 arm stands under each condition that it shares with it.
ARMS = (
    Arm("disease-HC", "T1", disease="HC"),
    Arm("disease-AD", "T1", disease="AD"),
    Arm("sex-F", "T1", sex="F"),
    Arm("sex-M", "T1", sex="M"),
    *(Arm(f"modality-{modality}", modality) for modality in ("T1", "T2", "FLAIR", "T1c")),
    *(Arm(f"age-{age}", "T1", age_years=float(age)) for age in (30, 50, 70)),
    *(Arm(f"idh1-{idh1}", "T1c", disease="GBM", idh1=idh1) for idh1 in ("wildtype", "mutant")),
)


def explain_absence(arm: Arm, model: DiT, labels: pd.DataFrame) -> str:
    """Why an arm cannot be sampled, or '' where it can.

    labels is the label table; an arm needs a training volume that has all that it names (for an age:
    any known age), since the model has learnt nothing about the rest.
    """
    known = read_conditions(labels[labels["split"] == "train"])
    for name in CODED:
        wanted = getattr(arm, name)
        if not wanted:
            continue
        if wanted not in getattr(model.vocabularies, name):
            return f"{wanted} is no {name} that the model was configured for"
        known = known[known[name] == wanted]
        if known.empty:
            return f"no training volume has {_name(arm)}"
    if not math.isnan(arm.age_years) and known["age_years"].isna().all():
        return f"no training volume with {arm.modality} has a known age"
    return ""


def _name(arm: Arm) -> str:
    return ", ".join(f"{name} {getattr(arm, name)}" for name in CODED if getattr(arm, name))


def choose_arms(model: DiT, labels: pd.DataFrame) -> tuple[list[Arm], dict[str, str]]:
    """The arms that can be sampled, and the reasons of the others."""
    reasons = {arm.arm: explain_absence(arm, model, labels) for arm in ARMS}
    return [arm for arm in ARMS if not reasons[arm.arm]], {name: why for name, why in reasons.items() if why}


def list_samples(arms: list[Arm], n_samples: int) -> pd.DataFrame:
    """One row a sample: sample_id, arm and the six conditions."""
    columns = ["sample_id", "arm", "disease", "sex", "modality", "site", "age_years", "idh1"]
    rows = [{"sample_id": f"{arm.arm}-{i:04d}", **asdict(arm)} for arm in arms for i in range(n_samples)]
    return pd.DataFrame(rows, columns=columns).astype({"age_years": float})


def draw_start(sample_id: str, seed: int, model: DiT) -> Tensor:
    """The noise (T, d) that one sample starts from, a function of (seed, arm, index)."""
    return torch.randn(model.n_tokens, model.d, generator=training.make_generator(seed, "sample", sample_id))


@torch.no_grad()
def sample_tokens(
    model: DiT, table: pd.DataFrame, settings: DiffusionSettings, device: torch.device
) -> np.ndarray:
    """Tokens float32 (M, T, d), in token units, one for each row: Euler steps along the guided velocity."""
    codes, age_years = model.vocabularies.encode(table)
    batches = training.cut_batches(np.arange(len(table)), N_AT_ONCE)
    times = shift_times(torch.linspace(0, 1, settings.n_sampling_steps + 1), settings.time_shift).tolist()
    out = []
    for batch in track(batches, "diffusion: samples", len(batches)):
        x = torch.stack([draw_start(table["sample_id"].iloc[i], settings.seed, model) for i in batch]).to(
            device
        )
        given = codes[batch].to(device), age_years[batch].to(device)
        for now, then in pairwise(times):
            t = torch.full((len(batch),), now, device=device)
            with training.autocast(device, settings):
                velocity = model.guide(x, t, *given, settings.guidance, settings.guidance_form)
            x = x + velocity.float() * (then - now)
        out.append(model.restore(x, given[0]).cpu().numpy())
    return np.concatenate(out) if out else np.zeros((0, model.n_tokens, model.d), np.float32)


def write_samples(
    tokens: np.ndarray, table: pd.DataFrame, absent: dict[str, str], npz: Path, parquet: Path
) -> None:
    """The tokens (.npz), the table, and `<table>_absent.json` beside it: arm -> why it was not sampled."""
    from braing3n.core.contracts import write_table
    from braing3n.diffusion.contracts import SAMPLES

    with write_atomically(npz) as beside:
        np.savez(beside, tokens=tokens, sample_id=table["sample_id"].to_numpy(dtype=str))
    write_table(table, parquet, SAMPLES)
    write_if_changed(parquet.with_name(f"{parquet.stem}_absent.json"), json.dumps(absent, indent=1) + "\n")


@torch.no_grad()
def draw_samples(
    tokenizer: Tokenizer, tokens: np.ndarray, table: pd.DataFrame, path: Path, device: torch.device
) -> None:
    """A picture of the first two samples of each arm, decoded, three planes.

    Those of a T1c go through its brightest place, where an enhancing tumour is: few lie in the middle.
    """
    from braing3n.training.picture import draw_volumes, find_brightest

    chosen = table.groupby("arm", sort=False).head(2).index
    volumes, places = {}, {}
    for i in chosen:
        batch = torch.from_numpy(tokens[i : i + 1]).to(device)
        name = table.loc[i, "sample_id"]
        volumes[name] = tokenizer.decode(batch)[0, 0].float().cpu().numpy()
        if table.loc[i, "modality"] == "T1c":
            places[name] = find_brightest(volumes[name])
    with write_atomically(path) as beside:
        draw_volumes(volumes, beside, places=places)
