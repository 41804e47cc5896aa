"""Sample the trained DiT, arm by arm, and decode some of each arm to look at."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.contracts import write_table
from braing3n.core.runtime import track, write_atomically, write_if_changed
from braing3n.diffusion import STAGE_VERSION
from braing3n.diffusion.conditions import CODED, read_conditions
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.model import DiT, shift_times
from braing3n.diffusion.settings import SamplingSettings
from braing3n.nets.flow import Watch, integrate
from braing3n.tokenizer.model import Tokenizer


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
# What Table 2a needs beside them: two more diseases, and for each condition samples that it is null in.
CONTROL_ARMS = (
    Arm("disease-MCI", "T1", disease="MCI"),
    Arm("disease-PD", "T1", disease="PD"),
    *(Arm(f"null-{condition}", "T1") for condition in ("disease", "sex", "age")),
    Arm("null-idh1", "T1c", disease="GBM"),
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


def choose_arms(
    model: DiT, labels: pd.DataFrame, arms: Sequence[Arm] = ARMS
) -> tuple[list[Arm], dict[str, str]]:
    """The arms that can be sampled, and the reasons of the others."""
    reasons = {arm.arm: explain_absence(arm, model, labels) for arm in arms}
    return [arm for arm in arms if not reasons[arm.arm]], {name: why for name, why in reasons.items() if why}


def list_samples(arms: list[Arm], n_samples: int) -> pd.DataFrame:
    """One row a sample: sample_id, arm and the six conditions."""
    columns = ["sample_id", "arm", "disease", "sex", "modality", "site", "age_years", "idh1"]
    rows = [{"sample_id": f"{arm.arm}-{i:04d}", **asdict(arm)} for arm in arms for i in range(n_samples)]
    return pd.DataFrame(rows, columns=columns).astype({"age_years": float})


def draw_start(sample_id: str, seed: int, model: DiT) -> Tensor:
    """The noise (T, d) that one sample starts from, a function of (seed, arm, index)."""
    return torch.randn(model.n_tokens, model.d, generator=training.make_generator(seed, "sample", sample_id))


def plan_times(model: DiT, n_steps: int) -> list[float]:
    """The times of n_steps steps from noise to data, as densely near the noise as training's are."""
    return shift_times(torch.linspace(0, 1, n_steps + 1), model.settings.time_shift).tolist()


@torch.no_grad()
def sample_tokens(
    model: DiT, table: pd.DataFrame, settings: SamplingSettings, device: torch.device, watch: Watch = iter
) -> Tensor:
    """Tokens float32 (M, T, d), in token units, one for each row: steps along the guided velocity.

    A column `guidance` of the table, where there is one, stands for the settings' scale; watch passes on the
    steps.
    """
    codes, age_years = (part.to(device) for part in model.vocabularies.encode(table))
    x = torch.stack([draw_start(name, settings.seed, model) for name in table["sample_id"]]).to(device)
    guidance: float | Tensor = settings.guidance
    if "guidance" in table:
        guidance = torch.tensor(table["guidance"].to_numpy(np.float32), device=device)[:, None, None]

    def guide(x: Tensor, now: float) -> Tensor:
        t = torch.full((len(x),), now, device=device)
        with training.autocast(device, settings):
            return model.guide(x, t, codes, age_years, guidance, settings.guidance_form)

    times = plan_times(model, settings.n_steps)
    return model.restore(integrate(guide, x, times, settings.solver, watch), codes)


def write_samples(
    model: DiT,
    table: pd.DataFrame,
    settings: SamplingSettings,
    device: torch.device,
    npz: Path,
    inputs: Sequence[Path | str],
) -> np.ndarray:
    """Sample all rows of a table and write their tokens float32 (M, T, d) with their ids (.npz).

    Batches go across arms. A killed job resumes after its last whole batch.

    Args:
        inputs: what the samples are made from, as of `training.open_run_dir`.
    """
    batches = training.cut_batches(np.arange(len(table)), settings.batch_size)
    rows = {"tokens": ((model.n_tokens, model.d), np.float32)}

    def compute(rest: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        for batch in track(rest, "diffusion: samples", len(rest)):
            yield {"tokens": sample_tokens(model, table.iloc[batch], settings, device)}

    names = table["sample_id"].to_numpy(dtype=str)
    scales = table["guidance"].tolist() if "guidance" in table else []
    made_of = [STAGE_VERSION, settings.as_json(), names.tolist(), scales, *map(training.digest_input, inputs)]
    part_dir = training.choose_part_dir(npz, "samples", made_of)
    with training.grow_arrays(part_dir, rows, batches, compute) as arrays:
        tokens = np.load(arrays["tokens"])
        with write_atomically(npz) as beside:
            np.savez(beside, tokens=tokens, sample_id=names)
    return tokens


def write_table_of_samples(table: pd.DataFrame, absent: dict[str, str], parquet: Path) -> None:
    """The table, and `<table>_absent.json` beside it: arm -> why it was not sampled."""
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
