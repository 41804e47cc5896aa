"""Small volumes with planted labels, and a small encoder fine-tuned on them, here and in child processes."""

import os
import signal

import numpy as np
import pandas as pd
import torch

from braing3n import training
from braing3n.config import OptimiserSettings, PretrainSettings, ProbeSettings
from braing3n.core.contracts import write_table
from braing3n.nets.weights import load_model, write_weights
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe.contracts import READOUTS
from braing3n.probe.finetune.read import find_task, read_finetuned
from braing3n.probe.finetune.train import StartingPoint
from braing3n.probe.plan import plan_probe
from braing3n.probe.settings import FinetuneSettings

SHAPE = (8, 8, 8)
SIZES = PretrainSettings(
    patch_size=4, depth=2, width=24, n_heads=2, decoder_depth=1, decoder_width=12, decoder_n_heads=2
)
PROBE = ProbeSettings(n_halvings=3)
FINETUNE = FinetuneSettings(
    encoder_lr_scale=0.5,
    optimiser=OptimiserSettings(
        lr=4e-3,
        batch_size=15,
        n_epochs=20,
        n_warmup_epochs=2,
        checkpoint_every_steps=20,
        precision="float32",
        gradient_clip=1.0,
    ),
)


class PlantedVolumes:
    """A T1 a person, in the interface of PackedVolumes.

    Sex is how strong a pattern in one corner is, of either sign, so that no mean tells it; age is how bright
    the opposite corner is; `handedness` is nothing that is in the volume.
    """

    def __init__(self, n=80, seed=0):
        rng = np.random.default_rng(seed)
        ids = [f"p{k:03d}" for k in range(n)]
        sex, age = rng.permutation(np.arange(n) % 2), rng.uniform(20, 80, n)
        self.table = pd.DataFrame(
            {
                "volume_id": ids,
                "person_id": ids,
                "group_id": [f"g{k // 2:03d}" for k in range(n)],
                "split": "train",
                "modality": "T1",
                "sex": np.where(sex, "F", "M"),
                "age_years": age,
                "handedness": np.where(rng.random(n) < 0.5, "L", "R"),
            }
        )
        self.images = rng.normal(size=(n, *SHAPE)).astype(np.float32) * 0.3
        pattern = rng.normal(size=(4, 4, 4))
        sign = rng.choice([-1, 1], n)
        self.images[:, :4, :4, :4] += (sign * np.where(sex, 1.0, 0.3))[:, None, None, None] * pattern
        self.images[:, 4:, 4:, 4:] += ((age - 50) / 20)[:, None, None, None]

    def __len__(self):
        return len(self.images)

    @property
    def shape(self):
        return SHAPE

    def load(self, i):
        return self.images[i], np.ones(SHAPE, bool)

    def load_levels(self, i, out):
        out[...] = 0
        return np.arange(out.size), self.images[i].ravel()

    def digest(self):
        return "of the planted volumes"


def start_from(volumes, folder):
    """An encoder with random weights, and its mean tokens of the volumes."""
    path = folder / "mae.safetensors"
    torch.manual_seed(0)
    net = MaskedAutoencoder(SIZES, SHAPE)
    write_weights(path, net.state_dict(), "MaskedAutoencoder", net.describe())
    with torch.no_grad():
        tokens = load_model(MaskedAutoencoder, path).encode(torch.from_numpy(volumes.images)[:, None])
    return StartingPoint(path, volumes, volumes.digest(), tokens.mean(dim=1).double().numpy(), PROBE)


def plan(key, volumes):
    return plan_probe(find_task(key), "all", volumes.table, PROBE)


def finetune(folder, key="sex", volumes=None, **options):
    """Fine-tune on one task in `folder`, with `options` in place of FINETUNE's; the path of its table."""
    torch.set_num_threads(1)
    volumes = volumes or PlantedVolumes()
    settings = FINETUNE.model_copy(update={"optimiser": FINETUNE.optimiser.model_copy(update=options)})
    source = start_from(volumes, folder)
    table = read_finetuned(plan(key, volumes), source, PROBE, settings, folder / "checkpoints")
    write_table(table, folder / f"finetuned_{key}.parquet", READOUTS)
    return folder / f"finetuned_{key}.parquet"


def finetune_and_die(folder, number, **options):
    """The same in a process that ends by SIGKILL within the step of this number, counted over all folds."""
    update, done = training.update, []

    def update_or_die(*given):
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(given[-1])
        update(*given)

    training.update = update_or_die
    finetune(folder, **options)
