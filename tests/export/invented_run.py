"""A small invented run of tiny models, and its model folder."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from braing3n.config import (
    DiffusionSettings,
    ExportSettings,
    LongitudinalSettings,
    PreprocessSettings,
    PretrainSettings,
    ProbeSettings,
    TokenizerSettings,
    VolumesSettings,
)
from braing3n.core.contracts import MODALITIES
from braing3n.diffusion.conditions import Vocabularies
from braing3n.diffusion.model import DiT
from braing3n.export.folder import find_sources, write_folder
from braing3n.longitudinal.model import Bridge
from braing3n.manifest.contracts import LABELS
from braing3n.nets.weights import write_weights
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe.beside.rivals import probe_rivals
from braing3n.probe.compare import Readings, compare_encoders, probe_encoder
from braing3n.probe.plan import plan_probes
from braing3n.tokenizer.model import Tokenizer

SHAPE, WIDTH, D, GRID = (16, 24, 16), 24, 4, (2, 3, 2)
ENCODER = PretrainSettings(
    patch_size=8, depth=1, width=WIDTH, n_heads=2, decoder_depth=1, decoder_width=24, decoder_n_heads=2
)
PROBE = ProbeSettings(min_class_people=5)


def make_labels():
    """Label rows of 90 people, and features (90, WIDTH) in which age, sex and disease are planted."""
    rng = np.random.default_rng(0)
    n = 90
    known = {
        "volume_id": [f"lab_sub-{i:02d}_T1" for i in range(n)],
        "cohort": "lab",
        "subject_id": [f"{i:02d}" for i in range(n)],
        "modality": "T1",
        "person_id": [f"lab/{i:02d}" for i in range(n)],
        "group_id": [f"lab/{i:02d}" for i in range(n)],
        "split": rng.permutation(["train"] * 60 + ["validation"] * 15 + ["test"] * 15),
        "age_years": rng.uniform(20, 80, n).round(2),
        "sex": rng.choice(["F", "M"], n),
        "dx": rng.choice(["HC", "AD", "PD"], n),
        "site": "lab/one",
    }
    labels = pd.DataFrame(known)
    for name, (kind, _) in LABELS.items():
        if name not in labels:
            labels[name] = "" if kind is str else np.nan
    features = rng.normal(size=(n, WIDTH))
    features[:, 0] += (labels["age_years"] - 50) / 10
    features[:, 1] += 2.0 * (labels["sex"] == "F")
    features[:, 2] += 2.0 * (labels["dx"] == "AD")
    return labels[list(LABELS)], features


def write_models(folder, sites=("lab/one",)):
    """Weight files of tiny models with random weights."""
    torch.manual_seed(0)
    words = Vocabularies(("HC", "AD"), ("F", "M"), MODALITIES, sites, ("wildtype", "mutant"))
    sizes = {"depth": 1, "width": 24, "n_heads": 2}
    models = {
        "encoder": MaskedAutoencoder(ENCODER, SHAPE),
        "tokenizer": Tokenizer(TokenizerSettings(d=D, widths=(8, 8, 4), n_blocks=1), WIDTH, 8, GRID),
        "dit": DiT(DiffusionSettings(**sizes, diseases=("HC", "AD"), n_sites=len(sites)), words, D, GRID),
        "bridge": Bridge(LongitudinalSettings(**sizes), D, GRID),
    }
    for name, model in models.items():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.05)
        record = model.describe()
        write_weights(folder / f"{name}.safetensors", model.state_dict(), type(model).__name__, record)
    return models


def export(folder, out):
    """The model folder of an invented run."""
    names = ("encoder", "tokenizer", "dit", "bridge")
    sources = replace(
        find_sources(folder),
        **{name: folder / f"{name}.safetensors" for name in names},
        **{name: folder / f"{name}.parquet" for name in ("labels", "scores", "rivals", "predictions")},
        features=folder / "features.npz",
    )
    sampling = DiffusionSettings().sampling.model_copy(update={"n_steps": 6, "precision": "float32"})
    sections = {
        "preprocess": PreprocessSettings(spacing_mm=8.0),
        "volumes": VolumesSettings(shape=SHAPE, spacing_mm=8.0),
        "sampling": sampling,
        "forecast": LongitudinalSettings().forecast.model_copy(update={"n_steps": 4, "precision": "float32"}),
        "probe": PROBE,
    }
    write_folder(sources, ExportSettings(n_components=8), sections, out)


def make_run(folder):
    """Probes and the model folder of tiny models, whose files are written into a folder."""
    labels, features = make_labels()
    write_models(folder)
    labels.to_parquet(folder / "labels.parquet")
    np.savez(folder / "features.npz", volume_id=labels["volume_id"].to_numpy(str), features=features)
    predictions, halves = probe_encoder("mae", features, labels, PROBE)
    noise = np.random.default_rng(1).normal(size=features.shape)
    others = probe_encoder("untrained", noise, labels, PROBE)
    none = probe_encoder("voxels", np.empty((len(labels), 0)), labels, PROBE, "no weights")
    readings = Readings([predictions, others[0], none[0]], [halves, others[1], none[1]])
    probes = plan_probes(labels, PROBE)
    scores, _ = compare_encoders(readings, probes, PROBE)
    scores.to_parquet(folder / "scores.parquet")
    probe_rivals(labels, probes, PROBE).to_parquet(folder / "rivals.parquet")
    predictions.to_parquet(folder / "predictions.parquet")
    export(folder, folder / "export")
