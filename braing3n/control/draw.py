"""Draw what control needs beside the run's samples: more arms, guidance scales, one noise under every arm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.control.contracts import SWEPT
from braing3n.control.contrasts import SCALED
from braing3n.control.counterfactuals import change_people
from braing3n.control.evaluate import Real
from braing3n.control.settings import ControlSettings, ScalesSettings
from braing3n.core.contracts import read_table, write_table
from braing3n.core.errors import ContractError
from braing3n.core.runtime import write_atomically
from braing3n.core.settings import Settings, parse_section
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.model import DiT
from braing3n.diffusion.sample import (
    CONTROL_ARMS,
    Arm,
    choose_arms,
    list_samples,
    sample_tokens,
    write_samples,
    write_table_of_samples,
)
from braing3n.diffusion.settings import SamplingSettings
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import load_model
from braing3n.probe.settings import ProbeSettings
from braing3n.tokenizer.model import Tokenizer

ONE_NOISE = "one-noise"  # the id that every sample of the picture has, and its noise from it
FILES = {
    "labels": "manifest/labels.parquet",
    "tokens": "latents/tokens.npy",
    "features": "latents/features_mae.npz",
    "encoder": "pretrain/mae.safetensors",
    "tokenizer": "tokenizer/tokenizer.safetensors",
    "dit": "diffusion/dit.safetensors",
    "samples": "diffusion/samples.npz",
    "more": "control/samples.npz",
    "swept": "control/swept.npz",
    "changed": "control/changed.npz",
    "one_noise": "control/one_noise.png",
}


def locate(results: Path, name: str) -> Path:
    """One of the run's files; a table of samples lies beside their tokens."""
    return results / FILES[name]


def read_sections(results: Path) -> tuple[ControlSettings, SamplingSettings, ProbeSettings]:
    """The settings of control, of the run's samples and of probes."""
    kinds: dict[str, type[Settings]] = {
        "control": ControlSettings,
        "diffusion.sampling": SamplingSettings,
        "probe": ProbeSettings,
    }
    control, sampling, probe = (
        parse_section(kind, results / "settings" / f"{name}.json") for name, kind in kinds.items()
    )
    return control, sampling, probe


def open_tokens(results: Path, labels: pd.DataFrame) -> np.ndarray:
    """The cached tokens (N, T, d) of the labels' volumes, left on disk.

    Raises:
        ContractError: there are more or fewer.
    """
    path = locate(results, "tokens")
    tokens = np.load(path, mmap_mode="r")
    if len(tokens) != len(labels):
        raise ContractError(f"{path}: its rows are not those of the label table; rerun the latents stage.")
    return tokens


def is_own(scale: float, scales: ScalesSettings, sampling: SamplingSettings) -> bool:
    """Whether the run's own samples are those of a scale, so that it is not drawn again."""
    return scale == sampling.guidance and scales.n_steps == sampling.n_steps


def list_swept(arms: list[Arm], scales: ScalesSettings, sampling: SamplingSettings) -> pd.DataFrame:
    """Samples of every scale that the run does not have: those of one arm and number start from one noise."""
    names = {name for contrast in SCALED for name in contrast.arms}
    table = list_samples([arm for arm in arms if arm.arm in names], scales.n_samples)
    drawn = [table.assign(guidance=scale) for scale in scales.guidance if not is_own(scale, scales, sampling)]
    return pd.concat(drawn, ignore_index=True) if drawn else table[:0].assign(guidance=0.0)


def draw_all(
    results: Path, settings: ControlSettings, sampling: SamplingSettings, probe: ProbeSettings
) -> None:
    """Sample, change people, and write tokens, tables and the picture of one noise under every arm.

    A killed job resumes with its samples, or the people that it changes, where it was.
    """
    device, scales = training.open_accelerator().device, settings.scales
    weights, more, swept_path = (locate(results, name) for name in ("dit", "more", "swept"))
    model = load_model(DiT, weights).to(device)
    labels = read_table(locate(results, "labels"), LABELS)
    arms, absent = choose_arms(model, labels, CONTROL_ARMS)
    table = list_samples(arms, sampling.n_samples)
    write_samples(model, table, sampling, device, more, [weights])
    write_table_of_samples(table, absent, more.with_suffix(".parquet"))
    run_arms, _ = choose_arms(model, labels)
    swept = list_swept(run_arms, scales, sampling)
    options = sampling.model_copy(update={"n_steps": scales.n_steps})
    write_samples(model, swept, options, device, swept_path, [weights])
    write_table(swept, swept_path.with_suffix(".parquet"), SWEPT)
    real, cached = Real.of(labels, settings, probe), open_tokens(results, labels)
    inputs = [weights, locate(results, "tokenizer"), locate(results, "labels")]
    changed_path = locate(results, "changed")
    change_people(model, cached, real, settings.counterfactuals, sampling, changed_path, inputs)
    tokenizer = load_model(Tokenizer, locate(results, "tokenizer")).to(device)
    draw_one_noise(model, tokenizer, [*run_arms, *arms], options, device, locate(results, "one_noise"))


@torch.no_grad()
def draw_one_noise(
    model: DiT,
    tokenizer: Tokenizer,
    arms: list[Arm],
    options: SamplingSettings,
    device: torch.device,
    path: Path,
) -> None:
    """A picture of one noise under every arm, decoded: one condition at a time (the paper's Figure 3)."""
    from braing3n.training.picture import draw_volumes

    shown = [arm for arm in arms if not arm.arm.startswith("null-")]
    shown = sorted(shown, key=lambda arm: arm.arm.split("-")[0])
    table = list_samples(shown, 1).assign(sample_id=ONE_NOISE)
    images = []
    for batch in training.cut_batches(np.arange(len(table)), options.batch_size):
        tokens = sample_tokens(model, table.iloc[batch], options, device)
        images += [tokenizer.decode(one[None])[0, 0].float().cpu().numpy() for one in tokens]
    with write_atomically(path) as beside:
        draw_volumes(dict(zip(table["arm"], images, strict=True)), beside)


def read_samples(
    results: Path, sampling: SamplingSettings, scales: ScalesSettings
) -> tuple[np.ndarray, pd.DataFrame, dict[str, str]]:
    """All samples, the run's and control's: tokens (M, T, d), their table, and why arms are absent.

    The table has `guidance`, `is_main` (of Table 2a) and `is_scaled` (of Table 7).
    """
    has_own = any(is_own(scale, scales, sampling) for scale in scales.guidance)
    run, more, swept = paths = [locate(results, name) for name in ("samples", "more", "swept")]
    tables, absent = [], dict[str, str]()
    for path in (run, more):
        absent |= json.loads(path.with_name(f"{path.stem}_absent.json").read_text())
        known = read_table(path.with_suffix(".parquet"), SAMPLES)
        tables.append(known.assign(guidance=sampling.guidance, is_main=True, is_scaled=has_own))
    scaled = read_table(swept.with_suffix(".parquet"), SWEPT)
    tables.append(scaled.assign(is_main=False, is_scaled=True))
    tokens = np.concatenate([np.load(path)["tokens"] for path in paths])
    return tokens, pd.concat(tables, ignore_index=True), absent
