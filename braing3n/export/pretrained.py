"""A model folder as a Python object: what a person encodes, decodes, samples and predicts with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braing3n.core.errors import CheckpointError, ConfigurationError
from braing3n.core.runtime import digest_file
from braing3n.core.settings import validate
from braing3n.diffusion.model import DiT
from braing3n.diffusion.settings import SamplingSettings
from braing3n.export import files
from braing3n.export.probes import FittedProbe, unpack_probes
from braing3n.export.statistics import find_percentiles, is_population, is_space
from braing3n.longitudinal.model import Bridge
from braing3n.longitudinal.settings import ForecastSettings
from braing3n.nets.weights import load_model, read_record, read_weights
from braing3n.preprocess.settings import PreprocessSettings
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.tokenizer.model import Tokenizer
from braing3n.volumes.settings import VolumesSettings

GENERATORS = {files.DIT: "DiT", files.BRIDGE: "Bridge"}  # by file, the model that it holds


@dataclass(frozen=True)
class Pretrained:
    """What a model folder holds, on one device.

    Attributes:
        encoder: the masked autoencoder, of which the encoder is used.
        tokenizer: projection and decoder.
        dit, bridge: the generators, loaded when first asked for; None where the folder has none.
        probes: linear probes of the encoder's mean features.
        space: where the training volumes' features lie.
        population: ages, sexes, modalities, diseases and sites of the training people.
        preprocess, volumes: how a scan becomes a volume for the encoder.
        sampling, forecast: how the generators are sampled unless a user says otherwise.
        digest: SHA-256 of the folder's `config.json`, which has those of all other files.
    """

    encoder: MaskedAutoencoder
    tokenizer: Tokenizer
    generators: dict[str, Path]
    probes: list[FittedProbe]
    space: dict[str, np.ndarray]
    population: dict[str, Any]
    preprocess: PreprocessSettings
    volumes: VolumesSettings
    sampling: SamplingSettings
    forecast: ForecastSettings
    device: torch.device
    digest: str = ""

    @cached_property
    def dit(self) -> DiT | None:
        """The conditional DiT."""
        path = self.generators.get(files.DIT)
        return load_model(DiT, path).to(self.device) if path else None

    @cached_property
    def bridge(self) -> Bridge | None:
        """The bridge between two visits."""
        path = self.generators.get(files.BRIDGE)
        return load_model(Bridge, path).to(self.device) if path else None

    @torch.no_grad()
    def encode(self, volume: Tensor) -> Tensor:
        """Encoder tokens float32 (B, T, width) of z-scored volumes (B, 1, D, H, W); features are their mean.

        `braing3n.volumes.pack.load_volume` reads such a volume from a preprocessed scan.
        """
        return self.encoder.encode(volume.to(self.device)).float()

    @torch.no_grad()
    def project(self, encoded: Tensor) -> Tensor:
        """Latent tokens (B, T, d) of encoder tokens (B, T, width): what the generators work on."""
        return self.tokenizer.project(encoded.to(self.device))

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Z-scored volumes (B, 1, D, H, W) of latent tokens (B, T, d)."""
        return self.tokenizer.decode(tokens.to(self.device)).float()

    def measure_distance(self, features: np.ndarray) -> np.ndarray:
        """The share of training volumes, in percent (N,), that are less unusual than features (N, width)."""
        return find_percentiles(np.asarray(features, np.float64), self.space)

    def predict(
        self, features: np.ndarray, modality: str = "", age_years: float = float("nan")
    ) -> list[dict[str, Any]]:
        """What every probe reads in one scan's mean features (width,), with the error that it has.

        Of a task with a probe of the scan's modality, that one is taken; else the one of all modalities.

        Args:
            age_years: at the scan; with it the age gap is given, as it is and corrected for the ridge's bias.
        """
        chosen: dict[str, FittedProbe] = {}
        for probe in self.probes:
            is_better = probe.slice == modality or probe.task not in chosen
            if probe.slice in ("all", modality) and is_better:
                chosen[probe.task] = probe
        return [_read(probe, np.asarray(features, np.float64), age_years) for probe in chosen.values()]


def _read(probe: FittedProbe, features: np.ndarray, age_years: float) -> dict[str, Any]:
    values = probe.predict(features[None])[0]
    known = probe.described
    row: dict[str, Any] = {"task": probe.task, "probe_of": probe.slice}
    if probe.classes:
        best = int(values.argmax())
        shares = "; ".join(f"{name} {value:.3f}" for name, value in zip(probe.classes, values, strict=True))
        row |= {"value": probe.classes[best], "probability": float(values[best]), "probabilities": shares}
    else:
        row["value"] = float(values[0])
    if probe.task == "age" and "gap_slope" in known:
        # The age is what is read less the line's gap and less a gap as of people out of fold, so that the
        # largest gap gives the low end. Where what is read does not rise with age, there is no interval.
        rise, read = 1 + known["gap_slope"], values[0] - known["gap_intercept"]
        if rise > 0:
            ends = {"low": known["gap_high_years"], "high": known["gap_low_years"]}
            row |= {"value_corrected": read / rise, **{n: (read - end) / rise for n, end in ends.items()}}
        gap = values[0] - age_years
        corrected = gap - known["gap_slope"] * age_years - known["gap_intercept"]
        row |= {"age_gap_years": float(gap), "age_gap_corrected_years": float(corrected)}
    row |= {"metric": known["metric"], "error_of_probe": known["value"]}
    row |= {"error_low": known["low"], "error_high": known["high"], "n_people": known["n_people_fitted"]}
    return row


def from_pretrained(folder_or_hub_id: str | Path, device: str = "auto") -> Pretrained:
    """Load a model folder, or the one that a hub has under an id `owner/name`.

    Only safetensors and JSON are read, each after its digest was compared; nothing is executed.

    Args:
        device: auto (the fastest there is), cpu, cuda or mps.

    Raises:
        CheckpointError: one sentence that names the file and what to do.

    Example:
        >>> model = braing3n.from_pretrained("results/demo/export")
        >>> found = model.predict(model.encode(volume).mean(dim=1)[0].numpy(), modality="T1")
    """
    folder = files.find_folder(folder_or_hub_id)
    content = files.read_config(folder)
    where = choose_device(device)
    try:
        settings = {
            name: validate(kind, content[name], name)
            for name, kind in (
                ("preprocess", PreprocessSettings),
                ("volumes", VolumesSettings),
                ("sampling", SamplingSettings),
                ("forecast", ForecastSettings),
            )
        }
        population = content["population"]
        arrays, record = read_weights(folder / files.PROBES, "probes")
        probes = unpack_probes({name: part.numpy() for name, part in arrays.items()}, record["probes"])
        space = {
            name: part.numpy()
            for name, part in read_weights(folder / files.STATISTICS, "statistics")[0].items()
        }
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        reason = str(error).removesuffix(".")
        raise CheckpointError(f"{folder}: does not fit together ({reason}); export it again.") from None
    model = Pretrained(
        encoder=load_model(MaskedAutoencoder, folder / files.ENCODER).to(where),
        tokenizer=load_model(Tokenizer, folder / files.TOKENIZER).to(where),
        generators={name: folder / name for name in GENERATORS if name in content["sha256"]},
        probes=probes,
        space=space,
        population=population,
        device=where,
        digest=digest_file(folder / files.CONFIG),
        **settings,
    )
    if wrong := [name for name, fits in _compare_parts(model) if not fits]:
        raise CheckpointError(f"{folder / wrong[0]}: does not fit the encoder beside it; export it again.")
    return model


def _compare_parts(model: Pretrained) -> Iterator[tuple[str, bool]]:
    """Each file and whether it has the sizes of the encoder, and only numbers."""
    encoder, tokenizer, population = model.encoder, model.tokenizer, model.population
    width, latent = encoder.settings.width, (tokenizer.n_channels, list(encoder.grid))
    yield files.CONFIG, is_population(population) and model.volumes.shape == encoder.shape
    sizes = tokenizer.encoder_width, tokenizer.patch_size, tokenizer.grid
    yield files.TOKENIZER, sizes == (width, encoder.settings.patch_size, encoder.grid)
    for name, path in model.generators.items():
        known = read_record(path, GENERATORS[name])
        yield name, (known.get("d"), known.get("grid")) == latent
    yield files.PROBES, all(probe.fits(width) for probe in model.probes)
    yield files.STATISTICS, is_space(model.space, width)


def choose_device(name: str) -> torch.device:
    """The device of a name; auto: a GPU where there is one.

    Raises:
        ConfigurationError: this machine, or PyTorch on it, has none.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in has.items() if is_there))
    if not has.get(name, False):
        raise ConfigurationError(f"--device {name}: there is none here; give auto or cpu.")
    return torch.device(name)
