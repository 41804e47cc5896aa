"""The command that extracts features, of an encoder that is a few sums, in a process that may die."""

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from braing3n import encoders
from braing3n.cli import main
from braing3n.core.runtime import digest_file
from braing3n.encoders.foreign import encode_volumes
from braing3n.volumes import dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "pretrain"))
from invented import InventedVolumes

N_VOLUMES, N_AT_ONCE = 12, 2
N_BATCHES = N_VOLUMES // N_AT_ONCE


def extract(folder, n_batches=None, weights="weights", fill="replicate"):
    """Extract features, or die by SIGKILL within the batch after `n_batches`; `prepared` lists the rows."""
    torch.set_num_threads(1)
    (folder / "weights").write_text(weights)
    listed = folder / "prepared"
    listed.write_text("")

    class Listed(InventedVolumes):
        def __init__(self, *_):
            super().__init__(n=N_VOLUMES)

        def digest(self):
            return "of the list"

    def prepare(row, image, mask):
        with listed.open("a") as file:
            file.write(f"{row} ")
        if n_batches is not None and row == N_AT_ONCE * n_batches + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return image[None]

    def encode(batch):
        return torch.stack([batch.mean(dim=(1, 2, 3, 4)), batch.std(dim=(1, 2, 3, 4))], dim=1)

    def compute(volumes, settings, sections, device, part_dir):
        given = volumes, settings, device, part_dir
        return encode_volumes("openmind", prepare, encode, 2, *given, N_AT_ONCE)

    dataset.PackedVolumes, encoders.load = Listed, lambda name: SimpleNamespace(compute=compute, SECTIONS=())
    foreign = {"weights": {"openmind": str(folder / "weights")}, "channel_fill": fill}
    (folder / "latents.foreign.json").write_text(json.dumps(foreign))
    given = ["--volume-list", "list.parquet", "--volumes-dir", "volumes", "--features"]
    given += [str(folder / "features.npz"), "--settings", str(folder / "latents.foreign.json")]
    raise SystemExit(main(["latents", "features", "--name", "openmind", *given]))


def read_rows(folder):
    """The rows that the last process prepared, and the digest of the features, empty where there are none."""
    path = folder / "features.npz"
    rows = [int(row) for row in (folder / "prepared").read_text().split()]
    return rows, digest_file(path) if path.exists() else ""
