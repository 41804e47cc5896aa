"""Baseline tokenizers of Table 5: one file each, and the folder's listing is the registry.

The configuration imports every file, so none imports torch or MONAI at its head. A file holds:

- `SETTINGS`, a class of `BaselineSettings`: the section `sweep.<name>`.
- `build(settings, shape)`: the network for volumes of shape (D, H, W).
- `shape_latent(settings, shape)`: the shape of one volume's latent, (C, d, h, w).
- `encode(net, volume)`: the latent (B, C, d, h, w) of volumes (B, 1, D, H, W) that is cached, without noise.
- `decode(net, latent)`: volumes.
- `forward(net, settings, volume, noise)`: the reconstruction of a training step, and the penalty that its L1
  is added to; noise is standard normal, of the latent's shape.
- `list_blocks(net)`: modules whose activations may be recomputed, and that may be compiled.
- `count_parameters(net)`: those of `encoder` and `decoder`.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from braing3n.core.errors import ConfigurationError
from braing3n.core.settings import OptimiserSettings, Seed, Settings, setting


class BaselineSettings(Settings):
    """What the training of every baseline is set by; a file adds what its network is set by."""

    patience: int = setting(40, "epochs without a better validation loss before stopping", ge=1)
    optimiser: OptimiserSettings = setting(
        lambda: OptimiserSettings(
            batch_size=4,
            n_accumulation_steps=4,
            n_epochs=80,
            weight_decay=0.0,
            n_warmup_epochs=1,
            validate_every_epochs=1,
        ),
        "the baseline's training; a budget replaces n_epochs and changes n_warmup_epochs in proportion",
    )
    seed: Seed = setting(2025, "weights, data order and the latent's noise")


def list_baselines() -> list[str]:
    """The names of all baselines."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


@cache
def load(name: str) -> ModuleType:
    """The module of one baseline.

    Raises:
        ConfigurationError: there is no such file.
    """
    if name not in list_baselines():
        known = ", ".join(list_baselines())
        raise ConfigurationError(f"sweep: '{name}' is no file of braing3n/sweep/baselines ({known}).")
    return importlib.import_module(f"braing3n.sweep.baselines.{name}")
