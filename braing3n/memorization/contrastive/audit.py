"""The audit on codes of the contrastive copy detector, in the form of the audit on latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braing3n import training
from braing3n.core.runtime import digest_file
from braing3n.fidelity.coarse import halve
from braing3n.memorization import STAGE_VERSION
from braing3n.memorization.audit import audit_samples
from braing3n.memorization.contrastive.model import CopyNet, build_untrained
from braing3n.memorization.contrastive.train import WORD, CoarseSource, train_copy_net
from braing3n.memorization.planted import ask_detector
from braing3n.memorization.settings import ContrastiveSettings, MemorizationSettings
from braing3n.nets.weights import load_model

N_BATCH = 64
TRAINED, UNTRAINED = "contrastive detector", "contrastive detector, untrained"
VOXELS = "L2 of voxels of 8 mm"


@dataclass(frozen=True)
class Detector:
    """The trained network, its rivals, and what each makes of the run's volumes.

    Attributes:
        nets: by name, the trained network and the untrained one.
        known: by the name of a detector, an array (N, D) on disk, rows in the volume list's order.
    """

    nets: dict[str, CopyNet]
    known: dict[str, np.ndarray]

    def describe(self, name: str, volumes: np.ndarray) -> np.ndarray:
        """What a detector makes of volumes (n, d, h, w) on voxels of about 4 mm: (n, D)."""
        if name == VOXELS:
            rows = [halve(volume.astype(np.float32)).ravel() for volume in volumes]
            return np.array(rows, np.float32).reshape(len(volumes), self.known[name].shape[1])
        return encode(self.nets[name], volumes)


@contextmanager
def open_detector(
    source: CoarseSource, settings: ContrastiveSettings, checkpoints_dir: Path, weights_path: Path
) -> Iterator[Detector]:
    """Train the detector, unless done, and read every volume once; a killed job resumes where it was."""
    train_copy_net(source, settings, checkpoints_dir, weights_path)
    device = training.open_accelerator().device
    nets = {TRAINED: load_model(CopyNet, weights_path), UNTRAINED: build_untrained(settings).eval()}
    nets = {name: net.to(device) for name, net in nets.items()}
    batches = training.cut_batches(np.arange(len(source.table)), N_BATCH)
    first = next(source.read([batches[0][:1]], device))
    rows: dict[str, tuple[tuple[int, ...], type]] = {
        **dict.fromkeys(nets, ((settings.n_numbers,), np.float32)),
        VOXELS: ((first.numel(),), np.float16),
    }

    def compute(left: list[np.ndarray]) -> Iterator[dict[str, Tensor]]:
        for volume in source.read(left, device):
            yield {name: net(volume) for name, net in nets.items()} | {VOXELS: volume.flatten(1)}

    made_of = [STAGE_VERSION, digest_file(weights_path), source.digest]
    part_dir = training.choose_part_dir(weights_path, WORD, made_of)
    with training.grow_arrays(part_dir, rows, batches, compute) as paths:
        yield Detector(nets, {name: np.load(path, mmap_mode="r") for name, path in paths.items()})


@torch.no_grad()
def encode(net: CopyNet, volumes: np.ndarray) -> np.ndarray:
    """Codes (n, n_numbers) of volumes (n, d, h, w) on voxels of about 4 mm."""
    device = next(net.parameters()).device
    codes = [np.zeros((0, net.settings.n_numbers), np.float32)]
    for start in range(0, len(volumes), N_BATCH):
        block = [halve(volume.astype(np.float32)) for volume in volumes[start : start + N_BATCH]]
        codes.append(net(torch.from_numpy(np.stack(block))[:, None].to(device)).cpu().numpy())
    return np.concatenate(codes)


def audit_codes(
    detector: Detector,
    volume_list: pd.DataFrame,
    samples: np.ndarray,
    sample_table: pd.DataFrame,
    settings: MemorizationSettings,
    more: dict[str, tuple[np.ndarray, pd.DataFrame]],
) -> pd.DataFrame:
    """The audit's table, of distances between codes; the threshold is the percentile of held-out people.

    Training volumes were driven apart from each other, so their distances are no measure of new people's.

    Args:
        samples, more: as of `audit_samples`, volumes (n, d, h, w) on voxels of about 4 mm, not latents.
    """
    net = detector.nets[TRAINED]
    codes = {name: (encode(net, volumes), items) for name, (volumes, items) in more.items()}
    known, asked = detector.known[TRAINED], encode(net, samples)
    return audit_samples(known, volume_list, asked, sample_table, settings, codes, "held-out-real")


def ask_detectors(
    detector: Detector, volume_list: pd.DataFrame, volumes: np.ndarray, planted: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """What the trained network and its rivals find of planted copies, see `ask_detector`."""
    names: Sequence[str] = list(detector.known)
    return {
        name: ask_detector(detector.known[name], volume_list, detector.describe(name, volumes), planted, name)
        for name in names
    }
