"""Write a run's model folder: its weights, probes, statistics, configuration and card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from braing3n import __version__, training
from braing3n.core.contracts import read_table
from braing3n.core.errors import BrainG3nError
from braing3n.core.runtime import write_atomically
from braing3n.core.settings import Settings
from braing3n.diffusion.model import DiT
from braing3n.export import files
from braing3n.export.probes import fit_probes, pack_probes
from braing3n.export.rivals import compare_rivals
from braing3n.export.settings import ExportSettings
from braing3n.export.statistics import describe_follow_up, describe_population, measure_space
from braing3n.longitudinal.contracts import PAIRS
from braing3n.longitudinal.model import Bridge
from braing3n.manifest.contracts import LABELS
from braing3n.manifest.withdrawn import count_withdrawn
from braing3n.nets.weight_file import read_head
from braing3n.nets.weights import load_model, write_weights
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.probe.contracts import PREDICTIONS, RIVALS, SCORES
from braing3n.probe.plan import load_features
from braing3n.probe.settings import ProbeSettings
from braing3n.site.pages import render_card
from braing3n.tokenizer.model import Tokenizer

CLASSES = {
    files.ENCODER: MaskedAutoencoder,
    files.TOKENIZER: Tokenizer,
    files.DIT: DiT,
    files.BRIDGE: Bridge,
}


@dataclass(frozen=True)
class Sources:
    """What a model folder is written from; generators, and what the card shows, may be missing."""

    results_dir: Path
    encoder: Path
    tokenizer: Path
    dit: Path
    bridge: Path
    features: Path
    labels: Path
    scores: Path
    rivals: Path
    predictions: Path
    masked_loss: Path
    metrics: Path
    judged: Path
    pairs: Path


def find_sources(results_dir: Path) -> Sources:
    """Where a run keeps what its model folder is written from."""
    names = {
        "encoder": "pretrain/mae.safetensors",
        "tokenizer": "tokenizer/tokenizer.safetensors",
        "dit": "diffusion/dit.safetensors",
        "bridge": "longitudinal/bridge.safetensors",
        "features": "latents/features_mae.npz",
        "labels": "manifest/labels.parquet",
        "scores": "probe/scores.parquet",
        "rivals": "probe/rivals.parquet",
        "predictions": "probe/predictions_mae.parquet",
        "masked_loss": "pretrain/masked_loss.parquet",
        "metrics": "tokenizer/metrics.json",
        "judged": "control/judged.parquet",
        "pairs": "longitudinal/pairs.parquet",
    }
    return Sources(results_dir, **{name: results_dir / path for name, path in names.items()})


def write_folder(
    sources: Sources, settings: ExportSettings, sections: Mapping[str, Settings], folder: Path
) -> None:
    """Write the model folder; `config.json`, with the digests of all other files, is last.

    Args:
        sections: preprocess, volumes, sampling, forecast and probe, as the run had them.

    Raises:
        BrainG3nError: a weight file is another model's, or a table does not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labels = read_table(sources.labels, LABELS)
    features = load_features(sources.features, labels)
    _copy_weights(sources, folder)
    probe_settings = sections["probe"]
    assert isinstance(probe_settings, ProbeSettings)
    scores, predictions = read_table(sources.scores, SCORES), read_table(sources.predictions, PREDICTIONS)
    probes = fit_probes(features, labels, scores, predictions, probe_settings, settings.min_count)
    sites = read_head(folder / files.DIT)["vocabularies"]["site"] if (folder / files.DIT).is_file() else []
    # The classes of the probe of sites are sites: they are published only where the generator names them all.
    probes = [probe for probe in probes if probe.task != "site" or set(probe.classes) <= set(sites)]
    arrays, described = pack_probes(probes)
    _write_arrays(folder / files.PROBES, arrays, "probes", {"probes": described})
    is_training = (labels["split"] == "train").to_numpy()
    if not is_training.any():
        raise BrainG3nError(f"{sources.labels}: nobody is in the training split; nothing can be exported.")
    space = measure_space(
        features[is_training], labels.loc[is_training, "group_id"].to_numpy(), settings.n_components
    )
    _write_arrays(folder / files.STATISTICS, space, "statistics", {})
    population = describe_population(labels, settings.min_count, sites)
    if sources.pairs.is_file():
        population["years_followed"] = describe_follow_up(
            read_table(sources.pairs, PAIRS), settings.min_count
        )
    kept = {name: json.loads(section.as_json()) for name, section in sections.items() if name != "probe"}
    content = {
        "name": settings.name,
        "licence": settings.licence,
        **kept,
        "population": population,
        "versions": {"braing3n": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
    }
    facts = _describe(content, described, sources, folder)
    weights = sources.encoder, sources.tokenizer, sources.dit, sources.bridge
    facts["n_withdrawn"] = count_withdrawn(sources.results_dir, set(labels["cohort"]), weights)
    shown = [probe["task"] for probe in facts["probes"]]
    facts["rivals"] = compare_rivals(scores, read_table(sources.rivals, RIVALS), shown)
    card = render_card(min_count=settings.min_count, **facts)
    with write_atomically(folder / files.CARD) as beside:
        beside.write_text(card)
    files.write_config(folder, content)


def _copy_weights(sources: Sources, folder: Path) -> None:
    """Weight files under our names; a bridge file that only says why there is no bridge is left out."""
    given = {files.ENCODER: sources.encoder, files.TOKENIZER: sources.tokenizer}
    given |= {files.DIT: sources.dit, files.BRIDGE: sources.bridge}
    for name, path in given.items():
        is_absent = name not in files.NEEDED and not path.is_file()
        if is_absent or (name == files.BRIDGE and read_head(path).get("reason")):
            (folder / name).unlink(missing_ok=True)  # of an earlier export
            continue
        load_model(CLASSES[name], path)  # what cannot be loaded is not exported
        training.publish(path, folder / name)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray], model: str, record: dict[str, Any]) -> None:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    write_weights(path, tensors, model, record)


def _describe(
    content: Mapping[str, Any], probes: list[dict[str, Any]], sources: Sources, folder: Path
) -> dict[str, Any]:
    """What the card is written from: the run's own numbers."""
    facts: dict[str, Any] = {**content, "probes": [p for p in probes if p["slice"] == "all"]}
    names = {"modality": "modalities", "sex": "sexes", "disease": "diseases", "site": "sites"}
    facts["groups"] = [(title, content["population"][name]) for title, name in names.items()]
    facts |= {"has_dit": (folder / files.DIT).is_file(), "has_bridge": (folder / files.BRIDGE).is_file()}
    facts["losses"], facts["judged"], facts["metrics"] = [], [], {}
    if sources.masked_loss.is_file():
        facts["losses"] = pd.read_parquet(sources.masked_loss)[["predictor", "loss"]].to_dict("records")
    if sources.judged.is_file():
        table = pd.read_parquet(sources.judged)
        facts["judged"] = table[["measure", "arm", "value", "reference", "verdict"]].to_dict("records")
    if sources.metrics.is_file():
        facts["metrics"] = json.loads(sources.metrics.read_text()).get("brain", {})
    return facts
