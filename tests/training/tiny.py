"""Tiny models of every kind, trained on invented volumes, here and in child processes."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tensorboardX.proto.event_pb2 import Event

from braing3n import training
from braing3n.config import (
    DiffusionSettings,
    LongitudinalSettings,
    OptimiserSettings,
    PretrainSettings,
    TokenizerSettings,
)
from braing3n.core.contracts import MODALITIES
from braing3n.diffusion import sample as sampling
from braing3n.diffusion.conditions import Vocabularies
from braing3n.diffusion.model import DiT
from braing3n.diffusion.train import Latents, train_dit
from braing3n.longitudinal.train import Ends, train_bridge
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.train import train_encoder
from braing3n.sweep.baselines.akl import AutoencoderKLSettings
from braing3n.sweep.train import train_baseline
from braing3n.tokenizer.train import train_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes

OPTIMISER = OptimiserSettings(
    lr=1e-3,
    batch_size=4,
    n_epochs=12,
    n_warmup_epochs=2,
    checkpoint_every_steps=5,
    validate_every_epochs=4,
    precision="float32",
    gradient_clip=1.0,
)
SIZES = {
    "mae": PretrainSettings(
        patch_size=4, depth=2, width=12, n_heads=2, decoder_depth=1, decoder_width=12, decoder_n_heads=2
    ),
    "tokenizer": TokenizerSettings(d=3, widths=(8, 4), n_blocks=1, patience=99),
    "akl": AutoencoderKLSettings(channels=(8, 8), latent_channels=2, n_res_blocks=1, patience=99),
    "bridge": LongitudinalSettings(depth=1, width=16, n_heads=2),
    "dit": DiffusionSettings(depth=1, width=16, n_heads=2, diseases=("HC", "AD"), n_sites=2),
}
KINDS = tuple(SIZES)
N_BATCHES = 8  # of samples


def train(kind, folder, volumes=None, **options):
    """Train one model in `folder`, with `options` in place of OPTIMISER's; the path of its weights."""
    torch.set_num_threads(1)
    settings = SIZES[kind].model_copy(update={"optimiser": OPTIMISER.model_copy(update=options)})
    volumes, source = volumes or InventedVolumes(), folder / "list"
    source.write_text("what is trained on")
    given = settings, folder / "runs", folder / f"{kind}.safetensors", [source]
    if kind == "mae":
        train_encoder(volumes, *given)
    elif kind == "tokenizer":
        torch.manual_seed(0)
        encoder = MaskedAutoencoder(SIZES["mae"], volumes.shape).eval().requires_grad_(False)
        train_tokenizer(volumes, encoder, *given)
    elif kind == "akl":
        train_baseline("akl", volumes, *given)
    elif kind == "bridge":
        tokens = np.random.default_rng(0).normal(size=(2 * len(volumes), 8, 3)).astype(np.float16)
        pairs = volumes.table.assign(
            later_volume_id=volumes.table["volume_id"] + "-later", years=1.0, cdr=0.0
        )
        pairs["disease"] = np.where(pairs["sex"] == "F", "HC", "AD")
        volume_ids = pd.concat([pairs["volume_id"], pairs["later_volume_id"]], ignore_index=True)
        train_bridge(Ends(tokens, (2, 2, 2), pairs, volume_ids), *given)
    else:
        tokens = np.random.default_rng(0).normal(size=(len(volumes), 8, 3)).astype(np.float16)
        train_dit(Latents(tokens, (2, 2, 2), volumes.table.assign(idh1="")), *given)
    return given[2]


def train_and_die(kind, folder, step):
    """The same in a process that ends by SIGKILL within `step`."""
    update = training.update

    def update_or_die(run, optimiser, model, n):
        if n == step:
            os.kill(os.getpid(), signal.SIGKILL)
        update(run, optimiser, model, n)

    training.update = update_or_die
    train(kind, folder)


def sample(folder, n_batches=None):
    """Sample a random DiT in batches, or die by SIGKILL within the batch after `n_batches`; the path."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = Vocabularies(("HC", "AD"), ("F", "M"), MODALITIES, ("a", "b"), ("wildtype", "mutant"))
    model, start = DiT(SIZES["dit"], words, 3, (2, 2, 2)).eval(), sampling.draw_start
    drawn = []

    def draw_or_die(*given):
        drawn.append(given)
        if n_batches is not None and len(drawn) > 2 * n_batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return start(*given)

    sampling.draw_start = draw_or_die
    table = sampling.list_samples([sampling.Arm("all", "T1")], 2 * N_BATCHES)
    settings = SIZES["dit"].sampling.model_copy(update={"batch_size": 2, "n_steps": 3})
    (folder / "w").write_text("weights")
    sampling.write_samples(
        model, table, settings, torch.device("cpu"), folder / "samples.npz", [folder / "w"]
    )
    return folder / "samples.npz"


def read_losses(folder):
    """(step, loss, validation loss or NaN) of the one run in a folder."""
    (path,) = Path(folder).glob("runs/*/loss.csv")
    return np.genfromtxt(path, delimiter=",", skip_header=1)


def read_events(run_dir):
    """TensorBoard's events of a run, those of the first process first."""
    events = []
    for path in sorted((run_dir / "tensorboard").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):  # length (8 bytes), its checksum (4), record, its checksum (4)
            n = int.from_bytes(content[at : at + 8], "little")
            events.append(Event.FromString(content[at + 12 : at + 12 + n]))
            at += n + 16
    return events
