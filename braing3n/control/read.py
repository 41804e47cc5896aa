"""The job that reads samples: features of what they decode to, their latents, and every table of control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from braing3n.control.contracts import CONTROL, COUNTERFACTUALS, GUIDANCE, JUDGED, USEFULNESS
from braing3n.control.contrasts import Space, choose_ceiling
from braing3n.control.counterfactuals import draw_counterfactuals, measure_axioms, read_changed
from braing3n.control.draw import locate, open_tokens, read_samples
from braing3n.control.evaluate import Real, measure_control
from braing3n.control.judge import choose_real, decode_coarsely, judge_samples
from braing3n.control.picture import draw_control
from braing3n.control.settings import ControlSettings
from braing3n.control.usefulness import NETWORK, choose_seen, measure_usefulness, plan_tasks
from braing3n.core.contracts import read_table, write_table
from braing3n.core.runtime import write_atomically
from braing3n.diffusion.contracts import SAMPLES
from braing3n.diffusion.settings import SamplingSettings
from braing3n.fidelity.coarse import CoarseVolumes, write_coarse
from braing3n.fidelity.encode import Watcher, encode_decoded
from braing3n.fidelity.settings import FidelitySettings
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import load_model
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe.plan import load_features
from braing3n.probe.settings import ProbeSettings
from braing3n.tokenizer.model import Tokenizer
from braing3n.training import open_accelerator


class Decoder:
    """Decodes tokens (n, T, d) to images, and encodes these again.

    Args:
        encoder, tokenizer: weight files.
    """

    def __init__(self, encoder: Path, tokenizer: Path, settings: ControlSettings):
        self.device = open_accelerator().device
        self.encoder = load_model(MaskedAutoencoder, encoder).to(self.device)
        self.tokenizer = load_model(Tokenizer, tokenizer).to(self.device)
        self.options = FidelitySettings(batch_size=settings.batch_size, precision=settings.precision)

    def encode(
        self, tokens: np.ndarray, rows: np.ndarray | None = None, watchers: Sequence[Watcher] = ()
    ) -> np.ndarray:
        """Features (n, F) of the volumes that all tokens, or some rows of them, decode to."""
        rows = np.arange(len(tokens)) if rows is None else rows
        models = self.encoder, self.tokenizer
        return encode_decoded(tokens, rows, *models, self.options, "control: encoded", watchers)

    @torch.no_grad()
    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Images (n, D, H, W), one at a time."""
        images = [self.tokenizer.decode(torch.from_numpy(one[None]).to(self.device))[0, 0] for one in tokens]
        return torch.stack(images).float().cpu().numpy()


def list_others(samples: pd.DataFrame, n_own: int) -> np.ndarray:
    """Rows of the samples of MCI and PD, which the memorization audit sees beside the run's own n_own."""
    is_other = samples["is_main"] & ~samples["arm"].str.startswith("null-")
    rows = np.flatnonzero(is_other)
    return rows[rows >= n_own]


def read_all(
    results: Path, settings: ControlSettings, sampling: SamplingSettings, probe: ProbeSettings
) -> None:
    """Read samples and counterfactuals with probes of real people, and write tables and pictures."""
    labels, out = read_table(locate(results, "labels"), LABELS), results / "control"
    cached, features = open_tokens(results, labels), load_features(locate(results, "features"), labels)
    model = Decoder(locate(results, "encoder"), locate(results, "tokenizer"), settings)
    real = Real.of(labels, settings, probe)

    tokens, samples, absent = read_samples(results, sampling, settings.scales)
    table = read_table(results / "diffusion/samples.parquet", SAMPLES)
    others = CoarseVolumes(list_others(samples, len(table)))
    chosen = choose_ceiling(real.conditions, labels, settings.n_ceiling, settings.seed)
    round_trip = np.full(features.shape, np.nan, np.float32)
    round_trip[chosen] = model.encode(cached, chosen)
    flat = [part.reshape(len(part), -1) for part in (cached, tokens)]
    spaces = [
        Space("encoder", features, model.encode(tokens, watchers=[others]), round_trip),
        Space("latent", flat[0], flat[1], has_pca=True, n_most=settings.n_latents),
    ]
    others.rows = [row - len(table) for row in others.rows]
    write_coarse({"samples": others}, out / "decoded.npz")
    scores, guidance = measure_control(spaces, samples, absent, real)
    write_table(scores, out / "scores.parquet", CONTROL)
    write_table(guidance, out / "guidance.parquet", GUIDANCE)
    draw_control(scores, guidance, out / "scores.png")

    options = settings.counterfactuals
    changed = read_changed(locate(results, "changed"), cached, real, options)
    axioms = measure_axioms(changed, cached, features, real, options, model.decode, model.encode)
    write_table(axioms, out / "counterfactuals.parquet", COUNTERFACTUALS)
    with write_atomically(out / "counterfactuals.png") as beside:
        draw_counterfactuals(changed, model.decode, beside)

    tasks = plan_tasks(real, samples)
    seen = choose_seen(tasks, samples, real)
    rows = choose_real(labels, probe.seed)
    every = np.union1d(rows, seen[0]), np.union1d(np.arange(len(table)), seen[1])
    coarse, drawn = (
        decode_coarsely(model.tokenizer, part[chosen], model.device)
        for part, chosen in zip((cached, tokens), every, strict=True)
    )
    useful = [measure_usefulness(spaces[0], samples, real, tasks)]
    if settings.usefulness.network.n_draws:
        images = Space("image", coarse[np.isin(every[0], seen[0])], drawn[np.isin(every[1], seen[1])])
        own = Real.of(labels.iloc[seen[0]], settings, probe)
        useful.append(measure_usefulness(images, samples.iloc[seen[1]], own, tasks, NETWORK))
    write_table(pd.concat(useful, ignore_index=True), out / "usefulness.parquet", USEFULNESS)
    judged = judge_samples(
        coarse[np.isin(every[0], rows)], labels.iloc[rows], drawn[: len(table)], table, probe
    )
    write_table(judged, out / "judged.parquet", JUDGED)
