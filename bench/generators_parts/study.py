"""One seed's people and models in bench/generators.py, and the judges that read decoded volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from phantoms import Phantoms, name_people

from braing3n.config import Config
from braing3n.core.settings import OptimiserSettings
from braing3n.diffusion.model import DiT
from braing3n.diffusion.train import Latents, train_dit
from braing3n.encoders.voxels import average_voxels
from braing3n.nets.weights import load_model
from braing3n.phantoms.people import Person
from braing3n.pretrain.model import MaskedAutoencoder
from braing3n.pretrain.train import train_encoder
from braing3n.probe.fit import build_model
from braing3n.probe.settings import ProbeSettings
from braing3n.tokenizer.model import Tokenizer
from braing3n.tokenizer.train import train_tokenizer

CPU = torch.device("cpu")
N_STEPS = {"pretrain": 1200, "tokenizer": 1440, "diffusion": 2000, "longitudinal": 2500}


@dataclass
class Study:
    """One seed's people and their models."""

    people: list[Person]
    volumes: Phantoms
    encoder: MaskedAutoencoder
    tokenizer: Tokenizer
    tokens: np.ndarray  # float16 (N, T, d)
    config: Config
    dit: DiT | None = None  # where forecasts alone are made

    def decode(self, tokens: torch.Tensor | np.ndarray) -> np.ndarray:
        """Volumes float32 (M, D, H, W) of tokens (M, T, d)."""
        with torch.no_grad():
            parts = torch.as_tensor(np.asarray(tokens, dtype=np.float32)).split(8)
            return np.concatenate([self.tokenizer.decode(part)[:, 0].float().numpy() for part in parts])

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split: train, judge or held-out."""
        return np.flatnonzero(self.volumes.table["split"] == split)


def tokenize(encoder: MaskedAutoencoder, tokenizer: Tokenizer, images: np.ndarray) -> np.ndarray:
    """Tokens float32 (M, T, d) of volumes (M, D, H, W)."""
    with torch.no_grad():
        parts = torch.from_numpy(images)[:, None].split(8)
        return np.concatenate([tokenizer.project(encoder.encode(part)).numpy() for part in parts])


def fit_steps(options: OptimiserSettings, name: str, n: int) -> OptimiserSettings:
    """As many epochs of n rows as make the steps of `N_STEPS`."""
    n_epochs = max(1, round(N_STEPS[name] / max(1, n // options.batch_size)))
    warmup = min(options.n_warmup_epochs, round(n_epochs / 8))
    every = {"validate_every_epochs": max(1, n_epochs // 5)}
    return options.model_copy(update={"n_epochs": n_epochs, "n_warmup_epochs": warmup, **every})


def train_models(
    people: list[Person], volumes: Phantoms, config: Config, seed: int, folder: Path, has_dit: bool
) -> Study:
    """Encoder, tokenizer and, where it is needed, DiT of this seed's training people."""
    n, source = int((volumes.table["split"] == "train").sum()), name_people(folder, volumes)

    def settle(name: str):
        section = getattr(config, name)
        return section.model_copy(update={"seed": seed, "optimiser": fit_steps(section.optimiser, name, n)})

    paths = {name: folder / f"{name}.safetensors" for name in N_STEPS}
    train_encoder(
        volumes, settle("pretrain"), folder / "mae", paths["pretrain"], [source],
        table_path=folder / "masked_loss.parquet",
    )  # fmt: skip
    encoder = load_model(MaskedAutoencoder, paths["pretrain"])
    inputs = [paths["pretrain"], source]
    train_tokenizer(volumes, encoder, settle("tokenizer"), folder / "tok", paths["tokenizer"], inputs)
    tokenizer = load_model(Tokenizer, paths["tokenizer"])
    tokens = tokenize(encoder, tokenizer, volumes.images).astype(np.float16)
    study = Study(people, volumes, encoder, tokenizer, tokens, config)
    if has_dit:
        latents = Latents(tokens, tokenizer.grid, volumes.table)
        inputs = [paths["tokenizer"], source]
        train_dit(latents, settle("diffusion"), folder / "dit", paths["diffusion"], inputs)
        study.dit = load_model(DiT, paths["diffusion"])
    return study


class Judge:
    """A linear probe of one column on decoded volumes of the judges' people; never one whom a model saw."""

    def __init__(self, study: Study, column: str, classes: tuple[str, ...] = ()):
        self.study, self.column, table = study, column, study.volumes.table
        rows = study.rows("judge")
        if classes:
            rows = rows[table[column].iloc[rows].isin(classes)]
        kind = "classification" if classes else "regression"
        features = self.see(study.decode(study.tokens[rows]))
        self.model = build_model(kind, len(rows), features.shape[1], ProbeSettings(), has_pca=True)
        self.model.fit(features, table[column].iloc[rows].to_numpy())

    @staticmethod
    def see(images: np.ndarray) -> np.ndarray:
        """Averages over cubes, (M, F)."""
        return np.stack([average_voxels(image, image != 0) for image in images])

    def read(self, images: np.ndarray) -> np.ndarray:
        """Numbers (M,), or probabilities (M, classes)."""
        features = self.see(images)
        return getattr(self.model, "predict_proba", self.model.predict)(features)


def bootstrap(parts: list[np.ndarray], measure: Callable[..., float], seed: int = 0) -> list[float]:
    """A measure of some samples, and its 95 % interval over draws of each of them with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [measure(*(part[rng.integers(len(part), size=len(part))] for part in parts)) for _ in range(500)]
    return [float(number) for number in (measure(*parts), *np.percentile(drawn, [2.5, 97.5]))]
