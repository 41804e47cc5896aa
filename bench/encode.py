"""`braing3n encode` of one SRI24 scan with models of the paper's size, on this machine.

A model folder is written with random weights and invented people, and a ball at 1 mm is encoded by the
command, as a user would. Beside it one bare forward pass of the same encoder, in this process: the ratio is
what reading weights, checking digests and writing tables cost. First the median seconds of
`braing3n --help`. Exits 1 above 30 s or 6 GB, or half a second of help.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from machine import describe_processor  # noqa: E402

from braing3n.core.runtime import count_cpus, set_threads  # noqa: E402

set_threads(count_cpus())  # before torch is loaded

import torch  # noqa: E402
from sample import GRID, D, build_dit  # noqa: E402

from braing3n.config import Config  # noqa: E402
from braing3n.core.bids import derivative_path  # noqa: E402
from braing3n.export.folder import find_sources, write_folder  # noqa: E402
from braing3n.longitudinal.model import Bridge  # noqa: E402
from braing3n.manifest.contracts import LABELS  # noqa: E402
from braing3n.nets.weights import load_model, write_weights  # noqa: E402
from braing3n.preprocess.space.grid import Grid, encode_affine, encode_nifti  # noqa: E402
from braing3n.pretrain.model import MaskedAutoencoder  # noqa: E402
from braing3n.probe.beside.rivals import probe_rivals  # noqa: E402
from braing3n.probe.compare import Readings, compare_encoders, probe_encoder  # noqa: E402
from braing3n.probe.plan import plan_probes  # noqa: E402
from braing3n.tokenizer.model import Tokenizer  # noqa: E402

MAX_SECONDS, MAX_GB, MAX_HELP_SECONDS = 30.0, 6.0, 0.5
N_HELP = 7
N_PEOPLE = 60
GRID_MM = Grid((240, 240, 155), 1.0, (0.0, -239.0, 0.0))  # SRI24's box
CONFIG = Config()


def invent_people(folder: Path) -> None:
    """Label table, features and probes of invented people."""
    rng = np.random.default_rng(0)
    names = [f"lab_sub-{i:02d}_T1" for i in range(N_PEOPLE)]
    labels = pd.DataFrame({"volume_id": names, "person_id": names, "group_id": names, "cohort": "lab"})
    labels["subject_id"] = [f"{i:02d}" for i in range(N_PEOPLE)]
    labels["modality"], labels["split"] = "T1", "train"
    labels["age_years"], labels["sex"] = rng.uniform(20, 80, N_PEOPLE), rng.choice(["F", "M"], N_PEOPLE)
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    labels = labels[list(LABELS)]
    features = rng.normal(size=(N_PEOPLE, CONFIG.pretrain.width))
    labels.to_parquet(folder / "labels.parquet")
    np.savez(folder / "features.npz", volume_id=np.array(names), features=features)
    predictions, halves = probe_encoder("mae", features, labels, CONFIG.probe)
    plans = plan_probes(labels, CONFIG.probe)
    scores, _ = compare_encoders(Readings([predictions], [halves]), plans, CONFIG.probe)
    scores.to_parquet(folder / "scores.parquet")
    probe_rivals(labels, plans, CONFIG.probe).to_parquet(folder / "rivals.parquet")
    predictions.to_parquet(folder / "predictions.parquet")


def build_models() -> dict[str, torch.nn.Module]:
    """The paper's models with random weights."""
    width = CONFIG.pretrain.width
    return {
        "encoder": MaskedAutoencoder(CONFIG.pretrain, CONFIG.volumes.shape),
        "tokenizer": Tokenizer(CONFIG.tokenizer, width, CONFIG.pretrain.patch_size, GRID),
        "dit": build_dit(),
        "bridge": Bridge(CONFIG.longitudinal, D, GRID),
    }


def write_model_folder(folder: Path) -> Path:
    """A model folder of the paper's size."""
    invent_people(folder)
    sources = find_sources(folder)
    for name, model in build_models().items():
        path = folder / f"{name}.safetensors"
        write_weights(path, model.state_dict(), type(model).__name__, model.describe())
        sources = replace(sources, **{name: path})
    tables = {name: folder / f"{name}.parquet" for name in ("labels", "scores", "rivals", "predictions")}
    sources = replace(sources, **tables, features=folder / "features.npz")
    sections = {
        "preprocess": CONFIG.preprocess,
        "volumes": CONFIG.volumes,
        "sampling": CONFIG.diffusion.sampling,
        "forecast": CONFIG.longitudinal.forecast,
        "probe": CONFIG.probe,
    }
    write_folder(sources, CONFIG.export, sections, folder / "export")
    return folder / "export"


def write_scan(folder: Path) -> Path:
    """A preprocessed visit in SRI24's box at 1 mm: a ball with a gradient, and its mask."""
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID_MM.shape), indexing="ij"))
    mask = (places**2).sum(axis=0) < 0.35
    image = np.where(mask, 3 + places[0] + 0.3 * places[1], 0).astype(np.float32)
    files = {
        "preproc": encode_nifti(image, GRID_MM),
        "mask": encode_nifti(mask.astype(np.uint8), GRID_MM),
        "inverse_xfm": encode_affine(np.eye(4)),
    }
    for kind, content in files.items():
        path = derivative_path(folder / "scans", "lab", "07", "1", "", "T1", kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "scans" / "lab"


def clock_help() -> float:
    """Median seconds of the program's help, a process of its own each time, after a first."""
    spent = []
    for _ in range(1 + N_HELP):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "braing3n", "--help"], check=True, capture_output=True, cwd=ROOT
        )
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


@torch.no_grad()
def clock_forward(model_path: Path) -> float:
    """Seconds of one bare forward pass of the encoder, after a first."""
    encoder = load_model(MaskedAutoencoder, model_path)
    volume, seconds = torch.randn(1, 1, *CONFIG.volumes.shape), 0.0
    for _ in range(2):
        start = time.perf_counter()
        encoder.encode(volume)
        seconds = time.perf_counter() - start
    return seconds


def main() -> int:
    """Write the folder, run the command, print seconds, memory and the ratio."""
    print(describe_processor(), flush=True)
    help_seconds = clock_help()
    print(f"braing3n --help: {help_seconds:.2f} s (at most {MAX_HELP_SECONDS:g})", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model, scan = write_model_folder(folder), write_scan(folder)
        command = [sys.executable, "-m", "braing3n", "encode", scan, "--model", model, "-o", folder / "out"]
        start = time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, cwd=ROOT)
        seconds = time.perf_counter() - start
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        report = json.loads(next((folder / "out").rglob("*.json")).read_text())
        print(f"written: {', '.join(sorted(report))}")
        forward = clock_forward(model / "encoder.safetensors")
    print(f"encode: {seconds:.1f} s (at most {MAX_SECONDS:g}), peak {peak_gb:.1f} GB (at most {MAX_GB:g})")
    print(f"ratio to a bare forward pass of {forward:.1f} s: {seconds / forward:.2f}")
    is_met = seconds <= MAX_SECONDS and peak_gb <= MAX_GB and help_seconds <= MAX_HELP_SECONDS
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
